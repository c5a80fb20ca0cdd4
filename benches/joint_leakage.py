"""The flux-leakage test as a picture: one Gaussian in each band, the sharp band shows all three.

    python benches/joint_leakage.py PROGRAM OUT

Writes the exposures (ground-based r, i, z and a sharp wide band, each turned), runs `stillair joint` and draws what was observed and what came out. Prints
the flux in every band at every Gaussian, in per cent of that Gaussian's flux.
"""

import pathlib
import subprocess
import sys

import numpy as np
from astropy.io import fits

program, out = sys.argv[1], pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(1)
bands, scale = "riz", 0.1
# place on the target grid (whose axes are the sharp band's), flux
places, fluxes, sigma = [(24.0, 25.0), (40.0, 27.0), (31.0, 41.0)], [1000.0, 800.0, 1300.0], 0.15
cameras = dict(r=(0.2, 0.3, 0.7), i=(0.2, -0.4, 0.66), z=(0.2, 0.8, 0.62), VIS=(0.1, 0.0, 0.19))
per_sigma = 2.354820045
manifest = "[shares]\nr = 0.3333\ni = 0.3333\nz = 0.3334\n\n"
shown = {}
for name, (pixel, turn, fwhm) in cameras.items():
    n = int(24 / pixel)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = pixel * np.array([[-cos, sin], [sin, cos]])
    middle = (n - 1) / 2
    y, x = np.mgrid[:n, :n] - middle
    east, north = matrix[0, 0] * x + matrix[0, 1] * y, matrix[1, 0] * x + matrix[1, 1] * y
    image = np.zeros((n, n))
    for band, (u, v), flux in zip(bands, places, fluxes):
        share = 1 / 3 if name == "VIS" else float(band == name)
        e, d = -(u - 32) * scale, (v - 32) * scale
        variance = sigma**2 + (fwhm / per_sigma) ** 2
        image += share * flux * pixel**2 * np.exp(-0.5 * ((east - e) ** 2 + (north - d) ** 2) / variance) / (2 * np.pi * variance)
    noise = np.sqrt((image**2).sum()) / 1000
    shown[name] = image
    wcs = fits.Header()
    wcs["CTYPE1"], wcs["CTYPE2"], wcs["CRVAL1"], wcs["CRVAL2"] = "RA---TAN", "DEC--TAN", 150.0, 0.0
    wcs["CRPIX1"] = wcs["CRPIX2"] = middle + 1
    for i in range(2):
        for j in range(2):
            wcs[f"CD{i + 1}_{j + 1}"] = matrix[i, j] / 3600
    head = fits.Header()
    head["FILTER"], head["MAGZERO"] = name, 31.4
    noisy = image + rng.normal(0, noise, image.shape)
    hdus = [fits.PrimaryHDU(header=head), fits.ImageHDU(noisy.astype("f4"), wcs, name="SCI")]
    fits.HDUList([*hdus, fits.ImageHDU(np.full(image.shape, noise, "f4"), wcs, name="ERR")]).writeto(out / f"{name}.fits", overwrite=True)
    j = np.arange(-20, 21)
    psf = np.exp(-0.5 * (j[:, None] ** 2 + j[None] ** 2) / (fwhm / per_sigma / pixel) ** 2)
    fits.writeto(out / f"psf_{name}.fits", (psf / psf.sum()).astype("f4"), overwrite=True)
    manifest += f'[[exposure]]\nfile = "{name}.fits"\npsf = "psf_{name}.fits"\nwide = {str(name == "VIS").lower()}\n\n'
(out / "field.toml").write_text(manifest)
(out / "centre.csv").write_text("id,ra,dec\n1,150.0,0.0\n")
command = [program, "joint", out / "field.toml", "--catalog", out / "centre.csv", "--out", out / "joint", "--target-scale", scale]
done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
print(done.stdout, done.stderr)
with fits.open(out / "joint" / "joint_stamps_64.fits") as f:
    images = [f[b.upper()].data[0].astype(float) for b in bands]
v, u = np.mgrid[:64, :64]
print("| band | at r's | at i's | at z's |\n|---|---|---|---|")
for band, image in zip(bands, images):
    cells = [image[np.hypot(u - p[0], v - p[1]) <= 6].sum() / f for p, f in zip(places, fluxes)]
    print(f"| {band} | " + " | ".join(f"{100 * c:.2f} %" for c in cells) + " |")

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.6))
for axis, name in zip(axes[0], cameras):
    axis.imshow(np.arcsinh(shown[name] / shown[name].max() * 50), origin="lower", cmap="magma")
    axis.set_title(f"{name}, observed", fontsize=9)
for axis, (band, image) in zip(axes[1], zip(bands, images)):
    axis.imshow(np.arcsinh(image / image.max() * 50), origin="lower", cmap="magma", vmin=-1, vmax=np.arcsinh(50))
    for p, other in zip(places, bands):
        axis.plot(*p, "o", mfc="none", mec="w" if other == band else "c", ms=16, lw=0.5)
    axis.set_title(f"{band}, joint", fontsize=9)
rgb = np.dstack([images[2], images[1], images[0]])
axes[1, 3].imshow(np.clip(np.arcsinh(rgb / rgb.max() * 20) / np.arcsinh(20), 0, 1), origin="lower")
axes[1, 3].set_title("z, i, r as red, green, blue", fontsize=9)
for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
figure.tight_layout()
figure.savefig(out / "leakage.png", dpi=80)
