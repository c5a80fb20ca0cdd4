"""Golden values for tests/evaluate_command.rs: a small field with truth, an output of another program, and its scores by numpy and scikit-image.

Run with a Python that has numpy, scikit-image (0.26) and astropy:  python make_field.py
Writes field.truth.fits, field_stamps.fits, field_catalog.csv and field.json beside itself. Objects are elliptical Gaussians, so that their
moments are known without measuring; the output shows each at its measured position, 5 % too faint, with noise."""
import json
import os

import numpy as np
from astropy.io import fits
from skimage.metrics import structural_similarity

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(11)
N, SIDE, FACTOR, DETECTOR = 12, 32, 2, 0.2
TARGET = 2.0  # FWHM, target pixels
MIDDLE = SIDE // 2
s_t = TARGET / np.sqrt(8 * np.log(2))


def gaussian(cx, cy, m, flux):
    yy, xx = np.mgrid[:SIDE, :SIDE]
    dx, dy = xx - cx, yy - cy
    xxm, yym, xym = m
    det = xxm * yym - xym**2
    return flux / (2 * np.pi * np.sqrt(det)) * np.exp(-0.5 * (yym * dx**2 - 2 * xym * dx * dy + xxm * dy**2) / det)


star = np.array([i >= 9 for i in range(N)])
moments = []
for i in range(N):
    if star[i]:
        moments.append((s_t**2, s_t**2, 0.0))
    else:
        a, q, phi = rng.uniform(1.5, 2.6), rng.uniform(0.5, 0.95), rng.uniform(0, np.pi)
        c, s = np.cos(phi), np.sin(phi)
        b = a * q
        moments.append((a * a * c * c + b * b * s * s + s_t**2, a * a * s * s + b * b * c * c + s_t**2, (a * a - b * b) * s * c))
snr = np.array([12, 20, 25, 45, 60, 80, 150, 200, 500, 15, 50, 400.0])
x = 40.0 + 30 * (np.arange(N) % 4) + rng.uniform(-0.5, 0.5, N)
y = 50.0 + 35 * (np.arange(N) // 4) + rng.uniform(-0.5, 0.5, N)
flux = 10.0 * snr
truth = np.array([gaussian(MIDDLE, MIDDLE, m, f) for m, f in zip(moments, flux)], dtype="f4")
scale = DETECTOR / FACTOR
zero = 30.4  # one image unit is 2.512 nJy
unit = 10 ** (0.4 * (31.4 - zero))

columns = [fits.Column("id", "K", array=np.arange(1, N + 1)), fits.Column("x", "D", array=x + 1), fits.Column("y", "D", array=y + 1),
           fits.Column("flux", "D", unit="nJy", array=flux * unit), fits.Column("snr", "D", array=snr),
           fits.Column("star", "J", array=star.astype("i4"))]
table = fits.BinTableHDU.from_columns(columns, name="TRUTH")
table.header["MAGZERO"], table.header["PIXSCALE"] = zero, DETECTOR
cube = fits.ImageHDU(truth, name="TRUTH_STAMPS")
cube.header["BUNIT"], cube.header["TGTFWHM"], cube.header["PIXSCALE"] = "adu", TARGET * scale, scale
blank_x, blank_y = np.array([20.0, 150.0, 20.0, 150.0]), np.array([20.0, 20.0, 160.0, 160.0])
blanks = fits.BinTableHDU.from_columns([fits.Column("id", "K", array=np.arange(1000001, 1000005)), fits.Column("x", "D", array=blank_x + 1),
                                        fits.Column("y", "D", array=blank_y + 1)], name="BLANKS")
fits.HDUList([fits.PrimaryHDU(), table, cube, blanks]).writeto(f"{HERE}/field.truth.fits", overwrite=True)

# the output: object 5 (index 4) was not found; two rows belong to nothing; the blanks have rows too
found = np.array([i for i in range(N) if i != 4])
mx, my = x[found] + rng.uniform(-0.4, 0.4, len(found)), y[found] + rng.uniform(-0.4, 0.4, len(found))
shift_x, shift_y = (x[found] - mx) * FACTOR, (y[found] - my) * FACTOR
noise = 0.05
out = np.array([gaussian(MIDDLE + dx, MIDDLE + dy, moments[i], 0.95 * flux[i]) + rng.normal(0, noise, (SIDE, SIDE))
                for i, dx, dy in zip(found, shift_x, shift_y)], dtype="f4")
empty = rng.normal(0, noise, (4, SIDE, SIDE)).astype("f4")
empty[2, 10, 10] = 9 * noise
psf_e = rng.normal(0, 0.05, (len(found), 2)).round(5)
e_true = np.array([((m[0] - m[1]) / (m[0] + m[1]), 2 * m[2] / (m[0] + m[1])) for m in moments])
size_true = np.array([m[0] + m[1] for m in moments]) * scale**2
measured_flux = (1.03 * flux[found] * unit + rng.normal(0, 25, len(found))).round(4)
errors = np.full(len(found), 25.0)
e = (0.9 * e_true[found] + 0.2 * psf_e + rng.normal(0, 0.01, (len(found), 2))).round(6)
size = (1.1 * size_true[found]).round(6)
blank_flux = np.array([3.0, -20.0, 200.0, 11.0])
lines = ["id,x,y,flux_nJy,flux_err,e1,e2,size,psf_e1,psf_e2"]
ids = [100 + i for i in found]
for k, i in enumerate(ids):
    lines.append(f"{i},{mx[k] + 1:.6f},{my[k] + 1:.6f},{measured_flux[k]},{errors[k]},{e[k][0]},{e[k][1]},{size[k]},{psf_e[k][0]},{psf_e[k][1]}")
for k in range(4):
    lines.append(f"{500 + k},{blank_x[k] + 1},{blank_y[k] + 1},{blank_flux[k]},25.0,,,,,")
lines += ["900,90.0,10.0,99.0,25.0,,,,,", "901,95.0,170.0,99.0,25.0,,,,,"]
open(f"{HERE}/field_catalog.csv", "w").write("\n".join(lines) + "\n")
hdu = fits.ImageHDU(np.concatenate([out, empty]) * np.float32(unit), name="SHARP")
hdu.header["BUNIT"], hdu.header["TGTFWHM"], hdu.header["PIXSCALE"] = "nJy", TARGET * scale, scale
stamps = fits.BinTableHDU.from_columns([
    fits.Column("id", "K", array=np.array(ids + [500, 501, 502, 503])), fits.Column("x", "D", array=np.concatenate([mx, blank_x]) + 1),
    fits.Column("y", "D", array=np.concatenate([my, blank_y]) + 1),
    fits.Column("noise_sigma", "D", array=np.full(len(ids) + 4, noise * unit))], name="STAMPS")
fits.HDUList([fits.PrimaryHDU(), hdu, stamps]).writeto(f"{HERE}/field_stamps.fits", overwrite=True)


def moved(image, dx, dy):
    ky, kx = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :]
    spectrum = np.fft.fft2(image.astype(float)) * np.exp(-2j * np.pi * (kx * dx + ky * dy))
    return np.fft.ifft2(spectrum).real


def finer(image, factor):
    spectrum = np.fft.fftshift(np.fft.fft2(image.astype(float)))
    pad = (factor - 1) * SIDE // 2
    return np.fft.ifft2(np.fft.ifftshift(np.pad(spectrum, pad))).real * factor**2


objects = []
for k, i in enumerate(found):
    fine = finer(truth[i], 2)  # four pixels per FWHM of the target
    fwhm = 2 * np.sqrt((fine >= 0.5 * fine.max()).sum() / np.pi) / 2
    dx, dy = shift_x[k], shift_y[k]
    wx, wy = np.round(dx), np.round(dy)
    t = np.roll(moved(truth[i], dx - wx, dy - wy), (int(wy), int(wx)), (0, 1))
    rows = slice(max(int(wy), 0), SIDE + min(int(wy), 0))
    cols = slice(max(int(wx), 0), SIDE + min(int(wx), 0))
    t, o = unit * t[rows, cols], unit * out[k][rows, cols].astype(float)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    w = np.exp(-0.5 * ((xx - MIDDLE - dx) ** 2 + (yy - MIDDLE - dy) ** 2) * 8 * np.log(2) / fwhm**2)[rows, cols]
    tw, ow = t * w, o * w
    ssim, full = structural_similarity(ow, tw, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                       data_range=tw.max() - tw.min(), full=True)
    inner = (slice(5, -5), slice(5, -5))
    objects.append(dict(truth_id=int(i + 1), id=int(ids[k]), fwhm=float(fwhm), nmse=float(((ow - tw) ** 2).sum() / (tw**2).sum()), ssim=float(ssim),
                        ssim_object=float((full[inner] * w[inner]).sum() / w[inner].sum()), e1_true=float(e_true[i][0]), e2_true=float(e_true[i][1]),
                        size_true=float(size_true[i])))

gal = ~star[found]
med = np.median
mad = lambda v: 1.482602218505602 * med(np.abs(v - med(v)))  # noqa: E731
bias = (measured_flux - flux[found] * unit) / (flux[found] * unit)
pull = (measured_flux - flux[found] * unit) / errors
slope = lambda a, b: float((a * b).sum() / (b * b).sum())  # noqa: E731
de = e - e_true[found]
mid = gal & (snr[found] >= 10) & (snr[found] < 30)
peaks = empty.reshape(4, -1).max(1) / noise
json.dump(dict(
    objects=objects, truth=N, measured=len(ids) + 2, matched=len(ids), blob_share=float((peaks > 5).mean()),
    galaxies=dict(count=int(gal.sum()), flux_median=float(med(bias[gal])), flux_scatter=float(mad(bias[gal])), pull_mean=float(pull[gal].mean()),
                  pull_std=float(pull[gal].std(ddof=1)), e1_median=float(med(de[gal, 0])), e2_median=float(med(de[gal, 1])),
                  size_median=float(med(size[gal] / size_true[found][gal] - 1)), c_psf=slope(e[gal], psf_e[gal]),
                  c_psf_of_error=slope(de[gal], psf_e[gal]), c_true=slope(e[gal], e_true[found][gal]),
                  nmse_median=float(med([o["nmse"] for o, g in zip(objects, gal) if g]))),
    low_bin=dict(count=int(mid.sum()), flux_median=float(med(bias[mid]))),
    centroid_rms=float(np.sqrt((((mx - x[found]) ** 2 + (my - y[found]) ** 2)).mean())),
    blanks=dict(mean=float(blank_flux.mean()), mean_err=float(blank_flux.std(ddof=1) / 2), sources=0.25)),
    open(f"{HERE}/field.json", "w"), indent=1)
print(open(f"{HERE}/field.json").read()[-900:])
