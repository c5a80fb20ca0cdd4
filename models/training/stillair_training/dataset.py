"""Stamps as `stillair simulate --stamps` writes them: a folder with

tikhonov.npy (N, n, n) f32   Tikhonov estimate on the target grid, flux per target pixel
truth.npy    (N, n, n) f32   the sky as seen with the target Gaussian, flux per target pixel
psf.npy      (N, n, n) f32   effective PSF, unit sum, centred on n/2
sharper.npy  (N, n, n) f32   the Tikhonov estimate with 16 times less smoothing, smoother.npy with 16 times more (where a network takes them)
observed.npy (N, n, n) f32   the observed image on the target grid (not needed where a network is given the Tikhonov image alone)
table.csv                    one row per stamp: noise_sigma, sky_sigma, psf_fwhm, snr, flux, kind, seed, ...
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .normalise import scales

NUMBERS = ("noise_sigma", "sky_sigma", "psf_fwhm", "snr", "flux")


@dataclass
class Stamps:
    """Stamps and their table; arrays are memory-mapped, axes (stamp, row, column)."""

    folder: Path
    tikhonov: np.ndarray
    truth: np.ndarray
    noise_sigma: np.ndarray
    sky_sigma: np.ndarray
    psf_fwhm: np.ndarray
    snr: np.ndarray
    flux: np.ndarray
    kind: np.ndarray
    scale: np.ndarray
    psf: np.ndarray | None = None
    observed: np.ndarray | None = None
    sharper: np.ndarray | None = None
    smoother: np.ndarray | None = None
    noise_sharper: np.ndarray | None = None
    noise_smoother: np.ndarray | None = None
    target_fwhm: np.ndarray | None = None
    factor: np.ndarray | None = None

    def __len__(self):
        return len(self.scale)

    @property
    def side(self) -> int:
        return self.tikhonov.shape[-1]

    @property
    def psf_fwhm_target(self) -> np.ndarray:
        """FWHM of the PSF in target pixels; the table has detector pixels. Older tables lack the factor: theirs follows from the sky's noise,
        which is 1 per detector pixel and 1 / factor^2 per target pixel."""
        return self.psf_fwhm * (1 / np.sqrt(self.sky_sigma) if self.factor is None else self.factor)


def read(folder, rule: str = "central-peak") -> Stamps:
    """Read one folder, scaled by a rule of normalise.py; raises ValueError that names the file and what is wrong with it."""
    folder = Path(folder)
    tikhonov = np.load(folder / "tikhonov.npy", mmap_mode="r")
    truth = np.load(folder / "truth.npy", mmap_mode="r")
    if tikhonov.ndim != 3 or tikhonov.shape[1] != tikhonov.shape[2]:
        raise ValueError(f"{folder}/tikhonov.npy: shape {tikhonov.shape}, expected (N, n, n)")
    if truth.shape != tikhonov.shape:
        raise ValueError(f"{folder}/truth.npy: shape {truth.shape}, expected {tikhonov.shape} as in tikhonov.npy")
    further = {}
    for name in ("psf", "observed", "sharper", "smoother"):
        path = folder / f"{name}.npy"
        if path.exists():
            further[name] = np.load(path, mmap_mode="r")
            if further[name].shape != tikhonov.shape:
                raise ValueError(f"{path}: shape {further[name].shape}, expected {tikhonov.shape} as in tikhonov.npy")
    with open(folder / "table.csv", newline="") as file:
        rows = list(csv.DictReader(row for row in file if not row.startswith("#")))
    if len(rows) != len(tikhonov):
        raise ValueError(f"{folder}/table.csv: {len(rows)} rows, expected {len(tikhonov)}")
    missing = [name for name in (*NUMBERS, "kind") if name not in rows[0]]
    if missing:
        raise ValueError(f"{folder}/table.csv: no column {', '.join(missing)}; it has {', '.join(rows[0])}")
    column = {name: np.array([float(row[name] or "nan") for row in rows]) for name in NUMBERS}
    kind = np.array([row["kind"] for row in rows])
    for name in ("noise_sharper", "noise_smoother", "target_fwhm", "factor"):
        if name in rows[0]:
            further[name] = np.array([float(row[name]) for row in rows])
    scale = scales(rule, tikhonov, further.get("observed"), column["noise_sigma"], column["sky_sigma"], folder)
    bad = ~(np.isfinite(scale) & (scale > 0))
    if bad.any():
        raise ValueError(f"{folder}: {bad.sum()} stamps without a positive finite scale, first is row {np.argmax(bad)}")
    return Stamps(folder, tikhonov, truth, kind=kind, scale=scale, **column, **further)
