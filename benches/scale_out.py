#!/usr/bin/env python3
"""How many daemons a survey needs: a discrete-event model of one queue, many workers, and a network that workers share.

usage: scale_out.py [--service out/bench/service.json] [--write docs/performance.md]
       scale_out.py --check        holds the model against results of queueing theory that are known exactly

Exposures wait in one queue (the stream) for the first free worker of any daemon. A worker computes the stages before the network,
then stands in its daemon's line for the network (one thread, first come first served), then does the rest and is free again.
What is measured and what is assumed is printed with the result. Plain Python, seeded.
"""
import argparse
import heapq
import json
import math
import random
import sys
from collections import deque
from pathlib import Path

from tables import replace, table

# docs/performance.md, "The whole program": 4096 x 4096 pixels, wall seconds on 2 cores, by the number of objects found.
MEASURED = {
    1627: {"read": 0.33, "background": 0.50, "detect": 0.52, "psf": 3.53, "stamp": 0.12, "tikhonov": 0.17, "network": 5.11, "renorm": 0.49, "archive": 1.02},
    3138: {"read": 0.33, "background": 0.51, "detect": 0.83, "psf": 5.51, "stamp": 0.22, "tikhonov": 0.31, "network": 10.26, "renorm": 0.95, "archive": 1.35},
    5803: {"read": 0.33, "background": 0.53, "detect": 1.46, "psf": 10.52, "stamp": 0.42, "tikhonov": 0.60, "network": 18.81, "renorm": 1.80, "archive": 1.65},
}
BEFORE, AFTER = ("read", "background", "detect", "psf", "stamp", "tikhonov"), ("renorm", "archive")
IMAGES, VISIT_S, TARGET_S = 189, 39.0, 60.0
RATE = IMAGES / VISIT_S
OBJECTS, PIXEL_MB = 2900, 110.0
# Assumptions.
SPREAD_S = 5.0  # a visit's images arrive within so many seconds
SIGMA = 0.3  # scatter of the logarithm of the number of objects
FETCH_MB_S = 250.0  # pixels reach a worker so fast
LINK_MB_S = 1250.0  # one link, 10 Gbit/s
GPU_MS = (0.1, 0.2, 0.5)  # a stamp of 64 pixels on a GPU
GPU_WORKERS = 16  # workers, of 2 cores each, beside one GPU


def line(points):
    """Least squares: (value at nought, slope)."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y - slope * mean_x, slope


STAGES = {stage: line([(objects, times[stage]) for objects, times in MEASURED.items()]) for stage in (*BEFORE, "network", *AFTER)}


def stage_times(objects, gpu_ms=None):
    """Seconds before the network, in it, and after it."""
    def of(stage):
        start, slope = STAGES[stage]
        return max(0.0, start + slope * objects)

    network = of("network") if gpu_ms is None else 1e-3 * gpu_ms * objects
    return PIXEL_MB / FETCH_MB_S + sum(map(of, BEFORE)), network, sum(map(of, AFTER))


def simulate(arrivals, jobs, daemons, workers):
    """Latency of each exposure, and what was busy. `jobs`: (before, network, after) seconds; `arrivals`: rising times."""
    idle = deque(daemon for _ in range(workers) for daemon in range(daemons))
    network_free = [0.0] * daemons
    waiting, longest = deque(), 0
    started, finished = [0.0] * len(jobs), [0.0] * len(jobs)
    busy = network_busy = 0.0
    # (time, order, what, exposure, daemon); an exposure that arrives has no daemon yet.
    events = [(at, number, "arrives", number, -1) for number, at in enumerate(arrivals)]
    heapq.heapify(events)
    order = len(events)
    while events:
        now, _, what, job, daemon = heapq.heappop(events)
        if what == "arrives":
            waiting.append(job)
        elif what == "network":
            begin = max(now, network_free[daemon])
            network_free[daemon] = begin + jobs[job][1]
            network_busy += jobs[job][1]
            done = network_free[daemon] + jobs[job][2]
            order += 1
            heapq.heappush(events, (done, order, "done", job, daemon))
            continue
        else:
            finished[job] = now
            busy += now - started[job]
            idle.append(daemon)
        while waiting and idle:
            job, daemon = waiting.popleft(), idle.popleft()
            started[job] = now
            order += 1
            heapq.heappush(events, (now + jobs[job][0], order, "network", job, daemon))
        longest = max(longest, len(waiting))
    span = max(finished) - arrivals[0]
    return {
        "latency": [end - at for end, at in zip(finished, arrivals)],
        "workers": busy / (span * daemons * workers),
        "network": network_busy / (span * daemons),
        "queue": longest,
    }


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def lsst(load, visits, rng):
    """Every 39 s the images of a visit, within a few seconds; `load` times as many."""
    times = []
    for visit in range(visits):
        times += [visit * VISIT_S + rng.uniform(0, SPREAD_S) for _ in range(round(IMAGES * load))]
    return sorted(times)


def steady(load, seconds):
    """As `stillair replay --rate` publishes: evenly."""
    rate = RATE * load
    return [number / rate for number in range(round(rate * seconds))]


def drawn(count, rng, gpu_ms, stretch):
    """Exposures of about 2,900 objects. What workers on the same cores lose to one another is in a measured `stretch`, their wait
    for the one network too: they stand in no line then."""
    jobs = [stage_times(OBJECTS * math.exp(rng.gauss(-SIGMA**2 / 2, SIGMA)), gpu_ms) for _ in range(count)]
    return jobs if stretch == 1.0 else [(sum(job) * stretch, 0.0, 0.0) for job in jobs]


def outcome(scenario, load, daemons, workers, gpu_ms=None, stretch=1.0, seed=1):
    rng = random.Random(seed)
    arrivals = lsst(load, 40, rng) if scenario == "lsst" else steady(load, 900)
    result = simulate(arrivals, drawn(len(arrivals), rng, gpu_ms, stretch), daemons, workers)
    late = result["latency"][len(arrivals) // 4 :]
    # The last eighth tells whether the queue grows.
    result |= {"p50": percentile(late, 0.5), "p99": percentile(late, 0.99), "end_p99": percentile(late[-len(late) // 8 :], 0.99)}
    return result


def enough(scenario, load, workers, gpu_ms=None, stretch=1.0):
    """The fewest daemons that keep 99 of 100 exposures below the target, to the end of the run."""
    def keeps(daemons):
        result = outcome(scenario, load, daemons, workers, gpu_ms, stretch)
        return result if max(result["p99"], result["end_p99"]) < TARGET_S else None

    times = stage_times(OBJECTS, gpu_ms)
    # Fewer than these cannot keep up, however long it takes until that shows.
    least = RATE * load * max(sum(times) * stretch / workers, times[1] if stretch == 1.0 else 0.0)
    low, high = math.floor(least), math.floor(least) + 1
    while keeps(high) is None:
        low, high = high, math.ceil(high * 1.2) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high, keeps(high)


def fleets(ratio):
    """(name, workers of a daemon, ms a stamp on a GPU, stretch of the stage times, cores of a daemon)."""
    found = [("processor only: 1 worker on 2 cores", 1, None, 1.0, 2)]
    if ratio is not None:
        found.append((f"processor only: 2 workers on 2 cores, {ratio:.2f} times the rate of 1", 2, None, 2 / ratio, 2))
    found += [(f"GPU at {ms} ms a stamp, {GPU_WORKERS} workers on {2 * GPU_WORKERS} cores", GPU_WORKERS, ms, 1.0, 2 * GPU_WORKERS) for ms in GPU_MS]
    return found


def fleet_table(ratio):
    rows, chosen = [], {}
    for scenario, load, title in (("lsst", 1.0, "LSST"), ("replay", 10.0, "replay, 10 x")):
        for name, workers, gpu_ms, stretch, cores in fleets(ratio):
            daemons, result = enough(scenario, load, workers, gpu_ms, stretch)
            chosen[(scenario, name)] = (daemons, workers, gpu_ms, stretch)
            rows.append([
                title, name, str(daemons), str(daemons * cores), str(daemons) if gpu_ms else "0", f"{100 * result['workers']:.0f} %",
                f"{100 * result['network']:.0f} %" if stretch == 1.0 else "", str(result["queue"]), f"{result['p50']:.1f}", f"{result['p99']:.1f}",
            ])
    head = ["load", "daemon", "daemons", "cores", "GPUs", "workers busy", "network busy", "longest queue", "p50, s", "p99, s"]
    return table(head, rows), chosen


def growth_table(chosen):
    """The fleets for LSST under more than LSST."""
    loads, rows = (1.0, 1.05, 1.1, 1.25, 1.5), []
    for (scenario, name), (daemons, workers, gpu_ms, stretch) in chosen.items():
        if scenario == "lsst":
            results = [outcome(scenario, load, daemons, workers, gpu_ms, stretch) for load in loads]
            rows.append([f"{name} ({daemons} daemons)", *(f"{r['p99']:.0f}{' and growing' if r['end_p99'] > 1.15 * r['p99'] or r['end_p99'] > 300 else ''}" for r in results)])
    return table(["p99 in s of the fleet sized for LSST, at a load of", *(f"{load:g}" for load in loads)], rows)


def shared_table(service):
    """What all daemons share: how many times LSST one unit of it carries."""
    runs = service.get("throughput", {}).get("runs")
    if not runs or "limits" not in service:
        return "(Bandwidths: measure `throughput` and `limits` with benches/service.py first.)"
    run, limits = runs[0], service["limits"]
    per_object = lambda size: size / run["objects"]  # noqa: E731
    stamps, rest = per_object(run["stamps_bytes"]), per_object(run["archive_bytes"] - run["stamps_bytes"])
    items = [
        ("pixels in", PIXEL_MB, LINK_MB_S, "a link of 10 Gbit/s (assumed)"),
        ("archive, with stamps", OBJECTS * (stamps + rest) / 1e6, LINK_MB_S, "a link of 10 Gbit/s (assumed)"),
        ("archive, with stamps", OBJECTS * (stamps + rest) / 1e6, limits["disk_mb_s"], "the disk measured here"),
        ("archive, `[output] stamps = false`", OBJECTS * rest / 1e6, limits["disk_mb_s"], "the disk measured here"),
        ("rows on NATS", OBJECTS * per_object(run["rows_bytes"]) / 1e6, limits["stream_mb_s"], "the nats-server measured here, one publisher"),
    ]
    rows = [[what, f"{size:.1f}", f"{size * RATE:.0f}", f"{size * RATE * 10:.0f}", f"{unit} ({carries:.0f} MB/s)", f"{carries / (size * RATE):.1f}"]
            for what, size, carries, unit in sorted(items, key=lambda item: item[2] / item[1])]
    head = ["what all daemons share", "MB an image", "MB/s, LSST", "MB/s, 10 x", "one unit", "one unit carries, x LSST"]
    return table(head, rows)


def report(service):
    runs = {run["workers"]: (run["exposures"] - 1) / run["seconds"] for run in service.get("throughput", {}).get("runs", [])}
    ratio = runs[2] / runs[1] if 1 in runs and 2 in runs else None
    fleet, chosen = fleet_table(ratio)
    before, network, after = stage_times(OBJECTS)
    text = f"""Of one image with {OBJECTS:,} objects: {before:.1f} s before the network (of it {PIXEL_MB / FETCH_MB_S:.2f} s to fetch it), {network:.1f} s in it on 2 cores, {after:.1f} s after it.

{fleet}

{growth_table(chosen)}

{shared_table(service)}"""
    notes = {name: service[name]["note"] for name in ("throughput", "limits") if service.get(name, {}).get("note")}
    if notes:
        text += f"\n\n**{'; '.join(sorted(set(notes.values())))}**: the rates of `throughput` and `limits`; the stage times are those of the quiet table above."
    return text


# --- known results -------------------------------------------------------------------------------------------------------------


def erlang_c(servers, load):
    """Mean wait of M/M/c in service times; `load` is the utilisation."""
    offered = servers * load
    terms = sum(offered**k / math.factorial(k) for k in range(servers))
    last = offered**servers / math.factorial(servers) / (1 - load)
    return last / (terms + last) / (servers * (1 - load))


def crommelin(servers, load):
    """Mean wait of M/D/c in service times (Crommelin 1932), summed until it no longer changes."""
    offered, total = servers * load, 0.0
    for m in range(1, 2000):
        mean, c = m * offered, m * servers
        term = math.exp(-mean + c * math.log(mean) - math.lgamma(c + 1))
        tail, following = 0.0, 0.0
        j, p = c, term
        while p > 1e-18 * max(tail, 1e-300) and j < c + 20000:
            tail += p
            j += 1
            p *= mean / j
            following += p
        part = tail - following / load
        total += part
        if m > 10 and abs(part) < 1e-12:
            break
    return total


def check():
    """The model against theory; exits 1 where they disagree."""
    bad = 0

    def compare(what, got, known, tolerance=1e-9):
        nonlocal bad
        good = abs(got - known) <= tolerance
        bad += not good
        print(f"{'ok  ' if good else 'BAD '} {what}: {got:.4f}, known {known:.4f}, may differ by {tolerance:.2g}")

    rng = random.Random(7)
    count = 200_000

    def poisson(rate):
        now, times = 0.0, []
        for _ in range(count):
            now += rng.expovariate(rate)
            times.append(now)
        return times

    def waits(arrivals, jobs, daemons, workers):
        latency = simulate(arrivals, jobs, daemons, workers)["latency"]
        return [end - sum(job) for end, job in zip(latency, jobs)]

    def compare_mean(what, values, known):
        """Within three standard errors, by the means of twenty stretches; an error too large to tell anything is bad too."""
        nonlocal bad
        size = len(values) // 20
        means = [sum(values[part * size : (part + 1) * size]) / size for part in range(20)]
        mean = sum(means) / 20
        error = math.sqrt(sum((value - mean) ** 2 for value in means) / 19 / 20)
        bad += error > 0.06 * known
        compare(what, mean, known, 3 * error)

    fixed = [(1.0, 0.0, 0.0)] * count
    compare("crommelin at one server is Pollaczek-Khinchine", crommelin(1, 0.8), 0.8 / (2 * 0.2))
    for servers, load in ((1, 0.7), (4, 0.8), (20, 0.85)):
        compare_mean(f"M/D/{servers} at {load}, mean wait", waits(poisson(servers * load), fixed, servers, 1), crommelin(servers, load))
        jobs = [(rng.expovariate(1.0), 0.0, 0.0) for _ in range(count)]
        compare_mean(f"M/M/{servers} at {load}, mean wait", waits(poisson(servers * load), jobs, servers, 1), erlang_c(servers, load))
    # Enough workers: what reaches the network is still a Poisson stream, and one network is M/D/1.
    jobs = [(3.0, 1.0, 2.0)] * count
    compare_mean("network shared by many workers, M/D/1 at 0.7", waits(poisson(0.7), jobs, 1, 200), 0.7 / 0.6)
    # As many workers as daemons, in whatever way they are spread, are the same queue when the network is no daemon's limit.
    arrivals = poisson(3.2)
    compare("4 daemons of 1 worker as 1 of 4", sum(waits(arrivals, fixed, 1, 4)), sum(waits(arrivals, fixed, 4, 1)), 1e-6)
    # A burst of 189 on 50 workers takes ceil(189 / 50) turns.
    burst = simulate([0.0] * 189, [(2.0, 0.0, 1.0)] * 189, 50, 1)
    compare("a burst of 189 on 50 workers, last", max(burst["latency"]), 12.0)
    compare("its longest queue", burst["queue"], 139.0)
    compare("its busy share", burst["workers"], 189 * 3 / (50 * 12))
    # One network for all: a burst of 10 with 10 workers ends after 1 + 10 x 2.
    compare("a burst of 10 before one network, last", max(simulate([0.0] * 10, [(1.0, 2.0, 0.0)] * 10, 1, 10)["latency"]), 21.0)
    sys.exit(1 if bad else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", type=Path, default=Path(__file__).resolve().parent.parent / "out/bench/service.json", help="what benches/service.py measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between this file's comments too")
    parser.add_argument("--check", action="store_true", help="hold the model against known results")
    arguments = parser.parse_args()
    if arguments.check:
        check()
    text = report(json.loads(arguments.service.read_text()) if arguments.service.exists() else {})
    print(text)
    if arguments.write:
        replace(arguments.write, "scale-out", text)


if __name__ == "__main__":
    main()
