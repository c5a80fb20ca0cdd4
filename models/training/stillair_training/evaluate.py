"""Scores of a model folder's ONNX file on a folder of stamps, beside the Tikhonov input alone."""

import json
from pathlib import Path

import numpy as np

from . import card, dataset, metrics, planes
from .export import call, session
from .registry import RECIPES


def restore(recipe, path: Path, stamps, batch: int = 32):
    """Outputs of the ONNX file in flux per target pixel, (N, n, n)."""
    run = session(path)
    out = np.empty(stamps.tikhonov.shape, np.float32)
    for i in range(0, len(stamps), batch):
        rows = np.arange(i, min(i + batch, len(stamps)))
        image, scalars, scale = planes.inputs(recipe, stamps, rows)
        out[rows] = call(run, recipe, image, scalars) * scale[:, None, None]
    return out


def evaluate(name: str, model: Path, data: Path, out: Path | None, pictures: Path | None, described: str | None = None):
    """`stillair_training evaluate NAME`; `described` says what the data are, and puts the figures into the card."""
    recipe = RECIPES[name]
    stamps = dataset.read(data, recipe.rule)
    estimate = restore(recipe, Path(model) / "model.onnx", stamps)
    result = metrics.score(stamps, estimate)
    by_kind = {}
    for kind in sorted(set(stamps.kind) - {"blank"}):
        rows = np.flatnonzero(stamps.kind == kind)
        nmse, flux = metrics.per_object(estimate[rows], stamps.truth[rows])
        before, _ = metrics.per_object(stamps.tikhonov[rows], stamps.truth[rows])
        by_kind[kind] = {"objects": len(rows), "nmse_median_tikhonov": float(np.median(before)),
                         "nmse_median_network": float(np.median(nmse)), "flux_bias_network": float(np.median(flux))}
    result["kinds"] = by_kind
    print(metrics.table(result))
    for kind, entry in by_kind.items():
        print(f"{kind}: {entry}")
    print("for card.toml:")
    print(bins_toml(result))
    if described:
        command = f"{described}; cd models/training; python -m stillair_training evaluate {name} --model ../{Path(model).name} --data DATA"
        what = f"{len(stamps):,} stamps of {stamps.side} x {stamps.side} target pixels, none of them seen in training; before the amplitude is refitted"
        card.put_figures(model, command, what, bins_toml(result))
    if out:
        Path(out).write_text(json.dumps(result, indent=1) + "\n")
    if pictures:
        sheet(stamps, estimate, Path(pictures))


def bins_toml(result) -> str:
    """The figures as the card holds them."""
    return "\n".join(
        f"""[[validation.bins]]
snr = [{b['snr'][0]:.1f}, {b['snr'][1]:.1f}]
objects = {b['objects']}
nmse_tikhonov = {b['nmse_median_tikhonov']:.4f}
nmse = {b['nmse_median_network']:.4f}
flux_bias = {b['flux_bias_network']:.4f}
flux_scatter = {b['flux_scatter_network']:.4f}
"""
        for b in result["bins"]
    )


def sheet(stamps, estimate, path: Path, rows_per_bin: int = 1):
    """Tikhonov, network, truth and network - truth for one galaxy of every SNR bin, and a blank."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picks = []
    for low, high in metrics.BINS:
        here = np.flatnonzero((stamps.snr >= low) & (stamps.snr < high) & (stamps.kind != "blank") & (stamps.kind != "star"))
        picks += [(row, f"SNR {stamps.snr[row]:.0f}") for row in here[:rows_per_bin]]
    picks += [(row, "blank") for row in np.flatnonzero(stamps.kind == "blank")[:1]]
    figure, axes = pyplot.subplots(len(picks), 4, figsize=(8, 2 * len(picks)), layout="constrained", squeeze=False)
    for axis_row, (row, label) in zip(axes, picks):
        top = max(stamps.truth[row].max(), 3 * stamps.noise_sigma[row])
        images = (stamps.tikhonov[row], estimate[row], stamps.truth[row], estimate[row] - stamps.truth[row])
        for axis, image, title in zip(axis_row, images, ("Tikhonov", "network", "truth", "network - truth")):
            axis.imshow(image, origin="lower", vmin=-0.1 * top, vmax=0.7 * top, cmap="magma")
            axis.set(xticks=[], yticks=[], title=title if axis_row is axes[0] else "")
        axis_row[0].set_ylabel(label)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
