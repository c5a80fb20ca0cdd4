"""Scores of estimates against the truth, by SNR. Images (N, n, n), object's centre on pixel n/2.

Windowed NMSE: sum g (x - t)^2 / sum g t^2, g a Gaussian centred on the object whose FWHM is that of the true object
as seen with the target PSF (2 sqrt(area above half maximum / pi)).
Flux: sum within a radius of max(2 FWHM, 8) target pixels, the same circle for truth and estimate; error = (x - t) / t.
"""

import numpy as np

BINS = ((3, 10), (10, 30), (30, 100), (100, 300), (300, 1000))
BLANK_RADIUS = 8.0


def _radius2(side):
    axis = np.arange(side) - side // 2
    return (axis[:, None] ** 2 + axis[None, :] ** 2).astype(np.float64)


def per_object(estimate, truth):
    """(NMSE, relative flux error) of every object."""
    side = truth.shape[-1]
    r2 = _radius2(side)
    nmse, flux_error = np.empty(len(truth)), np.empty(len(truth))
    for i, (x, t) in enumerate(zip(estimate, truth)):
        x, t = x.astype(np.float64), t.astype(np.float64)
        fwhm = 2.0 * np.sqrt(np.count_nonzero(t > 0.5 * t.max()) / np.pi)
        g = np.exp(-4.0 * np.log(2.0) * r2 / fwhm**2)
        nmse[i] = (g * (x - t) ** 2).sum() / (g * t * t).sum()
        inside = r2 <= max(2.0 * fwhm, 8.0) ** 2
        flux_error[i] = (x[inside].sum() - t[inside].sum()) / t[inside].sum()
    return nmse, flux_error


def _spread(values):
    """Half of the 16th-84th percentile range."""
    low, high = np.percentile(values, [16, 84])
    return float(high - low) / 2


def score(stamps, estimate, rows=None):
    """Dictionary of figures, the estimate beside the Tikhonov input, by SNR bin and for blanks."""
    rows = np.arange(len(stamps)) if rows is None else rows
    tikhonov, truth = stamps.tikhonov[rows], stamps.truth[rows]
    snr, blank = stamps.snr[rows], stamps.kind[rows] == "blank"
    nmse = np.full((2, len(rows)), np.nan)
    flux = np.full((2, len(rows)), np.nan)
    for k, image in enumerate((tikhonov, estimate)):
        nmse[k, ~blank], flux[k, ~blank] = per_object(image[~blank], truth[~blank])
    bins = []
    for low, high in BINS:
        here = ~blank & (snr >= low) & (snr < high)
        if here.sum() < 5:
            continue
        entry = {"snr": [low, high], "objects": int(here.sum())}
        for k, name in enumerate(("tikhonov", "network")):
            entry[f"nmse_median_{name}"] = float(np.median(nmse[k, here]))
            entry[f"nmse_mean_{name}"] = float(np.mean(nmse[k, here]))
            entry[f"flux_bias_{name}"] = float(np.median(flux[k, here]))
            entry[f"flux_scatter_{name}"] = _spread(flux[k, here])
        entry["better_share"] = float(np.mean(nmse[1, here] < nmse[0, here]))
        bins.append(entry)
    result = {"bins": bins}
    if blank.sum() >= 5:
        inside = _radius2(stamps.side) <= BLANK_RADIUS**2
        sky = stamps.sky_sigma[rows][blank]
        noise = stamps.noise_sigma[rows][blank]
        entry = {"positions": int(blank.sum())}
        for name, image in (("tikhonov", tikhonov[blank]), ("network", estimate[blank])):
            sums = image[:, inside].sum(axis=1, dtype=np.float64) / sky
            entry[f"flux_mean_{name}_sky_sigma"] = float(sums.mean())
            entry[f"flux_std_{name}_sky_sigma"] = float(sums.std())
            peaks = image[:, inside].max(axis=1) / noise
            entry[f"peak_above_3_noise_sigma_share_{name}"] = float((peaks > 3).mean())
        result["blanks"] = entry
    return result


def table(result) -> str:
    """The figures as plain text."""
    lines = ["SNR          N  NMSE Tikhonov  network   better   flux bias Tikhonov  network   scatter Tikhonov  network"]
    for b in result["bins"]:
        lines.append(
            f"{b['snr'][0]:>4}-{b['snr'][1]:<5}{b['objects']:>4}  {b['nmse_median_tikhonov']:>13.4f} {b['nmse_median_network']:>8.4f}"
            f"  {b['better_share']:>6.1%}   {b['flux_bias_tikhonov']:>+18.4f} {b['flux_bias_network']:>+8.4f}"
            f"   {b['flux_scatter_tikhonov']:>16.4f} {b['flux_scatter_network']:>8.4f}"
        )
    for name, value in result.get("blanks", {}).items():
        lines.append(f"blanks: {name} = {value:.4g}")
    return "\n".join(lines)
