"""Checks deploy/: check_deploy.py [--root FOLDER] CHECK...; without a name, every check that needs no running daemon."""

import argparse
import sys
from pathlib import Path

from deploy.bus import check_nats
from deploy.cluster import check_compose, check_kubernetes
from deploy.common import Broken
from deploy.host import check_container, check_systemd
from deploy.metrics import check_dashboard, check_metrics, check_prometheus
from deploy.settings import check_handbook, check_settings

CHECKS = {
    "settings": check_settings,
    "systemd": check_systemd,
    "container": check_container,
    "kubernetes": check_kubernetes,
    "compose": check_compose,
    "nats": check_nats,
    "prometheus": check_prometheus,
    "grafana": check_dashboard,
    "handbook": check_handbook,
}
LIVE = {"metrics": check_metrics}


def main() -> int:
    """Runs the checks named; 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("checks", nargs="*", choices=[*CHECKS, *LIVE, []], default=[])
    arguments = parser.parse_args()
    failed = False
    for name in arguments.checks or CHECKS:
        try:
            (CHECKS | LIVE)[name](arguments.root)
            print(f"{name}: ok")
        except Broken as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
