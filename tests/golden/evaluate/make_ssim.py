"""Golden values for tests/evaluate.rs: SSIM and NMSE by scikit-image.

Run with a Python that has numpy and scikit-image (0.26):  python make_ssim.py
Writes ssim.json beside itself: two small images and their scores."""
import json
import os

import numpy as np
from skimage.metrics import structural_similarity

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(4)
ny, nx, cx, cy, fwhm = 26, 31, 15.3, 12.6, 7.0
yy, xx = np.mgrid[:ny, :nx]
truth = (100 * np.exp(-0.5 * ((xx - cx) ** 2 / 6 + (yy - cy) ** 2 / 3))).round(2).astype("f4")
output = (0.9 * truth + 8 * np.exp(-0.5 * ((xx - 20) ** 2 + (yy - 15) ** 2) / 4) + rng.normal(0, 2, (ny, nx))).round(2).astype("f4")
window = np.exp(-0.5 * ((xx - cx) ** 2 + (yy - cy) ** 2) * 8 * np.log(2) / fwhm**2)


def ssim(x, t):
    return float(structural_similarity(x.astype(float), t.astype(float), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                       data_range=float(t.max() - t.min())))


xw, tw = (output * window).astype("f4"), (truth * window).astype("f4")
json.dump(dict(rows=ny, columns=nx, centre=[cx, cy], fwhm=fwhm, output=[round(float(v), 2) for v in output.ravel()],
               truth=[round(float(v), 2) for v in truth.ravel()], ssim=ssim(output, truth), ssim_windowed=ssim(xw, tw),
               nmse_windowed=float(((xw.astype(float) - tw) ** 2).sum() / (tw.astype(float) ** 2).sum()),
               flux_error=float(abs(output.astype(float).sum() - truth.astype(float).sum()) / truth.astype(float).sum())),
          open(f"{HERE}/ssim.json", "w"))
print(open(f"{HERE}/ssim.json").read()[-250:])
