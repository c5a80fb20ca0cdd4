#!/usr/bin/env python3
"""Scores stillair and the classical methods on simulated fields with full truth, and prints docs/photometry.md's tables.

usage: photometry.py [--binary target/release/stillair] [--galaxies FILE] [--seeds 21,22,23] [--survey lsst,euclid] [--work DIR]
                     [--model NAME] [--peers] [--write docs/photometry.md]              (from the repository root, after `make build`)

Every field: about 1,500 objects on 2048 x 2048 pixels, stars and drawn galaxies and, with --galaxies (a FITS file of pictures GALnnn with
their PSFnnn), as many real ones; empty positions. Everything is scored by `stillair evaluate`, the peers' stamps too.
Needs numpy, scipy, scikit-image and astropy (benches/requirements.txt).
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
import tables  # noqa: E402

# target FWHM and scale, arcsec
SURVEYS = {"lsst": (0.15, 0.1), "euclid": (0.1, 0.05)}
BINS = ["10-30", "30-100", "> 100"]
# median flux bias %, pull std, |ellipticity bias|, |C_psf|
BARS = {
    "10-30": (2.0, (0.9, 1.15), 0.02, 0.03),
    "30-100": (0.7, (0.9, 1.15), 0.01, 0.015),
    "> 100": (0.3, (0.9, 1.25), 0.005, 0.01),
}
NMSE_BARS = {"10-30": (0.12, 0.90), "30-100": (0.07, 0.94), "100-300": (0.06, 0.95)}


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def simulate(binary, work, survey, seed, galaxies):
    """The exposure of a survey and seed, made once."""
    exposure = work / f"{survey}-{seed}.fits"
    if not exposure.exists():
        fwhm, scale = SURVEYS[survey]
        command = [binary, "simulate", "--layout", survey, "--seed", seed, "--objects", 1500, "--size", "2048,2048", "--out", work,
                   "--truth-stamps", 64, "--target-fwhm", fwhm, "--target-scale", scale, "--blanks", 300]
        run(command + (["--galaxies", galaxies] if galaxies else []))
    return exposure


def true_psf(work, exposure):
    """The true PSF on the truth file's grid of positions, as a file that `process --psf` takes: stamps side by side and their places."""
    import numpy as np
    from astropy.io import fits
    from astropy.table import Table

    path = work / f"{exposure.stem}.truepsf.fits"
    if not path.exists():
        with fits.open(work / f"{exposure.stem}.truth.fits") as truth:
            finest = [name for name in ("PSF_3X", "PSF_2X", "PSF") if name in truth][0]
            cube, places, oversample = truth[finest].data, truth["PSFPOS"].data, truth[finest].header["OVERSAMP"]
            n, side = len(cube), cube.shape[1]
            across = int(np.ceil(np.sqrt(n)))
            mosaic = np.zeros((across * side, across * side), "f4")
            x, y = [], []
            for k, stamp in enumerate(cube):
                row, column = divmod(k, across)
                mosaic[row * side:(row + 1) * side, column * side:(column + 1) * side] = stamp
                x.append(column * side + side // 2 + 1)
                y.append(row * side + side // 2 + 1)
            image = fits.ImageHDU(mosaic, name="PSF")
            image.header["STMPSIZE"], image.header["OVERSAMP"] = side, oversample
            table = fits.BinTableHDU(Table({"x": places["x"], "y": places["y"], "x_center": x, "y_center": y}), name="POSITIONS")
        fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(path)
    return path


def process(binary, work, exposure, survey, name, options):
    """Processes an exposure and its empty positions, once; the folder and the blanks' folder."""
    fwhm, scale = SURVEYS[survey]
    folders = []
    for part, more in (("objects", []), ("blanks", ["--catalog", work / f"{exposure.stem}.blanks.csv"])):
        out = work / name / part
        if not (out / exposure.stem / "summary.json").exists():
            run([binary, "process", exposure, "--out", out, "--target-fwhm", fwhm, "--target-scale", scale, *options, *more])
        folders.append(out / exposure.stem)
    return folders


def evaluate(binary, work, name, outputs, options=()):
    path = work / f"{name}.json"
    run([binary, "evaluate", *outputs, "--json", path, "--objects", work / f"{name}.csv", *options])
    return json.loads(path.read_text())


def pick(group, name):
    """The bin called `name`."""
    for b in group["bins"] + group["above"]:
        end = b["snr_to"]
        if name == (f"{b['snr_from']:.0f}-{end:.0f}" if end else f"> {b['snr_from']:.0f}"):
            return b
    return None


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def verdict(good):
    return "" if good else " ✗"


def bars_row(method, report):
    """A method's cells for the bars of fluxes and shapes, each with ✗ where it misses its bar."""
    cells = [method]
    for name in BINS:
        b, (flux, (low, high), e, c) = pick(report["galaxies"], name), BARS[name]
        bias, error = b["flux_bias"]["median"], b["flux_bias"]["scatter"]
        if bias is None:
            cells += ["-", "-"]
        else:
            error = 100 * 1.2533 * error / b["flux_bias"]["count"] ** 0.5
            cells.append(f"{100 * bias:+.2f} ± {error:.2f}" + verdict(abs(100 * bias) < flux))
            robust, raw = b["pulls"]["scatter"], b["pulls"]["std"]
            cells.append("-" if robust is None else f"{robust:.2f} ({raw:.2f})" + verdict(low <= robust <= high))
        worst = max((b["e1_bias"]["median"], b["e2_bias"]["median"]), key=lambda v: abs(v or 0.0))
        cells.append("-" if worst is None else f"{worst:+.4f}" + verdict(abs(worst) < e))
        leak = b["c_psf_of_error"]
        cells.append("-" if leak["value"] is None else f"{leak['value']:+.3f} ± {leak['error']:.3f}" + verdict(abs(leak["value"]) < c))
    return cells


def image_row(method, report):
    cells = [method]
    for name, (nmse, ssim) in NMSE_BARS.items():
        b = pick(report["galaxies"], name)
        for key, digits, good in (("nmse", 3, lambda v: v <= nmse), ("ssim_object", 3, lambda v: v >= ssim)):
            value = b[key]["median"]
            cells.append("-" if value is None else number(value, digits) + verdict(good(value)))
    b = report["galaxies"]["all"]
    cells.append("-" if b["invented"] is None else f"{100 * b['invented']:.1f}" + verdict(b["invented"] <= 0.02))
    return cells


def other_row(method, scores):
    report, blanks = scores["report"], scores["blanks"]
    stars, every = pick(report["stars"], "> 100"), report["all"]
    size, flux = stars["size_bias"]["median"], stars["flux_bias"]["median"]
    pull, pull_err = every["pulls"]["mean"], (every["pulls"]["std"] or 0) / max(every["pulls"]["count"], 1) ** 0.5
    cells = [
        method,
        "-" if size is None else f"{100 * size:+.1f}" + verdict(abs(size) < 0.05),
        "-" if flux is None else f"{100 * flux:+.2f}" + verdict(abs(flux) < 0.005),
        "-" if pull is None else f"{every['pulls']['median']:+.2f} / {pull:+.2f} ± {pull_err:.2f}" + verdict(abs(pull) < 0.1),
        f"{report['completeness']:.3f} / {report['purity']:.3f}",
    ]
    if not blanks:
        return cells + ["-"] * 4
    off, off_err = blanks["mean_over_error"], blanks["mean_over_error_err"]
    return cells + [
        str(blanks["positions"]),
        "-" if off is None else f"{off:+.2f} ± {off_err:.2f}" + verdict(abs(off) < 0.2),
        f"{100 * blanks['sources']:.1f}" + verdict(blanks["sources"] <= 0.01),
        "-" if blanks["blobs"] is None else f"{100 * blanks['blobs']:.1f}" + verdict(blanks["blobs"] <= 0.02),
    ]


# The classical methods on the pipeline's own stamps: OBSERVED and PSF of the stamp files.


def on_fine_grid(observed, centre, side, factor):
    """Observed pixels interpolated by cubic splines to a grid `factor` times finer whose pixel (side/2, side/2) is the object's centre;
    flux per fine pixel."""
    import numpy as np
    from scipy.ndimage import map_coordinates

    steps = (np.arange(side) - side // 2) / factor
    rows, columns = np.meshgrid(centre[1] + steps, centre[0] + steps, indexing="ij")
    return map_coordinates(observed.astype(float), [rows, columns], order=3, mode="nearest") / factor**2


def methods(fwhm_pixels):
    """Every classical method: (name, function of (fine observed, PSF, sigma, truth-or-None) -> deconvolved before the target PSF)."""
    import numpy as np
    from skimage import restoration

    fft, ifft = np.fft.rfft2, np.fft.irfft2

    def laplacian(n):
        kernel = np.zeros((n, n))
        kernel[0, 0], kernel[0, 1], kernel[1, 0], kernel[0, -1], kernel[-1, 0] = 4, -1, -1, -1, -1
        return np.abs(fft(kernel)) ** 2

    def tikhonov(y, psf, lam):
        h = fft(np.fft.ifftshift(psf))
        return ifft(np.conj(h) * fft(y) / (np.abs(h) ** 2 + lam * laplacian(len(y))), s=y.shape)

    def rl(y, psf, steps, pedestal):
        # scikit-image's own returns NaN where the re-convolved image is 0
        data = np.maximum(y + pedestal, 1e-6 * np.abs(y).max())
        out = restoration.richardson_lucy(data, psf, num_iter=steps, clip=False, filter_epsilon=1e-12)
        return out - pedestal

    def wiener(y, psf):
        scale = np.abs(y).max()
        return restoration.unsupervised_wiener(y / scale, psf, clip=False, rng=1)[0] * scale

    return {
        "Tikhonov 9e-3": lambda y, psf, sigma: tikhonov(y, psf, 9e-3),
        "Tikhonov 9e-2": lambda y, psf, sigma: tikhonov(y, psf, 9e-2),
        "Richardson-Lucy 40, clipped": lambda y, psf, sigma: rl(y, psf, 40, 0.0),
        "Richardson-Lucy 100, clipped": lambda y, psf, sigma: rl(y, psf, 100, 0.0),
        "Richardson-Lucy 40, pedestal": lambda y, psf, sigma: rl(y, psf, 40, 20 * sigma),
        "scikit-image unsupervised_wiener": lambda y, psf, sigma: wiener(y, psf),
    }


def refit(observed, model, sigma, total):
    """Flux and error by least squares of amplitude and a flat sky against the observed pixels (classical.md)."""
    import numpy as np

    m, y = model.ravel(), observed.ravel()
    a = np.array([[m @ m, m.sum()], [m.sum(), len(m)]])
    try:
        alpha = np.linalg.solve(a, [m @ y, y.sum()])[0]
        error = sigma * np.sqrt(np.linalg.inv(a)[0, 0])
    except np.linalg.LinAlgError:
        return np.nan, np.nan
    return alpha * total, abs(error * total)


def peer(work, folders, name, function, fwhm, scale, factor):
    """Runs a method on the stamps of each folder; folders of a catalogue and stamps like the pipeline's, made once."""
    import numpy as np
    from astropy.io import fits
    from astropy.table import Table, vstack

    safe = name.replace(" ", "_").replace(",", "")
    outputs = []
    for folder in folders:
        out = work / "peers" / safe / folder.parent.parent.name / folder.parent.name / folder.name
        catalog = out / "catalog.csv"
        if catalog.exists():
            outputs.append(out)
            continue
        out.mkdir(parents=True, exist_ok=True)
        rows = []
        whole = Table.read(folder / "catalog.fits")
        index = {int(i): k for k, i in enumerate(whole["id"])}
        for path in sorted(folder.glob("stamps_*.fits")):
            with fits.open(path) as f:
                observed, psf, table = f["OBSERVED"].data, f["PSF"].data, Table(f["STAMPS"].data)
                header = f["DECONVOLVED"].header
            side = psf.shape[1]
            sigma_px = fwhm / scale / np.sqrt(8 * np.log(2))
            k2 = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None, :] ** 2
            target = np.exp(-2 * (np.pi * sigma_px) ** 2 * k2)
            stack = np.full(psf.shape, np.nan, dtype="f4")
            for i in range(len(observed)):
                if not (np.isfinite(observed[i]).all() and np.isfinite(psf[i]).all()):
                    continue
                centre = (table["x_observed"][i], table["y_observed"][i])
                y = on_fine_grid(observed[i], centre, side, factor)
                x = function(y, psf[i].astype(float), float(table["sigma"][i]) / factor**2)
                if not np.isfinite(x).all():
                    continue
                # the object and half of its reach again: beyond is noise, which would count with the weight of the whole stamp
                r = np.hypot(*np.meshgrid(np.arange(side) - side // 2, np.arange(side) - side // 2))
                taper = 0.5 + 0.5 * np.cos(np.pi * np.clip((r - 0.25 * side) / (0.15 * side), 0, 1))
                x = x * taper
                spectrum = np.fft.rfft2(x)
                stack[i] = np.fft.irfft2(spectrum * target, s=x.shape)
                model = np.fft.irfft2(spectrum * np.fft.rfft2(np.fft.ifftshift(psf[i])), s=x.shape)
                fine = on_fine_grid_back(model, centre, observed[i].shape, factor)
                flux, error = refit(observed[i], fine, float(table["sigma"][i]), x.sum())
                k = index[int(table["id"][i])]
                rows.append((int(table["id"][i]), whole["x"][k], whole["y"][k], flux, error, whole["psf_e1"][k], whole["psf_e2"][k],
                             int(whole["flags"][k])))
            hdu = fits.ImageHDU(stack, name="DECONVOLVED")
            for card in ("TGTFWHM", "PIXSCALE", "MAGZERO", "BUNIT"):
                if card in header:
                    hdu.header[card] = header[card]
            places = table["id", "x0", "y0", "x_observed", "y_observed", "x_corner", "y_corner"]
            fits.HDUList([fits.PrimaryHDU(), hdu, fits.BinTableHDU(places, name="STAMPS")]).writeto(out / path.name)
        Table(rows=rows, names=["id", "x", "y", "flux", "flux_err", "psf_e1", "psf_e2", "flags"]).write(catalog)
        outputs.append(out)
    return outputs


def on_fine_grid_back(model, centre, shape, factor):
    """A model on the fine grid at the observed pixels' centres (the PSF holds the pixel's response): flux per observed pixel."""
    import numpy as np
    from scipy.ndimage import map_coordinates

    side = len(model)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    at = [(rows - centre[1]) * factor + side // 2, (columns - centre[0]) * factor + side // 2]
    return map_coordinates(model, at, order=3, mode="constant") * factor**2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/stillair")
    parser.add_argument("--galaxies", type=Path, help="FITS file of real galaxies; ../shared/data/cosmos_acs/cosmos_acs.fits if it is there")
    parser.add_argument("--seeds", default="21,22,23")
    parser.add_argument("--survey", default="lsst,euclid")
    parser.add_argument("--work", type=Path, default=Path("/tmp/stillair-photometry"), help="folder for fields and outputs, kept")
    parser.add_argument("--model", default=None, help="network (the configured one without it)")
    parser.add_argument("--peers", action="store_true", help="also the classical methods of numpy and scikit-image")
    parser.add_argument("--true-psf", action="store_true", help="also with the true PSF")
    parser.add_argument("--write", type=Path, help="put the tables into this page, between its <!-- photometry-SURVEY --> marks")
    args = parser.parse_args()
    galaxies = args.galaxies or Path("../shared/data/cosmos_acs/cosmos_acs.fits")
    if not galaxies.exists():
        print(f"{galaxies} is not there: no real galaxies among the objects", file=sys.stderr)
        galaxies = None
    network = ["--model", args.model] if args.model else []
    for survey in args.survey.split(","):
        work = args.work / survey
        work.mkdir(parents=True, exist_ok=True)
        exposures = [simulate(args.binary, work, survey, seed, galaxies) for seed in args.seeds.split(",")]
        runs = [("network, fitted PSF", f"network{args.model or ''}", network, False), ("Tikhonov, fitted PSF", "tikhonov", ["--model", "none"], False)]
        if args.true_psf:
            runs += [("network, true PSF", f"network{args.model or ''}-true", network, True),
                     ("Tikhonov, true PSF", "tikhonov-true", ["--model", "none"], True)]
        bars, images, others = [], [], []
        base = []
        for label, name, options, true in runs:
            folders = []
            for exposure in exposures:
                psf = ["--psf", true_psf(work, exposure)] if true else []
                folders.append(process(args.binary, work, exposure, survey, name, [*options, *psf]))
            if name == "tikhonov":
                base = folders
            scores = evaluate(args.binary, work, name, [f for pair in folders for f in pair])
            bars.append(bars_row(label, scores["report"]))
            images.append(image_row(label, scores["report"]))
            others.append(other_row(label, scores))
        if args.peers:
            fwhm, scale = SURVEYS[survey]
            from astropy.io import fits

            first = next(iter(sorted(base[0][0].glob("stamps_*.fits"))))
            factor = int(fits.getheader(first, "DECONVOLVED")["PIXFACT"])
            for label, function in methods(fwhm / scale).items():
                outputs, truths = [], []
                for pair, exposure in zip(base, exposures):
                    outputs += peer(work, pair, label, function, fwhm, scale, factor)
                    truths += 2 * [work / f"{exposure.stem}.truth.fits"]
                options = [word for truth in truths for word in ("--truth", truth)]
                scores = evaluate(args.binary, work, label.replace(" ", "_").replace(",", ""), outputs, options)
                bars.append(bars_row(label, scores["report"]))
                images.append(image_row(label, scores["report"]))
                others.append(other_row(label, scores))
        text = "\n\n".join([
            tables.table(["galaxies"] + [f"{what}, {name}" for name in BINS for what in ("flux bias %", "pull σ (raw)", "e bias", "C_psf of e − e true")], bars),
            tables.table(["galaxies"] + [f"{what}, {name}" for name in NMSE_BARS for what in ("NMSE", "SSIM")] + ["false structure %"], images),
            tables.table(["method", "stars > 100: size %", "stars > 100: flux %", "pulls: median / mean", "completeness / purity", "empty positions",
                          "mean flux / error", "above 5 errors %", "blobs %"], others),
        ])
        print(f"\n## {survey}\n\n{text}")
        if args.write:
            tables.replace(args.write, f"photometry-{survey}", text)


if __name__ == "__main__":
    main()
