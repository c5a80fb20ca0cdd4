"""Golden values for tests/detect.rs: a small synthetic scene, its background and its sources by the Python package sep.

Run with a Python that has numpy, astropy and sep (1.4.1 was used):  python make_scene.py
Writes scene.fits and scene.json beside itself."""
import json
import os

import numpy as np
import sep
from astropy.io import fits

HERE = os.path.dirname(os.path.abspath(__file__))
NY, NX = 100, 150
rng = np.random.default_rng(20)
yy, xx = np.mgrid[:NY, :NX]
image = 300.0 + 0.1 * xx - 0.05 * yy + rng.normal(0, 4.0, (NY, NX))
for k in range(24):
    x, y = rng.uniform(3, NX - 3), rng.uniform(3, NY - 3)
    flux, a, q, t = 10 ** rng.uniform(2.6, 4.6), rng.uniform(1.2, 3.0), rng.uniform(0.5, 1), rng.uniform(0, np.pi)
    dx, dy = xx - x, yy - y
    u, v = dx * np.cos(t) + dy * np.sin(t), -dx * np.sin(t) + dy * np.cos(t)
    image += flux / (2 * np.pi * a * a * q) * np.exp(-0.5 * (u * u + (v / q) ** 2) / a**2)
mask = np.zeros((NY, NX), np.uint8)
mask[:, 120:122] = 1
mask[70:75, 30:60] = 1
image[mask > 0] = 5000  # the test takes pixels of exactly 5000 as masked
image = np.round(image).astype("f4")
assert ((image == 5000) == (mask > 0)).all()

bkg = sep.Background(image, mask=mask.astype(bool), bw=50, bh=50, fw=3, fh=3)
sub = (image - bkg.back()).astype("f4")
sub[mask > 0] = 0  # sep does not mask the first rows under its kernel: a bright masked pixel would leak there
rms = bkg.rms().astype("f4")
objects, seg = sep.extract(sub, 1.5, err=rms, mask=mask.astype(bool), minarea=5, filter_type="conv", segmentation_map=True)
n = len(objects)
ids = np.arange(1, n + 1, dtype=np.int32)
theta = np.clip(objects["theta"], -np.pi / 2, np.pi / 2)
args = dict(mask=mask.astype(bool), segmap=seg, seg_id=ids)
kron, _ = sep.kron_radius(sub, objects["x"], objects["y"], objects["a"], objects["b"], theta, 6.0, **args)
flux, err, _ = sep.sum_ellipse(sub, objects["x"], objects["y"], objects["a"], objects["b"], theta, np.maximum(2.5 * kron, 3.5), err=rms, **args)
half, _ = sep.flux_radius(sub, objects["x"], objects["y"], 6.0 * objects["a"], 0.5, normflux=flux, **args)
xw, yw, _ = sep.winpos(sub, objects["x"], objects["y"], np.maximum(half / 1.17741, 0.5), mask=mask.astype(bool))

fits.PrimaryHDU(image.astype("i2")).writeto(f"{HERE}/scene.fits", overwrite=True)
points = [(5, 7), (50, 100), (99, 149), (72, 45)]
json.dump(
    dict(
        global_level=float(bkg.globalback),
        global_rms=float(bkg.globalrms),
        points=[dict(row=r, column=c, level=float(bkg.back()[r, c]), rms=float(bkg.rms()[r, c])) for r, c in points],
        sources=[
            dict(x=float(objects["x"][i]), y=float(objects["y"][i]), xwin=float(xw[i]), ywin=float(yw[i]), a=float(objects["a"][i]),
                 b=float(objects["b"][i]), theta=float(theta[i]), npix=int(objects["npix"][i]), peak=float(objects["peak"][i]), flux=float(flux[i]),
                 flux_err=float(err[i]), half_light_radius=float(half[i]), flag=int(objects["flag"][i]),
                 label=[int(objects["xpeak"][i]), int(objects["ypeak"][i])])
            for i in range(n)
        ],
    ),
    open(f"{HERE}/scene.json", "w"), indent=1)
print(n, "sources", bkg.globalback, bkg.globalrms)
