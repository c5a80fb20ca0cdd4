"""A simulated field in r, i, z and a wide sharp band through `stillair joint`, against the truth and against each band alone.

    python benches/joint.py PROGRAM OUT [SEED]

Drawn with GalSim: bulge and disc of different colours, stars, neighbours as they fall; r, i, z at 0.2 arcsec and the wide band (which sees 0.3 r + 0.4 i +
0.3 z) at 0.1 arcsec, each turned by another angle. Prints completeness, the scatter and bias of fluxes and colours, and the times.
"""

import json
import pathlib
import subprocess
import sys

import galsim
import numpy as np
from astropy.io import fits
from astropy.table import Table

program, out = sys.argv[1], pathlib.Path(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(seed)
size, galaxies, stars = 110.0, 150, 90
shares = dict(r=0.3, i=0.4, z=0.3)
world = galsim.CelestialCoord(150.1 * galsim.degrees, 2.2 * galsim.degrees)
airy = galsim.Convolve(galsim.Airy(lam=770, diam=1.2, obscuration=0.3), galsim.Gaussian(fwhm=0.06))
cameras = dict(
    r=(0.2, 0.2, galsim.Moffat(beta=3, fwhm=0.78), 11.0),
    i=(0.2, -0.4, galsim.Moffat(beta=3, fwhm=0.72), 14.0),
    z=(0.2, 0.9, galsim.Moffat(beta=3, fwhm=0.70), 22.0),
    VIS=(0.1, 0.55, airy, 3.5),
)
objects = []
for k in range(galaxies + stars):
    place = rng.uniform(-0.5, 0.5, 2) * (size - 12)
    if k < stars:
        flux = 10 ** rng.uniform(3.3, 5.2)
        colour = np.array([1, 1.3, 1.5]) ** rng.normal(0.6, 0.7)
        objects.append((place, [(galsim.Gaussian(sigma=1e-3), flux * colour)], True))
    else:
        flux, radius = 10 ** rng.uniform(2.7, 4.6), np.exp(rng.uniform(np.log(0.15), np.log(0.8)))
        shear = galsim.Shear(g=rng.uniform(0, 0.5), beta=rng.uniform(0, 180) * galsim.degrees)
        bulge = rng.uniform(0, 0.6)
        disc = galsim.Exponential(half_light_radius=radius).shear(shear)
        core = galsim.Sersic(n=2.5, half_light_radius=0.35 * radius).shear(g1=0.4 * shear.g1, g2=0.4 * shear.g2)
        blue, red = np.array([1, 1.2, 1.3]) * np.exp(rng.normal(0, 0.15, 3)), np.array([0.5, 1.0, 1.6])
        objects.append((place, [(disc, flux * (1 - bulge) * blue), (core, flux * bulge * red)], False))

manifest = []
for name, (scale, turn, psf, sigma) in cameras.items():
    n = int(size / scale)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = scale * np.array([[-cos, sin], [sin, cos]])  # east is left
    local = galsim.AffineTransform(*matrix.ravel(), origin=galsim.PositionD((n + 1) / 2, (n + 1) / 2))
    image = galsim.ImageF(n, n, wcs=local)
    weights = np.array([shares[b] for b in "riz"]) if name == "VIS" else np.array([float(b == name) for b in "riz"])
    for place, parts, _ in objects:
        sky = galsim.Sum([p.withFlux(float(f @ weights)) for p, f in parts])
        position = local.toImage(galsim.PositionD(*place))
        if not (-20 < position.x < n + 20 and -20 < position.y < n + 20):
            continue
        stamp = galsim.Convolve(sky, psf).drawImage(
            nx=int(26 / scale), ny=int(26 / scale), center=position, wcs=local.local(position), method="auto"
        )
        overlap = stamp.bounds & image.bounds
        if overlap.isDefined():
            image[overlap] += stamp[overlap]
    pixels = image.array + rng.normal(0, sigma, image.array.shape)
    header = fits.Header()
    header["FILTER"], header["MAGZERO"] = name, 31.4
    wcs = fits.Header()
    wcs["CTYPE1"], wcs["CTYPE2"] = "RA---TAN", "DEC--TAN"
    wcs["CRVAL1"], wcs["CRVAL2"] = world.ra.deg, world.dec.deg
    wcs["CRPIX1"] = wcs["CRPIX2"] = (n + 1) / 2
    for i in range(2):
        for j in range(2):
            wcs[f"CD{i + 1}_{j + 1}"] = matrix[i, j] / 3600
    hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(pixels.astype(np.float32), wcs, name="SCI")]
    hdus.append(fits.ImageHDU(np.full(pixels.shape, sigma, np.float32), wcs, name="ERR"))
    fits.HDUList(hdus).writeto(out / f"{name}.fits", overwrite=True)
    manifest.append(f'[[exposure]]\nfile = "{name}.fits"\nband = "{name}"\nwide = {str(name == "VIS").lower()}\n')
(out / "field.toml").write_text("\n".join(manifest))
done = subprocess.run([program, "joint", str(out / "field.toml"), "--out", str(out / "joint")], capture_output=True, text=True)
print(done.stdout, done.stderr)
if done.returncode:
    sys.exit(1)
table = Table.read(out / "joint" / "joint.fits")
summary = json.loads((out / "joint" / "summary.json").read_text())
# the tangent plane's offsets in degrees, east and north
places = np.array([p for p, _, _ in objects]) / 3600
cos = np.cos(np.radians(world.dec.deg))
found = np.column_stack([(np.asarray(table["ra"]) - world.ra.deg) * cos, np.asarray(table["dec"]) - world.dec.deg])
truth = np.array([sum(f for _, f in parts) for _, parts, _ in objects])
is_star = np.array([s for *_, s in objects])
separation = np.hypot(*(places[:, None] - found[None]).transpose(2, 0, 1)) * 3600
nearest = separation.argmin(1)
matched = separation.min(1) < 0.5
# alone: no other object within 3 arcsec
mutual = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) * 3600 + 1e9 * np.eye(len(places))
print(f"{matched.sum()} of {len(objects)} objects found; {summary['seconds_joint']:.1f} s for {len(table)} objects")
print("| objects | band | number | median flux error | 1.4826 MAD of it | pull: median | pull: 1.4826 MAD |\n|---|---|---|---|---|---|---|")
mad = lambda v: 1.4826 * np.median(np.abs(v - np.median(v)))
for kind, pick in [("galaxies, alone", ~is_star & (mutual.min(1) > 3)), ("galaxies, neighbour within 3 arcsec", ~is_star & (mutual.min(1) <= 3)), ("stars", is_star)]:
    for b, band in enumerate("riz"):
        flux, error = np.asarray(table[f"flux_{band}"])[nearest], np.asarray(table[f"flux_err_{band}"])[nearest]
        use = pick & matched & np.isfinite(flux) & (error > 0) & (truth[:, b] / np.maximum(error, 1e-9) > 10)
        if use.sum() < 3:
            continue
        off, pull = flux[use] / truth[use, b] - 1, (flux[use] - truth[use, b]) / error[use]
        print(f"| {kind} | {band} | {use.sum()} | {np.median(off):+.4f} | {mad(off):.4f} | {np.median(pull):+.2f} | {mad(pull):.2f} |")
