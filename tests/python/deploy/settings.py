"""The configuration files and the operator's handbook."""

import re
from pathlib import Path

from .common import need, read_toml
from .metrics import alerts

# The sections that deploy/ sets. tests/deploy.rs has the program itself check the files.
KNOWN = {
    "http": {"listen"},
    "telemetry": {"log_format", "log", "otlp_endpoint"},
    "serve": {"workers", "deadline_s", "grace_s", "min_free_mib", "upload", "keep", "watchdog_s"},
    "bus": {
        "url", "user", "password", "password_file", "token", "token_file", "credentials_file", "nkey_seed_file", "tls_ca_file",
        "tls_cert_file", "tls_key_file", "tls_required", "exposures_stream", "exposures_subject", "consumer", "catalogs_stream",
        "ready_subject", "rows_subject", "dead_letter_stream", "failed_subject", "reply_prefix", "ack_wait_s", "max_deliveries", "retry_s", "provision",
        "duplicate_window_s", "max_event_bytes",
    },
    "spool": {"directory", "poll_s", "settle_s"},
    "fetch": {
        "roots", "hosts", "buckets", "max_file_mib", "s3_endpoint", "s3_region", "s3_allow_http", "staging",
    },
    "network": {"name", "folder", "runtime", "device", "threads", "batch_max"},
    "output": {"directory", "stamps", "pictures", "sheet_objects"},
}  # fmt: skip
FILES = ("deploy/stillair.toml", "deploy/container/stillair.toml", "deploy/kubernetes/base/stillair.toml")
SECRETS = {"password", "token"}


def environment_keys(text: str) -> set[tuple[str, str]]:
    """(section, key) of every STILLAIR__SECTION__KEY in a text."""
    return {(section.lower(), key.lower()) for section, key in re.findall(r"STILLAIR__([A-Z0-9]+)__([A-Z0-9_]+)", text)} - {("section", "key")}


def check_settings(root: Path) -> None:
    """Every key of the configuration files, and every variable that deploy/ sets, is one of the program's."""
    for name in FILES:
        for section, keys in read_toml(root / name).items():
            need(section in KNOWN, f"{name}: no section [{section}]")
            unknown = set(keys) - KNOWN[section]
            need(not unknown, f"{name}: no key {sorted(unknown)} in [{section}]")
            need(not SECRETS & {key for key, value in keys.items() if value}, f"{name}: a secret in the open")
    full = read_toml(root / FILES[0])
    for section in ("http", "telemetry", "serve", "bus", "spool", "fetch"):
        missing = KNOWN[section] - SECRETS - set(full.get(section, {}))
        need(not missing, f"{FILES[0]}: [{section}] does not show {sorted(missing)}")
    for file in sorted((root / "deploy").rglob("*")):
        if file.is_file():
            for section, key in environment_keys(file.read_text()):
                need(section in KNOWN and key in KNOWN[section], f"{file.relative_to(root)}: no setting {section}.{key}")


def check_handbook(root: Path) -> None:
    """docs/operations.md: a line for each alert, files that exist, settings that exist."""
    text = (root / "docs/operations.md").read_text()
    told = set(re.findall(r"^\| `(Stillair\w+)`", text, re.M))
    need(told == alerts(root), f"operations.md and rules.yml differ in the alerts {sorted(told ^ alerts(root))}")
    for path in re.findall(r"`((?:deploy|scripts|tests|config)/[\w./-]+)`", text):
        need((root / path).exists(), f"operations.md: no {path}")
    for section, key in environment_keys(text):
        need(section in KNOWN and key in KNOWN[section], f"operations.md: no setting {section}.{key}")
