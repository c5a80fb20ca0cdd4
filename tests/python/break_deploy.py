"""Breaks the files that check_deploy.py checks, one at a time and each in a copy: every check must notice."""

import shutil
import sys
import tempfile
from pathlib import Path

from check_deploy import CHECKS
from deploy.common import Broken, program

ROOT = Path(__file__).resolve().parents[2]
UNIT, RULES, TESTS = "deploy/systemd/stillair.service", "deploy/prometheus/rules.yml", "deploy/prometheus/rules.test.yml"
BASE, NATS, COMPOSE = "deploy/kubernetes/base", "deploy/nats", "deploy/compose/compose.yaml"
IMAGE, DASHBOARD = "deploy/container/Containerfile", "deploy/grafana/stillair.json"
# (check, program it needs, file, what is replaced, by what, a part of the complaint)
BREAKS = [
    ("settings", None, "deploy/stillair.toml", "grace_s = 60", "grace = 60", "no key ['grace']"),
    ("settings", None, "deploy/stillair.toml", 'otlp_endpoint = ""\n', "", "does not show"),
    ("settings", None, f"{BASE}/stillair.toml", "[output]", "[outputs]", "no section [outputs]"),
    ("settings", None, "deploy/systemd/gpu.conf", "NETWORK__DEVICE", "NETWORK__DEVICES", "network.devices"),
    ("systemd", None, UNIT, "TimeoutStopSec=90s", "TimeoutStopSec=60s", "grace_s"),
    ("systemd", "systemd-analyze", UNIT, "LockPersonality=", "LockPersonalities=", "LockPersonalities"),
    ("systemd", "systemd-analyze", UNIT, "SystemCallFilter=@system-service\n", "", "xposure"),
    ("systemd", "systemd-analyze", "deploy/systemd/nats.conf", "LoadCredential=nats", "LoadCredentials=nats", "LoadCredentials"),
    ("container", None, IMAGE, "COPY models/stillnet", "COPY models/nothing", "there is none"),
    ("container", None, IMAGE, "--from=build /src", "--from=builder /src", "DL3022"),
    ("container", None, IMAGE, "USER 10001:10001\n", "", "root"),
    ("container", None, IMAGE, "debian:12.12-slim", "debian:latest", "atest"),
    ("container", None, IMAGE, "/readyz", "/", "/readyz"),
    ("container", "hadolint", IMAGE, "WORKDIR /var/lib/stillair", "WORKDIR stillair", "hadolint"),
    ("container", None, ".containerignore", "!NOTICE\n", "", "keeps it out"),
    ("kubernetes", None, f"{BASE}/deployment.yaml", "periodSeconds: 5", "periodSecs: 5", "periodSecs"),
    ("kubernetes", None, f"{BASE}/deployment.yaml", "Seconds: 90", "Seconds: 60", "grace_s"),
    ("kubernetes", None, f"{BASE}/deployment.yaml", "mountPath: /archive", "mountPath: /arch", "nothing is mounted"),
    ("kubernetes", None, f"{BASE}/deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "root"),
    ("kubernetes", None, f"{BASE}/service.yaml", "targetPort: http", "targetPort: web", "no port web"),
    ("kubernetes", None, f"{BASE}/scaledobject.yaml", "lagThreshold", "lagThresholds", "lagThresholds"),
    ("kubernetes", None, f"{BASE}/scaledobject.yaml", '"STILLAIR"', '"$G"', "no account"),
    ("kubernetes", None, f"{BASE}/kustomization.yaml", "  - service.yaml\n", "", "kustomization"),
    ("kubernetes", "kubectl", "deploy/kubernetes/gpu/deployment.yaml", "limits: { memory: 32Gi,", "limit: { memory: 32Gi,", "limit"),
    ("compose", "check-jsonschema", COMPOSE, "read_only: true", "readonly: true", "readonly"),
    ("compose", None, COMPOSE, "rules.yml:/etc", "rule.yml:/etc", "rule.yml"),
    ("compose", None, COMPOSE, '"127.0.0.1:4222:4222"', '"4222:4222"', "open to the network"),
    ("compose", None, "deploy/compose/example.env", "NATS_READER_PASSWORD", "NATS_READ_PASSWORD", "example.env"),
    ("compose", None, "deploy/prometheus/prometheus.yml", '["stillair:8080"]', '["daemon:8080"]', "daemon"),
    ("nats", None, f"{NATS}/nats-server.conf", "$NATS_READER_PASSWORD", "secret", "in the open"),
    ("nats", "nats-server", f"{NATS}/nats-server.conf", "write_deadline", "write_dedline", "nats-server -t"),
    ("nats", "nats-server", f"{NATS}/nats-server.conf", '"$JS.ACK.>", "$JS.FC.>"', '"$JS.FC.>"', "stillair may not"),
    ("nats", "nats-server", f"{NATS}/nats-server.conf", '"$O.exposures.>"', '"$O.>", "stillair.catalog.>"', "publisher may publish"),
    ("nats", "nats-server", f"{NATS}/nats-server.conf", "#  key_file", "#  keyfile", "keyfile"),
    ("nats", "nats-server", f"{NATS}/stillair.consumer.json", '"ack_wait": 30', '"ack_wait": 60', "ack_wait"),
    ("nats", "nats-server", f"{NATS}/exposures.stream.json", '"discard": "old"', '"discarded": "old"', "discarded"),
    ("prometheus", "promtool", RULES, "== 0\n        for: 2m", "== 0\n        for: 9m", "StillairDown"),
    ("prometheus", None, RULES, "stillair_redeliveries_total", "stillair_redelivered_total", "no metric"),
    ("prometheus", None, RULES, 'kind="bug"', 'kind="bugs"', "kind=bugs"),
    ("prometheus", None, TESTS, "alertname: StillairLatencyHigh", "alertname: StillairLatency", "StillairLatencyHigh"),
    ("prometheus", "promtool", "deploy/prometheus/prometheus.yml", "scrape_configs:", "scrapes:", "promtool"),
    ("grafana", None, DASHBOARD, "stillair_disk_free_bytes", "stillair_disk_bytes", "no metric"),
    ("grafana", None, DASHBOARD, 'outcome=\\"failed\\"', 'outcome=\\"broken\\"', "outcome=broken"),
    ("grafana", None, DASHBOARD, "sum by (stage, kind)", "sum by (stage, kinds)", "kinds"),
    ("grafana", None, DASHBOARD, "sum(rate(stillair_objects_total", "sum((rate(stillair_objects_total", "Objects per second"),
    ("grafana", None, DASHBOARD, '"x": 16,', '"x": 8,', "lies over"),
    ("handbook", None, "docs/operations.md", "| `StillairBug`", "| `StillairBugs`", "StillairBug"),
    ("handbook", None, "docs/operations.md", "`deploy/nats/provision.sh`", "`deploy/nats/provide.sh`", "provide.sh"),
]


def copy_of(root: Path) -> None:
    """What the checks look at."""
    for name in ("deploy", "docs", "scripts", "src", "benches", "models/stillnet"):
        shutil.copytree(ROOT / name, root / name)
    (root / "tests").mkdir()
    for name in ("tests/deploy.rs", "Cargo.toml", "Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT", "NOTICE", ".containerignore"):
        shutil.copy(ROOT / name, root / name)


def main() -> int:
    """Breaks each file, runs its check, mends it."""
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        copy_of(root)
        for check, needs, name, old, new, complaint in BREAKS:
            if needs and not program(needs):
                continue
            file = root / name
            whole = file.read_text()
            if old not in whole:
                print(f"{name} does not hold {old!r}", file=sys.stderr)
                failed += 1
                continue
            file.write_text(whole.replace(old, new, 1))
            try:
                CHECKS[check](root)
                print(f"{check} does not notice {old!r} -> {new!r} in {name}", file=sys.stderr)
                failed += 1
            except Broken as error:
                if complaint not in str(error):
                    print(f"{check}: {old!r} -> {new!r}: says only {error}", file=sys.stderr)
                    failed += 1
            file.write_text(whole)
        # Mended, all is well again: no check fails for a reason of the copy.
        for check in {entry[0] for entry in BREAKS}:
            CHECKS[check](root)
    print(f"{len(BREAKS) - failed} of {len(BREAKS)} broken files noticed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
