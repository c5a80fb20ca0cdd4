"""The systemd unit and the container images."""

import configparser
import fnmatch
import re
import shutil
import tempfile
from pathlib import Path

from dockerfile_parse import DockerfileParser

from .common import Broken, must, need, program, read_toml, run, seconds

# Ten times systemd's exposure level, 0 (safe) to 100.
EXPOSURE_LIMIT = 14


def read_unit(path: Path) -> dict:
    """The last value of each key of a unit file, by section."""
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str
    parser.read_string(path.read_text())
    return {section: dict(parser[section]) for section in parser.sections()}


def check_systemd(root: Path) -> None:
    """The unit and its drop-ins: known to systemd, closed enough, in step with the configuration."""
    folder = root / "deploy/systemd"
    unit = read_unit(folder / "stillair.service")
    service = unit["Service"]
    settings = read_toml(root / "deploy/stillair.toml")
    need(service["Type"] == "notify" and seconds(service["WatchdogSec"]) >= 10, "unit: no notification or watchdog")
    need(service["Restart"] == "on-failure" and service["KillSignal"] == "SIGTERM", "unit: restart or stop signal")
    need(seconds(service["TimeoutStopSec"]) > settings["serve"]["grace_s"], "unit: TimeoutStopSec is not above grace_s")
    need(re.match(r"/usr/bin/stillair serve --config /etc/stillair/stillair.toml$", service["ExecStart"]), "unit: ExecStart")
    for section, key in (("output", "directory"), ("spool", "directory")):
        place = settings[section][key]
        need(place.startswith(service["ReadWritePaths"] + "/"), f"unit: [{section}] {key} {place} is not writable")
    need(settings["fetch"]["staging"] == "/var/cache/" + service["CacheDirectory"], "unit: [fetch] staging is not writable")
    need(service.get("Environment") == "ORT_DISABLE_TELEMETRY=1", "unit: ONNX Runtime would report its use")
    analyze = program("systemd-analyze")
    if not analyze:
        return
    for drop_ins in ([], ["nats.conf"], ["gpu.conf"], ["nats.conf", "gpu.conf"]):
        with tempfile.TemporaryDirectory() as temporary:
            copy = Path(temporary, "stillair.service")
            # The program is not installed here: another stands in for it.
            copy.write_text((folder / "stillair.service").read_text().replace("/usr/bin/stillair serve", "/bin/true serve"))
            if drop_ins:
                Path(temporary, "stillair.service.d").mkdir()
            for name in drop_ins:
                shutil.copy(folder / name, Path(temporary, "stillair.service.d", name))
            result = run(analyze, "verify", "--man=no", copy)
            # Of other units of this machine nothing is asked.
            complaints = [line for line in result.stdout.splitlines() if "stillair" in line or temporary in line]
            need(not complaints, "systemd-analyze verify:\n" + "\n".join(complaints))
            if not drop_ins:
                must(analyze, "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", copy)
    sysusers = program("systemd-sysusers")
    if sysusers and "--dry-run" in run(sysusers, "--help").stdout:
        must(sysusers, "--dry-run", folder / "stillair.sysusers")
    users = re.findall(r"^u (\S+)", (folder / "stillair.sysusers").read_text(), re.M)
    need(users == [service["User"]], f"sysusers makes {users}, the unit runs as {service['User']}")


def ignored(root: Path, source: str) -> bool:
    """Whether .containerignore keeps a path out of the build."""
    out = False
    for line in (root / ".containerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep = pattern.startswith("!")
        pattern = pattern.lstrip("!").strip("/")
        parents = [source, *map(str, Path(source).parents)]
        if any(fnmatch.fnmatch(part, pattern) for part in parents if part != "."):
            out = not keep
    return out


def check_container(root: Path) -> None:
    """The Containerfiles: lint, sources that exist, stages that resolve, an ordinary user, a health check, pinned bases."""
    hadolint = program("hadolint")
    for name in ("Containerfile", "Containerfile.cuda"):
        path = root / "deploy/container" / name
        if hadolint:
            must(hadolint, path)
        with tempfile.TemporaryDirectory() as temporary:
            parser = DockerfileParser(path=temporary)
            parser.content = path.read_text()
            steps = parser.structure
        stages, copied, user, health = [], [], None, None
        for step in steps:
            instruction, value = step["instruction"], step["value"]
            if instruction == "FROM":
                image, _, stage = re.match(r"(\S+)(\s+AS\s+(\S+))?", value, re.I).groups()
                need(re.search(r":\d+\.\d+\.?\d*[-\w.]*$", image), f"{name}: {image} is not pinned to a version")
                stages.append(stage)
                user = None
            elif instruction == "COPY":
                *sources, target = value.split()
                if sources[0].startswith("--from="):
                    stage = sources.pop(0).removeprefix("--from=")
                    need(stage in stages[:-1], f"{name}: COPY from stage {stage}, which is not above")
                    continue
                for source in sources:
                    need((root / source).exists(), f"{name}: COPY {source}: there is none")
                    need(not ignored(root, source), f"{name}: COPY {source}: .containerignore keeps it out")
                copied += [(len(stages), source, target) for source in sources]
            elif instruction == "USER":
                user = value
            elif instruction == "HEALTHCHECK":
                health = value
            elif instruction == "RUN" and value.startswith("scripts/"):
                need((root / value.split()[0]).exists(), f"{name}: RUN {value}: no such script")
        need(user and not re.match(r"(root|0)\b", user), f"{name}: runs as root")
        need(health and "/readyz" in health, f"{name}: no health check on /readyz")
        need("ORT_DISABLE_TELEMETRY=1" in path.read_text(), f"{name}: ONNX Runtime would report its use")
        settings = read_toml(root / "deploy/container/stillair.toml")
        models = settings["network"]["folder"]
        need(any(target.startswith(models + "/") for *_, target in copied), f"{name}: no network below {models}")
        need(f"COPY --from=runtime /runtime {settings['network']['runtime']}\n" in path.read_text(), f"{name}: no ONNX Runtime")
        # What the source pulls in at compile time must be among what is copied to the build stage.
        given = [Path(source) for stage, source, _ in copied if stage == 1]
        for file in (root / "src").rglob("*.rs"):
            for included in re.findall(r'include(?:_str|_bytes)?!\(\s*"([^"]+)"', file.read_text()):
                try:
                    inside = (file.parent / included).resolve().relative_to(root.resolve())
                except ValueError:
                    raise Broken(f"{file}: includes {included} from outside the repository") from None
                need(any(inside.is_relative_to(source) for source in given), f"{name}: {file} includes {inside}, not copied")
