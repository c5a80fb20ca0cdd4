"""The program's metrics, and every PromQL expression of the dashboard and the rules held to them.

With STILLAIR_METRICS_URL the list is what a running daemon shows there; without it, what is declared here.
"""

import json
import os
import re
import tempfile
import urllib.request
from pathlib import Path

import promql_parser as promql

from .common import Broken, must, need, program, read_yaml

STAGES = {
    "event", "fetch", "read", "background", "detect", "psf", "stamp", "tikhonov", "network", "renorm", "archive", "publish", "total",
}  # fmt: skip
# name: (type, {label: its values, or None where they are open})
DECLARED = {
    "stillair_exposures_total": ("counter", {"outcome": {"done", "failed", "retried", "duplicate"}}),
    "stillair_failures_total": (
        "counter",
        {"stage": None, "kind": {"transient", "bad_input", "bug", "deadline", "deliveries"}},
    ),
    "stillair_stage_duration_seconds": ("histogram", {"stage": STAGES}),
    "stillair_objects_total": ("counter", {}),
    "stillair_objects_flagged_total": ("counter", {"flag": None}),
    "stillair_batch_objects": ("histogram", {}),
    "stillair_queue_depth": ("gauge", {"stage": {"source", "working", "inference"}}),
    "stillair_redeliveries_total": ("counter", {}),
    "stillair_psf_fwhm_arcsec": ("histogram", {}),
    "stillair_psf_reserved_size_residual": ("histogram", {}),
    "stillair_psf_quality_total": ("counter", {"quality": {"good", "degraded", "failed", "given"}}),
    "stillair_calibration_drift": ("gauge", {}),
    "stillair_exposures_uncalibrated_total": ("counter", {}),
    "stillair_inference_device_info": ("gauge", {"network": None, "device": {"cpu", "cuda"}, "runtime": None}),
    "stillair_build_info": ("gauge", {"version": None}),
    "stillair_bus_connected": ("gauge", {}),
    "stillair_bus_reconnects_total": ("counter", {}),
    "stillair_ready": ("gauge", {"component": {"bus", "network", "disk"}}),
    "stillair_disk_free_bytes": ("gauge", {}),
    "stillair_event_age_seconds": ("histogram", {}),
    "stillair_last_exposure_timestamp_seconds": ("gauge", {}),
    # Of the prometheus crate.
    "process_cpu_seconds_total": ("counter", {}),
    "process_open_fds": ("gauge", {}),
    "process_max_fds": ("gauge", {}),
    "process_virtual_memory_bytes": ("gauge", {}),
    "process_resident_memory_bytes": ("gauge", {}),
    "process_start_time_seconds": ("gauge", {}),
    "process_threads": ("gauge", {}),
}
# Of Prometheus itself, and the labels that a scrape adds.
PROMETHEUS = {"up": {"job", "instance", "accelerator"}, "ALERTS": {"alertname", "alertstate", "severity", "job", "instance"}}
TARGET_LABELS = {"job", "instance", "accelerator", "namespace", "pod"}


def scraped(url: str) -> dict:
    """The metrics that a running program shows: {name: (type, {label: values seen})}."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    except OSError as error:
        raise Broken(f"{url}: {error}") from None
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    found = {name: (kind, {}) for name, kind in kinds.items()}
    for name, labels in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", text, re.M):
        base = name if name in found else re.sub(r"_(bucket|sum|count)$", "", name)
        need(base in found, f"{url}: {name} has no type")
        for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels):
            if label != "le":
                found[base][1].setdefault(label, set()).add(value)
    return found


def metric_names() -> dict:
    """The metrics of the program: {name: (type, {label: values or None})}."""
    url = os.environ.get("STILLAIR_METRICS_URL")
    if url is None:
        return DECLARED
    found = scraped(url)
    # A label whose values are open may show any; one of which nothing was seen yet is as declared.
    return {
        name: (kind, {label: DECLARED.get(name, (kind, {}))[1].get(label, values) for label, values in labels.items()})
        for name, (kind, labels) in found.items()
    }


def series(metrics: dict) -> dict:
    """What can be queried: {name: {label: values or None}}."""
    result = {name: dict.fromkeys(labels) for name, labels in PROMETHEUS.items()}
    for name, (kind, labels) in metrics.items():
        if kind == "histogram":
            result |= {f"{name}_sum": labels, f"{name}_count": labels, f"{name}_bucket": {**labels, "le": None}}
        else:
            result[name] = labels
    return result


def children(node):
    """Sub-expressions of a PromQL expression."""
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield child
    yield from getattr(node, "args", [])


def selectors(node):
    """Every vector selector of a PromQL expression."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for child in children(node):
        yield from selectors(child)


def groupings(node):
    """Every label that an expression groups or matches by."""
    modifier = getattr(node, "modifier", None)
    for part in (modifier, getattr(modifier, "matching", None), getattr(modifier, "group_labels", None)):
        yield from (getattr(part, "labels", None) or [])
    for child in children(node):
        yield from groupings(child)


def check_expression(where: str, text: str, known: dict) -> None:
    """Raises Broken unless the expression parses and asks for series, labels and label values that exist."""
    try:
        tree = promql.parse(text)
    except ValueError as error:
        raise Broken(f"{where}: {text}: {error}") from None
    labels = set(TARGET_LABELS)
    for selector in selectors(tree):
        need(selector.name in known, f"{where}: there is no metric {selector.name}")
        own = known[selector.name]
        labels |= set(own)
        for matcher in selector.matchers.matchers:
            need(matcher.name in {*own, *TARGET_LABELS}, f"{where}: {selector.name} has no label {matcher.name}")
            values = own.get(matcher.name)
            if values is not None and ".*" not in matcher.value:
                for value in matcher.value.split("|"):
                    need(value in values, f"{where}: {selector.name} has no {matcher.name}={value}")
    for label in groupings(tree):
        need(label in labels, f"{where}: nothing there has the label {label}")


def rules(root: Path) -> list[dict]:
    """Every rule of rules.yml."""
    (document,) = read_yaml(root / "deploy/prometheus/rules.yml")
    return [rule for group in document["groups"] for rule in group["rules"]]


def recordings(root: Path, known: dict) -> dict:
    """The series that the recording rules make, with their labels."""
    made = {}
    for rule in rules(root):
        if "record" in rule:
            level = rule["record"].split(":")[0].split("_")
            made[rule["record"]] = dict.fromkeys(level)
    return known | made


def alerts(root: Path) -> set[str]:
    """The names of the alerts."""
    return {rule["alert"] for rule in rules(root) if "alert" in rule}


def dashboard_expressions(dashboard: dict):
    """(where, expression) of every panel, annotation and variable, with Grafana's variables replaced."""
    found = []
    for panel in dashboard["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    found += [("annotation", annotation["expr"]) for annotation in dashboard["annotations"]["list"]]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            need(inner, f"variable {variable['name']}: not label_values(metric, label)")
            found.append((f"variable {variable['name']}", f"group by ({inner[2]}) ({inner[1]})"))
    for where, text in found:
        text = text.replace("$__rate_interval", "5m").replace("$__range", "6h")
        text = re.sub(r"\$(job|instance)\b", ".*", text)
        need("$" not in text, f"dashboard: {where}: a variable that does not exist: {text}")
        yield where, text


def check_dashboard(root: Path) -> None:
    """stillair.json: sound panels, and expressions over metrics that exist, which Prometheus parses."""
    path = root / "deploy/grafana/stillair.json"
    try:
        dashboard = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise Broken(f"{path}: {error}") from None
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    need(len(set(ids)) == len(ids), "dashboard: two panels share an id")
    cells = {}
    for panel in panels:
        place = panel["gridPos"]
        need(place["x"] + place["w"] <= 24, f"dashboard: {panel['title']} is wider than the grid")
        need(panel["type"] == "row" or panel["targets"], f"dashboard: {panel['title']} asks for nothing")
        for row in range(place["y"], place["y"] + place["h"]):
            for column in range(place["x"], place["x"] + place["w"]):
                other = cells.setdefault((row, column), panel["title"])
                need(other == panel["title"], f"dashboard: {panel['title']} lies over {other}")
    known = recordings(root, series(metric_names()))
    expressions = list(dashboard_expressions(dashboard))
    need(len(expressions) > 30, "dashboard: hardly a panel left")
    for where, text in expressions:
        check_expression(f"dashboard: {where}", text, known)
    promtool = program("promtool")
    if promtool:
        # Prometheus' own parser, by way of a file of recording rules.
        made = [{"record": f"check:expression:{number}", "expr": text} for number, (_, text) in enumerate(expressions)]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "rules.yml")
            file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": made}]}))
            must(promtool, "check", "rules", file)
    (source,) = read_yaml(root / "deploy/grafana/provisioning/datasources/prometheus.yaml")
    need(source["datasources"][0]["type"] == "prometheus", "the provisioned data source is no Prometheus")


def check_prometheus(root: Path) -> None:
    """prometheus.yml, rules.yml and the unit tests of the rules."""
    folder = root / "deploy/prometheus"
    known = recordings(root, series(metric_names()))
    for rule in rules(root):
        check_expression(f"rules.yml: {rule.get('alert') or rule['record']}", rule["expr"], known)
    (tests,) = read_yaml(folder / "rules.test.yml")
    fires, quiet = set(), set()
    for test in tests["tests"]:
        for case in test.get("alert_rule_test", []):
            (fires if case["exp_alerts"] else quiet).add(case["alertname"])
    need(fires == alerts(root), f"rules.test.yml: not seen to fire: {sorted(alerts(root) ^ fires)}")
    need(quiet == alerts(root), f"rules.test.yml: not seen to keep quiet: {sorted(alerts(root) ^ quiet)}")
    promtool = program("promtool")
    if promtool:
        must(promtool, "check", "config", folder / "prometheus.yml")
        must(promtool, "test", "rules", "rules.test.yml", cwd=folder)


def check_metrics(root: Path) -> None:
    """A running program (STILLAIR_METRICS_URL) shows the metrics that are declared here, and no other."""
    url = os.environ.get("STILLAIR_METRICS_URL")
    need(url is not None, "set STILLAIR_METRICS_URL to a running daemon's /metrics")
    found = scraped(url)
    need(set(found) >= set(DECLARED), f"{url} lacks {sorted(set(DECLARED) - set(found))}")
    more = {name for name in found if name.startswith("stillair_")} - set(DECLARED)
    need(not more, f"{url} has {sorted(more)}, which tests/python/deploy/metrics.py does not know")
    for name, (kind, labels) in DECLARED.items():
        need(found[name][0] == kind, f"{name} is a {found[name][0]}, declared as {kind}")
        seen = found[name][1]
        need(set(seen) <= set(labels), f"{name} has labels {sorted(seen)}, declared are {sorted(labels)}")
        for label, values in seen.items():
            need(labels[label] is None or values <= labels[label], f"{name}: {label} is {sorted(values)}")
