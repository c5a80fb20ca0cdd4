#!/usr/bin/env python3
"""Measures `stillair serve` beside a real nats-server, and writes the tables of "The service" in docs/performance.md.

usage: service.py target/release/stillair [--part overhead --part …] [--write docs/performance.md]

Run it from the tests' Python (numpy, nats-py, nats-server: `make setup-tests`). What has been measured is kept in a JSON file;
a run of some parts replaces those, and the tables are made of all that is there.
"""
import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import service_tables
from servers import CATALOGS, ROOT, ROWS, Nats, Proxy, Service, Streams, clean_environment
from tables import replace

# An exposure that costs next to nothing: what is left is the service.
TRIVIAL = {"STILLAIR__NETWORK__NAME": "none", "STILLAIR__OUTPUT__PICTURES": "false", "STILLAIR__OUTPUT__STAMPS": "false"}
# Room to measure in is not what is measured.
ALWAYS = {"STILLAIR__SERVE__MIN_FREE_MIB": "64"}
# The simulated density of 6,500 objects on 4096 x 4096 pixels, of which about 3,100 are found.
DENSITY = 6500 / 4096**2
ACK_WAIT = 5
CUT = 8


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def simulate(binary, folder, side, objects, stars, count):
    """LSST-like exposures without their truth; their `file:` addresses."""
    command = [binary, "simulate", "--layout", "lsst", "--size", f"{side},{side}", "--objects", str(objects)]
    command += ["--stars", str(stars), "--count", str(count), "--out", folder]
    subprocess.run(command, check=True, cwd=ROOT, env=clean_environment(), stdout=subprocess.DEVNULL)
    for truth in folder.glob("*.truth.fits"):
        truth.unlink()
    return [file.as_uri() for file in sorted(folder.glob("*.fits"))]


class Bench:
    def __init__(self, arguments, folder):
        self.arguments, self.binary, self.folder = arguments, arguments.binary, folder
        self.number = 0
        self.files = {}

    def exposures(self, name):
        """Simulated once, used by all parts: `trivial`, `small` or `real`."""
        if name not in self.files:
            side = {"trivial": 64, "small": 256, "real": self.arguments.side}[name]
            objects, stars = (3, 2) if name == "trivial" else (round(DENSITY * side**2), max(10, round(0.1 * DENSITY * side**2)))
            self.files[name] = simulate(self.binary, self.folder / name, side, objects, stars, 4 if name != "trivial" else 1)
        return self.files[name]

    @contextlib.asynccontextmanager
    async def service(self, settings, workers, start=True, proxy=False):
        """A fresh nats-server with streams, a client, a proxy if asked for, and the service with an archive of its own."""
        self.number += 1
        folder = self.folder / f"run-{self.number}"
        server = Nats(folder / "nats")
        server.spawn()
        settings = ALWAYS | settings | {
            "STILLAIR__SERVE__WORKERS": workers,
            "STILLAIR__FETCH__ROOTS": json.dumps([str(self.folder)]),
        }
        service, network = None, None
        try:
            await server.up()
            provision = clean_environment() | {n: str(v) for n, v in settings.items()} | {"STILLAIR__BUS__URL": server.url}
            subprocess.run([self.binary, "bus", "provision"], check=True, cwd=ROOT, env=provision, stdout=subprocess.DEVNULL)
            if proxy:
                network = Proxy(server.client)
                await network.start()
            async with Streams(server.url) as streams:
                service = Service(self.binary, folder, network.url if proxy else server.url, settings)
                if start:
                    service.spawn()
                    await service.up()
                yield server, streams, service, network
                await self.whole(streams)
        finally:
            if service is not None:
                # On another thread: what the service still says goes through the proxy, which this one runs.
                await asyncio.to_thread(service.stop, 30)
            if network is not None:
                await network.stop()
            server.stop()

    async def whole(self, streams):
        """No measurement counts in which something was lost or given up."""
        info = await streams.stream.stream_info("STILLAIR_EXPOSURES")
        events, ready, failed = info.state.messages, len(await streams.catalogs()), await streams.failed()
        if failed or events != ready:
            sys.exit(f"{events} events, {ready} catalogues, {failed} given up: nothing measured")

    def replay(self, uris, jobs):
        """The same exposures by `stillair replay`, under names of their own: seconds between the first and the last, CPU seconds."""
        self.number += 1
        folder = self.folder / f"replay-{self.number}"
        (folder / "in").mkdir(parents=True)
        for number in range(self.arguments.trivial):
            os.link(uris[number % len(uris)].removeprefix("file://"), folder / "in" / f"e{number:05d}.fits")
        command = [self.binary, "replay", folder / "in", "--out", folder / "out", "--jobs", str(jobs)]
        child = subprocess.Popen(command, cwd=ROOT, env=clean_environment() | TRIVIAL, stdout=subprocess.PIPE, text=True)
        times = [time.monotonic() for line in child.stdout if line.startswith("done ")]
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
        if status != 0 or len(times) != self.arguments.trivial:
            sys.exit(f"replay did {len(times)} of {self.arguments.trivial} exposures")
        return times[-1] - times[0], usage.ru_utime + usage.ru_stime

    async def served(self, name, settings, workers, count):
        """`count` events that wait are worked off: seconds between the first catalogue and the last, and more."""
        uris = self.exposures(name)
        async with self.service(settings, workers, start=False) as (_, streams, service, _network):
            await streams.publish_all([f"{number:05d}" for number in range(count)], uris)
            service.spawn()
            await service.up()
            await streams.answered(3600)
            catalogs = await streams.catalogs()
            times = sorted(at for at, _ in catalogs.values())
            rows = [len(payload) for _, _, payload in await streams.messages(CATALOGS, ROWS)]
            summaries = [json.loads(path.read_text()) for path in service.out.glob("*/summary.json")]
            return {
                "exposures": count,
                "seconds": times[-1] - times[0],
                "objects": sum(objects for _, objects in catalogs.values()),
                "cpu_s": service.cpu(),
                "stages": service.stages(),
                "rows_bytes": sum(rows),
                "rows_messages": len(rows),
                "archive_bytes": sum(file["bytes"] for summary in summaries for file in summary["files"]),
                "stamps_bytes": sum(f["bytes"] for summary in summaries for f in summary["files"] if f["name"].startswith("stamps_")),
                "samples": [{"objects": s["objects"], "seconds": s["seconds"]} for s in summaries],
            }

    async def overhead(self):
        """Trivial exposures through the bus and without it, in turns."""
        uris, count = self.exposures("trivial"), self.arguments.trivial
        runs = []
        for turn in range(self.arguments.turns):
            for workers in (1, 2):
                seconds, cpu = self.replay(uris, workers)
                served = await self.served("trivial", TRIVIAL, workers, count)
                runs.append({
                    "workers": workers, "count": count, "replay_s": seconds, "replay_cpu_s": cpu, "serve_s": served["seconds"],
                    "serve_cpu_s": served["cpu_s"], "stages": served["stages"],
                })
                rates = (count - 1) / seconds, (count - 1) / served["seconds"]
                say(f"overhead, turn {turn + 1}, {workers} workers: replay {rates[0]:.1f}/s, serve {rates[1]:.1f}/s")
        return {"runs": runs}

    async def throughput(self):
        """Realistic exposures with the network."""
        runs = []
        for workers in (1, 2):
            run = await self.served("real", {}, workers, self.arguments.real)
            run |= {"workers": workers, "side": self.arguments.side}
            runs.append(run)
            say(f"throughput, {workers} workers: {(run['exposures'] - 1) / run['seconds']:.2f} exposures/s")
        return {"runs": runs}

    async def latency(self, rate):
        """Events at random times at half the rate that can be done."""
        uris, count = self.exposures("real"), self.arguments.latency
        random = np.random.default_rng(1)
        published = {}
        async with self.service({}, 2) as (_, streams, _service, _network):
            # The first exposure finds cold caches.
            await streams.publish("warm", uris[0])
            await streams.answered(120)
            due = time.time() + np.cumsum(random.exponential(1 / rate, count))
            for number, at in enumerate(due):
                await asyncio.sleep(max(0.0, at - time.time()))
                published[f"{number:05d}"] = await streams.publish(f"{number:05d}", uris[number % len(uris)])
            await streams.answered(600)
            catalogs = await streams.catalogs()
        seconds = sorted(catalogs[name][0] - at for name, at in published.items())
        say(f"latency at {rate:.2f}/s: p50 {np.percentile(seconds, 50):.2f} s, p99 {np.percentile(seconds, 99):.2f} s")
        return {"rate": rate, "side": self.arguments.side, "seconds": seconds}

    async def memory(self):
        """Resident memory over many exposures; with all that a service makes by default but the pictures."""
        uris, count = self.exposures("trivial"), self.arguments.memory
        points = []
        async with self.service({"STILLAIR__OUTPUT__PICTURES": "false"}, 2, start=False) as (_, streams, service, _network):
            await streams.publish_all([f"{number:05d}" for number in range(count)], uris)
            service.spawn()
            await service.up()
            start = time.monotonic()

            def sample(done):
                points.append((done, *service.memory(), time.monotonic() - start))
                if len(points) % 200 == 0:
                    say(f"memory: {done} exposures, {points[-1][1] / 1024:.1f} MiB")

            await streams.answered(3600, sample, pause=0.1)
        return {"exposures": count, "points": points} | slope(points)

    async def recovery(self):
        """Faults in the middle of work, several times each."""
        uris, times = self.exposures("small"), self.arguments.faults
        settings = {"STILLAIR__BUS__ACK_WAIT_S": ACK_WAIT, "STILLAIR__OUTPUT__PICTURES": "false"}
        found = []
        async with self.service(settings, 2, start=False, proxy=True) as (server, streams, service, network):
            published = []

            async def refill():
                """So many wait that the work does not run out."""
                waiting = (await streams.consumer()).num_pending
                more = [f"{len(published) + number:05d}" for number in range(max(0, self.arguments.waiting - waiting))]
                await streams.publish_all(more, uris)
                published.extend(more)

            async def next_after(moment, limit=240):
                start = time.monotonic()
                while (newest := await ask(streams.newest, 0.0)) <= moment:
                    if time.monotonic() - start > limit:
                        sys.exit(f"no catalogue within {limit} s:\n{service.log.read_text()[-2000:]}")
                    await asyncio.sleep(0.02)
                return newest

            await refill()
            service.spawn()
            await service.up()
            faults = [(name, turn) for turn in range(times) for name in ("killed", "server", "severed", "silent")]
            for name, turn in faults:
                await refill()
                await next_after(time.time())
                # At a random moment of the work.
                await asyncio.sleep(0.2 + 0.37 * turn)
                in_hand = (await streams.consumer()).delivered.stream_seq
                entry = {"fault": name, "at": time.time(), "delivered": in_hand}
                if name == "killed":
                    service.kill()
                    entry["over"] = time.time()
                    service.spawn()
                    await service.up()
                    entry["ready_s"] = time.time() - entry["over"]
                elif name == "server":
                    server.kill()
                    await asyncio.sleep(2)
                    server.spawn()
                    await server.up()
                    entry["over"] = time.time()
                else:
                    network.set(name)
                    await asyncio.sleep(CUT)
                    entry["over"] = time.time()
                    network.set("open")
                await next_after(entry["over"])
                # Whoever was in hand comes again within the acknowledgement's time; the next fault waits for that.
                await asyncio.sleep(ACK_WAIT + 2)
                found.append(entry)
                say(f"recovery: {name} {turn + 1} of {times}")
            await streams.answered(1200)
            catalogs = await streams.catalogs()
        for entry in found:
            over = entry["over"]
            # Sequence n of the stream is the n-th event published. What was in hand may only have had to be said: new work shows
            # that all goes on.
            fresh, held = published[entry["delivered"] :], published[: entry["delivered"]]
            entry["next_s"] = min(catalogs[name][0] for name in fresh if catalogs[name][0] > over) - over
            held = [catalogs[name][0] for name in held if catalogs[name][0] > over]
            entry["held_s"] = max(held) - over if held else None
        return {"ack_wait_s": ACK_WAIT, "cut_s": CUT, "faults": found}

    async def limits(self):
        """What one nats-server on this disk takes, and the disk itself."""
        message, count = os.urandom(900_000), 200
        async with self.service(TRIVIAL, 1, start=False) as (_, streams, _service, _network):
            start = time.monotonic()
            for _ in range(count):
                await streams.stream.publish(ROWS, message)
            rows = time.monotonic() - start
        block, size = os.urandom(1 << 20), 1024
        start = time.monotonic()
        with open(self.folder / "disk", "wb") as file:
            for _ in range(size):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        disk = time.monotonic() - start
        (self.folder / "disk").unlink()
        say(f"limits: {count * 0.9 / rows:.0f} MB/s into a stream, {size * 1.048576 / disk:.0f} MB/s to the disk")
        return {"stream_mb_s": count * 0.9 / rows, "message_bytes": len(message), "disk_mb_s": size * 1.048576 / disk}


async def ask(question, otherwise):
    """An answer, or `otherwise` while the server is away."""
    try:
        return await asyncio.wait_for(question(), 2)
    except Exception:  # noqa: BLE001  (a server that dies has many ways to say so)
        return otherwise


def slope(points):
    """KiB an exposure over the last three quarters: what stays, the least of each of 32 stretches; the median of all pairs'
    slopes (Theil-Sen); its error by leaving out eighths."""
    points = np.array(points)
    late = points[points[:, 0] > points[-1, 0] / 4]
    parts = np.array_split(late, min(32, len(late)))
    floor = np.array([[part[:, 0].mean(), part[:, 1].min()] for part in parts])

    def theil_sen(some):
        i, j = np.triu_indices(len(some), 1)
        run = some[j, 0] - some[i, 0]
        return float(np.median((some[j, 1] - some[i, 1])[run > 0] / run[run > 0]))

    eighth = np.arange(len(floor)) * 8 // len(floor)
    left_out = [theil_sen(floor[eighth != part]) for part in range(8)]
    error = float(np.sqrt(7 / 8 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))
    fit = theil_sen(floor)
    say(f"memory: {fit:+.3f} +- {error:.3f} KiB an exposure")
    return {
        "slope_kib": fit, "error_kib": error, "first_mib": float(floor[0, 1]) / 1024, "last_mib": float(floor[-1, 1]) / 1024,
        "peak_mib": float(points[:, 1].max()) / 1024,
    }


PARTS = ("overhead", "throughput", "latency", "memory", "recovery", "limits")


def machine(binary):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d"), "version": version, "build": binary.parent.name}


async def run(bench, parts, kept):
    for part in parts:
        about, start = machine(bench.binary), time.monotonic()
        say(f"{part} (load {about['load']:.1f})")
        if part == "latency":
            rate = bench.arguments.rate or half_rate(kept)
            kept[part] = await bench.latency(rate)
        else:
            kept[part] = await getattr(bench, part)()
        kept[part] |= {"machine": about, "note": bench.arguments.note, "took_s": time.monotonic() - start}
        say(f"{part}: {kept[part]['took_s']:.0f} s")
        bench.arguments.json.parent.mkdir(parents=True, exist_ok=True)
        bench.arguments.json.write_text(json.dumps(kept, indent=1))


def half_rate(kept):
    runs = kept.get("throughput", {}).get("runs", [])
    rates = [(run["exposures"] - 1) / run["seconds"] for run in runs if run["workers"] == 2]
    return rates[0] / 2 if rates else sys.exit("latency needs --rate, or --part throughput before it")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=lambda path: Path(path).resolve())
    parser.add_argument("--part", action="append", choices=PARTS, help="measure only this (may be given several times)")
    parser.add_argument("--trivial", type=int, default=150, help="exposures of each run of overhead")
    parser.add_argument("--turns", type=int, default=3, help="turns of overhead")
    parser.add_argument("--side", type=int, default=1024, help="pixels of a side of the realistic exposures")
    parser.add_argument("--real", type=int, default=32, help="exposures of each run of throughput")
    parser.add_argument("--latency", type=int, default=80, help="events of latency")
    parser.add_argument("--rate", type=float, help="events a second of latency, instead of half the throughput")
    parser.add_argument("--memory", type=int, default=2000, help="exposures of memory")
    parser.add_argument("--faults", type=int, default=3, help="times each fault happens")
    parser.add_argument("--waiting", type=int, default=150, help="events that wait when a fault happens")
    parser.add_argument("--folder", type=Path, help="where to work (default: the temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep archives, logs and streams")
    parser.add_argument("--json", type=Path, default=ROOT / "out/bench/service.json")
    parser.add_argument("--note", default="", help="a remark for the tables' head")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between this file's comments too")
    parser.add_argument("--tables", action="store_true", help="measure nothing: print the tables of the JSON file")
    arguments = parser.parse_args()
    kept = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    folder = None
    try:
        if not arguments.tables:
            folder = Path(tempfile.mkdtemp(prefix="stillair-bench-", dir=arguments.folder))
            asyncio.run(run(Bench(arguments, folder), arguments.part or PARTS, kept))
        text = service_tables.tables(kept)
        print(text)
        if arguments.write:
            replace(arguments.write, "service", text)
    finally:
        # At the end: some gigabytes, and removing them would disturb what is measured next.
        if folder is not None and not arguments.keep:
            say("removing archives and streams")
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
