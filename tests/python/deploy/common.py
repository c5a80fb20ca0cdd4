"""What the checks share."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml


class Broken(Exception):
    """A file of deploy/ is wrong: where, and how."""


def need(condition, message: str) -> None:
    """Raises Broken with the message unless the condition holds."""
    if not condition:
        raise Broken(message)


def skipped(message: str) -> None:
    """Says what is not checked on this machine."""
    print(f"SKIPPED: {message}", file=sys.stderr)


def program(name: str) -> str | None:
    """Path of a program beside this Python or on the path; says so where there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        skipped(f"{name} is not installed: run `make setup-tests`")
    return found


def run(*command, **options) -> subprocess.CompletedProcess:
    """Runs a command to its end; standard output and error together in `stdout`."""
    return subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **options
    )


def must(*command, **options) -> str:
    """Runs a command that must exit with 0; its output."""
    result = run(*command, **options)
    need(result.returncode == 0, f"{Path(str(command[0])).name} {' '.join(map(str, command[1:3]))} ...:\n{result.stdout}")
    return result.stdout


def read_toml(path: Path) -> dict:
    """A TOML file."""
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise Broken(f"{path}: {error}") from None


def read_yaml(path: Path) -> list[dict]:
    """Every document of a YAML file."""
    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except yaml.YAMLError as error:
        raise Broken(f"{path}: {error}") from None


def seconds(text) -> float:
    """A duration as systemd and compose write it: 90s, 2min, 5m, or a bare number of seconds."""
    text = str(text).strip()
    for unit, factor in (("min", 60), ("ms", 0.001), ("h", 3600), ("m", 60), ("s", 1)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def environment(**more) -> dict:
    """The environment with these variables set."""
    return {**os.environ, **more}
