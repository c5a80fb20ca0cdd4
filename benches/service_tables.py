"""The tables of docs/performance.md, "The service", made of what benches/service.py measured."""
import numpy as np

from tables import table

# Growth below this is called flat: a daemon that works off an exposure a second gains less than 4 MiB an hour by it.
FLAT_KIB = 1.0


def about(part):
    machine = part["machine"]
    note = f" **{part['note']}.**" if part["note"] else ""
    return f"({machine['date']}, {machine['build']} build, {machine['cores']} cores of {machine['cpu']}, load {machine['load']:.1f} when it began.){note}"


def overhead(part):
    rows = []
    for workers in (1, 2):
        runs = [run for run in part["runs"] if run["workers"] == workers]
        count = runs[0]["count"]
        rate = {name: np.array([(count - 1) / run[f"{name}_s"] for run in runs]) for name in ("replay", "serve")}
        more = np.median([1e3 * (run["serve_s"] - run["replay_s"]) / (count - 1) for run in runs])
        cpu = np.median([1e3 * (run["serve_cpu_s"] - run["replay_cpu_s"]) / count for run in runs])
        publish = np.median([1e3 * run["stages"]["publish"] for run in runs])
        spread = "-".join(f"{value:.2f}" for value in sorted({(rate["serve"] / rate["replay"]).min(), (rate["serve"] / rate["replay"]).max()}))
        rows.append([
            str(workers), f"{np.median(rate['replay']):.1f}", f"{np.median(rate['serve']):.1f}",
            f"{np.median(rate['serve'] / rate['replay']):.2f} ({spread})", f"{more:.1f}", f"{publish:.1f}", f"{cpu:.1f}",
        ])
    head = ["workers", "`replay`, exposures/s", "`serve`, exposures/s", "ratio (range)", "added, ms an exposure", "of which publishing, ms", "added CPU, ms"]
    count, turns = part["runs"][0]["count"], len(part["runs"]) // 2
    return (
        f"**Overhead of the bus path.** {count} exposures of 64 x 64 pixels with 3 objects, no network, no pictures, no stamps, through the "
        f"bus and by `stillair replay --jobs`, in turns; medians of {turns} turns. {about(part)}\n\n" + table(head, rows)
        + "\n\n\"Added\" is the time between two catalogues, with the bus less without: fetching, publishing rows and event, the double "
        "acknowledgement, the next request. Publishing is inside a worker: with 2 workers one publishes while the other works."
    )


def throughput(part):
    rows = []
    stages = ["fetch", "read", "background", "detect", "psf", "stamp", "tikhonov", "network", "renorm", "archive", "publish", "total"]
    for run in part["runs"]:
        rate = (run["exposures"] - 1) / run["seconds"]
        objects = run["objects"] / run["exposures"]
        rows.append(
            [str(run["workers"]), f"{rate:.2f}", f"{rate * objects:.0f}", f"{objects:.0f}", f"{run['cpu_s'] / run['exposures']:.2f}"]
            + [f"{run['stages'].get(stage, 0):.3f}" for stage in stages]
        )
    run = part["runs"][-1]
    sizes = (
        f"Rows: {run['rows_bytes'] / run['objects']:.0f} bytes an object ({run['rows_messages'] / run['exposures']:.1f} messages an exposure); "
        f"archive: {run['archive_bytes'] / run['objects'] / 1024:.0f} KiB an object, stamps and pictures included."
    )
    return (
        f"**End to end.** {run['exposures']} exposures of {run['side']} x {run['side']} pixels at an LSST density (`simulate --layout lsst`), "
        f"the shipped network on the processor, everything that is on by default. Stages: mean wall seconds of an exposure. {about(part)}\n\n"
        + table(["workers", "exposures/s", "objects/s", "objects an exposure", "CPU s an exposure", *stages], rows) + "\n\n" + sizes
    )


def latency(part):
    seconds = np.array(part["seconds"])
    row = [f"{part['rate']:.2f}", str(len(seconds)), *(f"{np.percentile(seconds, p):.2f}" for p in (50, 90, 99)), f"{seconds.max():.2f}"]
    return (
        f"**Latency at half load.** The same exposures, 2 workers, events published at random (Poisson) times at half the rate above; from just before "
        f"the event is published to the stream's own time of `catalog.ready`. {about(part)}\n\n"
        + table(["events/s", "events", "p50, s", "p90, s", "p99, s", "worst, s"], [row])
    )


def memory(part):
    verdict = "flat" if abs(part["slope_kib"]) + 2 * part["error_kib"] < FLAT_KIB else (
        "not flat" if part["slope_kib"] - 2 * part["error_kib"] > FLAT_KIB else "not decided: run it longer")
    row = [
        str(part["exposures"]), f"{part['slope_kib']:+.3f} ± {part['error_kib']:.3f}", verdict,
        f"{part['first_mib']:.1f}", f"{part['last_mib']:.1f}", f"{part['peak_mib']:.1f}",
    ]
    return (
        f"**Memory.** The same small exposures, with network and stamps, 2 workers; resident size every 0.1 s. What stays: the least of each "
        f"of 32 stretches, since detection alone holds some 35 MiB for a moment. Slope: median of all pairs (Theil-Sen) over the last three quarters, its error by leaving out eighths. Flat means: below {FLAT_KIB:g} KiB an exposure by two errors. {about(part)}\n\n"
        + table(["exposures", "KiB an exposure", "verdict", "MiB after a quarter", "MiB at the end", "peak, MiB"], [row])
    )


FAULTS = {
    "killed": "service killed (SIGKILL), started again at once",
    "server": "nats-server killed, started again after 2 s",
    "severed": "network cut for {cut} s, connections broken",
    "silent": "network cut for {cut} s, without a word",
}


def recovery(part):
    rows = []
    for name, text in FAULTS.items():
        faults = [fault for fault in part["faults"] if fault["fault"] == name]
        next_s = [fault["next_s"] for fault in faults]
        held = [fault["held_s"] for fault in faults if fault["held_s"] is not None]
        rows.append([
            text.format(cut=part["cut_s"]), str(len(faults)), f"{np.median(next_s):.2f}", f"{max(next_s):.2f}",
            f"{np.median(held):.1f}" if held else "none was", f"{max(held):.1f}" if held else "none was",
        ])
    ready = [fault["ready_s"] for fault in part["faults"] if "ready_s" in fault]
    return (
        f"**Recovery.** Faults in the middle of work (256 x 256 pixels, with network, 2 workers, `[bus] ack_wait_s` = {part['ack_wait_s']} instead of 30). "
        f"From the end of the fault (the service started, the server answering, the network whole) to the first catalogue of an exposure that was not in hand yet, "
        f"and to the last catalogue of those that were. {about(part)}\n\n"
        + table(["fault", "times", "new work, median s", "new work, worst s", "in hand, median s", "in hand, worst s"], rows)
        + f"\n\nAfter SIGKILL the service answers `/readyz` {np.median(ready):.2f} s after its start (worst {max(ready):.2f}), the network loaded and tried. What was in hand "
        f"comes again when its acknowledgement is overdue: with the default of 30 s that is up to {30 - part['ack_wait_s']} s later than here. Every event had one catalogue in the end."
    )


def limits(part):
    return (
        f"**Around it.** One nats-server with one client that waits for each acknowledgement, messages of {part['message_bytes'] / 1e6:.1f} MB: "
        f"{part['stream_mb_s']:.0f} MB/s; this disk, written and synced: {part['disk_mb_s']:.0f} MB/s. {about(part)}"
    )


def tables(kept):
    parts = (overhead, throughput, latency, memory, recovery, limits)
    return "\n\n".join(part(kept[part.__name__]) for part in parts if part.__name__ in kept)
