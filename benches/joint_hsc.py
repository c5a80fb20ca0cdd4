"""HSC grizy of a COSMOS field, deconvolved by `stillair joint`, against HST of the same sky degraded to the target PSF.

    python benches/joint_hsc.py PROGRAM DATA OUT

DATA holds Cut_HSC.fits, Cut_HST.fits, PSF_HSC.fits, PSF_HST.fits (pmelchior/scarlet). Compared, each scaled to the HST image by one factor and under a
window that leaves out the border: `joint`, each band alone, the published recipe (positivity, 200 steps, exact operators), and Tikhonov
(lambda 9e-3) on the interpolated image. Prints a table and writes OUT/hsc.png.
"""

import pathlib
import subprocess
import sys

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates

program, data, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
out.mkdir(parents=True, exist_ok=True)
bands = "grizy"
scale, side = 0.168 / 2, 100
target = 3.0  # FWHM in target pixels: 0.25 arcsec

hsc, header = fits.getdata(data / "Cut_HSC.fits").astype(float), fits.getheader(data / "Cut_HSC.fits")
psf_hsc = fits.getdata(data / "PSF_HSC.fits").astype(float)
wcs = WCS(header).celestial
plain = wcs.to_header()
sky = []
for k, band in enumerate(bands):
    # the cut-out's rim is mostly sky; half of the pixels would hold the sky's level if the field were empty
    difference = (hsc[k, 1:] - hsc[k, :-1]) / np.sqrt(2)
    sigma = 1.4826 * np.median(np.abs(difference - np.median(difference)))
    sky.append(sigma)
    primary = fits.PrimaryHDU()
    primary.header["FILTER"] = band
    image = fits.ImageHDU(hsc[k].astype(np.float32), plain, name="SCI")
    error = fits.ImageHDU(np.full(hsc[k].shape, sigma, np.float32), plain, name="ERR")
    fits.HDUList([primary, image, error]).writeto(out / f"hsc_{band}.fits", overwrite=True)
    fits.writeto(out / f"psf_{band}.fits", (psf_hsc[k] / psf_hsc[k].sum()).astype(np.float32), overwrite=True)
entry = '[[exposure]]\nfile = "hsc_{0}.fits"\nband = "{0}"\npsf = "psf_{0}.fits"\n'
(out / "config.toml").write_text(
    f"[joint]\nsmall = {side}\nlarge = {side}\ntarget_fwhm = {target}\n"
)


def run(names, folder, *more):
    manifest = out / f"{folder}.toml"
    manifest.write_text("\n".join(entry.format(b) for b in names))
    command = [program, "--config", out / "config.toml", "joint", manifest, *more, "--target-scale", str(scale)]
    done = subprocess.run([*map(str, command), "--out", str(out / folder)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{folder}: {done.stderr}{done.stdout}")
    with fits.open(out / folder / f"joint_stamps_{side}.fits") as f:
        return {b: f[b.upper()].data[0].astype(float) for b in names}


# the object nearest to the middle is the centre of the grid, which holds the whole cut-out
run(bands, "found")
found = fits.getdata(out / "found" / "joint.fits", 1)
place = wcs.all_world2pix(np.column_stack([found["ra"], found["dec"]]), 0)
nearest = np.hypot(*(place - 24.5).T).argmin()
cx, cy = place[nearest]
(out / "centre.csv").write_text(f"id,ra,dec\n1,{found['ra'][nearest]:.9f},{found['dec'][nearest]:.9f}\n")
one = ("--catalog", out / "centre.csv")
joint = run(bands, "joint", *one)
alone = {}
for band in bands:
    alone.update(run(band, f"alone_{band}", *one))

# target pixel (column, row) -> HSC pixel: the grid has HSC's axes, its pixel (side/2, side/2) on the object
rows, columns = np.mgrid[:side, :side]
x, y = cx + (columns - side / 2) / 2, cy + (rows - side / 2) / 2
ky, kx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
gauss = np.exp(-2 * np.pi**2 * (target / 2.354820045) ** 2 * (kx**2 + ky**2))

# HST to the target PSF, in its own pixels first
hst, psf = fits.getdata(data / "Cut_HST.fits").astype(float), fits.getdata(data / "PSF_HST.fits").astype(float)
n = hst.shape[0]
hst_wcs = WCS(fits.getheader(data / "Cut_HST.fits")).celestial
fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]
small = psf / psf.sum()
c = small.shape[0] // 2
kernel = np.zeros((n, n))
kernel[: small.shape[0], : small.shape[1]] = small
kernel = np.roll(kernel, (-c, -c), (0, 1))
h = np.fft.rfft2(kernel)
fwhm_hst = target * scale / 0.03
g = np.exp(-2 * np.pi**2 * (fwhm_hst / 2.354820045) ** 2 * (fx**2 + fy**2))
degraded = np.fft.irfft2(np.fft.rfft2(hst) * g * np.conj(h) / (np.abs(h) ** 2 + 1e-4), s=(n, n))
world = wcs.all_pix2world(np.column_stack([x.ravel(), y.ravel()]), 0)
px, py = hst_wcs.all_world2pix(world, 0).T
truth = map_coordinates(degraded, [py.reshape(side, side), px.reshape(side, side)], order=3, mode="nearest")


def transfer(k):
    """H of a band on the target grid: the PSF's samples are two target pixels apart."""
    p = psf_hsc[k] / psf_hsc[k].sum()
    c = p.shape[0] // 2
    j = np.arange(p.shape[0]) - c
    ey, ex = np.exp(-2j * np.pi * ky * 2 * j[None, :]), np.exp(-2j * np.pi * kx.T * 2 * j[None, :])
    h = ey @ p @ ex.T
    return np.where((np.abs(ky) <= 0.25) & (np.abs(kx) <= 0.25), h, 0)


def published(k, steps=200):
    """Positivity, steps of 1 / C, 200 of them, from the interpolated image."""
    h, w = transfer(k), 1 / sky[k] ** 2
    conv = lambda x, h: np.fft.irfft2(np.fft.rfft2(x) * h, s=(side, side))
    s = np.maximum(np.kron(hsc[k], np.ones((2, 2))) / 4, 0)
    for _ in range(steps):
        r = 4 * conv(s, h)[::2, ::2] - hsc[k]
        up = np.zeros((side, side))
        up[::2, ::2] = 4 * r
        s = np.maximum(s - conv(up, np.conj(h)) / (4 * np.abs(h).max() ** 2), 0)
    return conv(s, gauss)


def tikhonov(k, lam=9e-3):
    yy, xx = rows / 2, columns / 2
    fine = map_coordinates(hsc[k], [yy, xx], order=3, mode="nearest") / 4
    h = transfer(k) / gauss
    laplacian = 4 - 2 * np.cos(2 * np.pi * kx) - 2 * np.cos(2 * np.pi * ky)
    return np.fft.irfft2(np.fft.rfft2(fine) * np.conj(h) / (np.abs(h) ** 2 + lam * laplacian**2), s=(side, side))


# inside the cut-out, away from its rim
window = ((x > 4) & (x < 45) & (y > 4) & (y < 45)).astype(float)


def score(image):
    # one factor and one level: each image was rescaled, and each has its own sky
    t, v = truth[window > 0], image[window > 0]
    t = t - np.median(t)
    design = np.column_stack([v, np.ones_like(v)])
    a, b = np.linalg.lstsq(design, t, rcond=None)[0]
    return np.sum((a * v + b - t) ** 2) / np.sum(t**2), a * image + b


def on_grid(image):
    """From the doubled HSC grid (pixel 2 k on HSC's pixel k) to the grid about the object."""
    return map_coordinates(image, [2 * y, 2 * x], order=3, mode="nearest")


methods = {
    "joint, five bands": lambda k: joint[bands[k]],
    "each band alone": lambda k: alone[bands[k]],
    "b: published, 200 steps": lambda k: on_grid(published(k)),
    "c: interpolation, Tikhonov 9e-3": lambda k: on_grid(tikhonov(k)),
    "observed, interpolated": lambda k: map_coordinates(hsc[k], [y, x], order=3, mode="nearest"),
}
print("| method | " + " | ".join(bands) + " |\n|---|" + "---|" * len(bands))
shown = {}
for name, method in methods.items():
    results = [score(method(k)) for k in range(len(bands))]
    shown[name] = results[bands.index("i")][1]
    print(f"| {name} | " + " | ".join(f"{r[0]:.4f}" for r in results) + " |")

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, len(shown) + 1, figsize=(2.6 * (len(shown) + 1), 2.9))
top = np.percentile(truth, 99.8)
for axis, (name, image) in zip(axes, [*shown.items(), ("HST at the target PSF", truth - np.median(truth))]):
    axis.imshow(np.arcsinh(image / (0.02 * top)), origin="lower", vmin=-1, vmax=np.arcsinh(50), cmap="magma")
    axis.set_title(name, fontsize=8)
    axis.axis("off")
figure.tight_layout()
figure.savefig(out / "hsc.png", dpi=90)
