#!/usr/bin/env python3
"""Measures the program as a user runs it, and the Tikhonov step against Python, and prints docs/performance.md's tables.

usage: performance.py [--binary target/release/stillair] [--repeat 3]      (from the repository root, after `make build`)

Needs numpy, scipy and scikit-image (benches/requirements.txt). Machines are noisy: the least of several runs is given.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np  # noqa: E402  (one thread, as one core of stillair)


def run(command):
    """Wall seconds, CPU seconds and peak memory (MiB) of one command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def exposures(binary, repeat):
    stages, rows = ["read", "background", "detect", "psf", "stamp", "tikhonov", "network", "renorm", "archive"], []
    for side, objects in ((2048, 6500), (4096, 3250), (4096, 6500), (4096, 13000)):
        with tempfile.TemporaryDirectory() as folder:
            run([binary, "simulate", "--size", f"{side},{side}", "--objects", str(objects), "--out", folder])
            best = None
            for _ in range(repeat):
                wall, cpu, memory = run([binary, "process", f"{folder}/lsst-1.fits", "--out", f"{folder}/out"])
                summary = json.loads(Path(folder, "out/lsst-1/summary.json").read_text())
                if best is None or wall < best[0]:
                    best = (wall, cpu, memory, summary)
            wall, cpu, memory, summary = best
            rows.append((side, objects, summary["objects"], wall, cpu, memory, summary["seconds"], summary["more"]["peak_memory_mib"]))
    print("| image | simulated / found | wall s | CPU s | peak MiB | " + " | ".join(stages) + " |")
    print("|---" * (5 + len(stages)) + "|")
    for side, objects, found, wall, cpu, memory, seconds, peak in rows:
        cells = " | ".join(f"{seconds[s]:.2f} ({peak.get(s, 0)})" for s in stages)
        print(f"| {side}² | {objects} / {found} | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {cells} |")
    print("\nper stage: wall seconds (highest resident memory up to its end, MiB)")


def least(work, repeat=200):
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best


def python_tikhonov():
    """The same step in numpy and scipy (a search over 41 values of lambda by SURE) and scikit-image's Wiener filters."""
    import scipy.fft
    from skimage import restoration

    print("\n| side | numpy, fixed lambda | numpy, SURE over 41 lambdas | scipy, SURE over 41 lambdas | skimage wiener | skimage unsupervised_wiener |")
    print("|---|---|---|---|---|---|")
    for n in (64, 128):
        rng = np.random.default_rng(1)
        y, x = np.mgrid[:n, :n] - n // 2
        psf = (1 + (x**2 + y**2) / 9.0) ** -2.75
        psf /= psf.sum()
        image = 100 * np.roll(psf, (1, 2), (0, 1)) + rng.normal(0, 0.01, (n, n))
        laplacian = np.zeros((n, n))
        laplacian[0, 0], laplacian[0, 1], laplacian[1, 0], laplacian[0, -1], laplacian[-1, 0] = 4, -1, -1, -1, -1
        lambdas = np.logspace(-8, 4, 41)

        def tikhonov(fft, lams):
            h, reg = fft.rfft2(np.fft.ifftshift(psf)), np.abs(fft.rfft2(laplacian)) ** 2
            data = fft.rfft2(image)
            power, h2 = np.abs(data) ** 2 / n**2, np.abs(h) ** 2
            best = lams[0]
            if len(lams) > 1:
                risks = []
                for lam in lams:
                    a = h2 / (h2 + lam * reg)
                    risks.append((a * a * power + 2 * (1e-4 - power) * a).sum())
                best = lams[int(np.argmin(risks))]
            return fft.irfft2(np.conj(h) * data / (h2 + best * reg), (n, n))

        cells = [
            least(lambda: tikhonov(np.fft, lambdas[:1])),
            least(lambda: tikhonov(np.fft, lambdas)),
            least(lambda: tikhonov(scipy.fft, lambdas)),
            least(lambda: restoration.wiener(image, psf, 0.01, clip=False)),
            least(lambda: restoration.unsupervised_wiener(image, psf, clip=False, rng=1), 20),
        ]
        print(f"| {n} | " + " | ".join(f"{c:.0f}" for c in cells) + " |")
    print("\nmicroseconds a stamp, one thread, least of 200 runs (unsupervised_wiener: of 20)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/stillair")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    exposures(arguments.binary, arguments.repeat)
    python_tikhonov()
    print("\nstillair's own step, in the same run:", flush=True)
    subprocess.run(["cargo", "bench", "--bench", "tikhonov"], check=True)


if __name__ == "__main__":
    main()
