#!/usr/bin/env python3
"""Residuals of stillair and PSFEx against the truth, after compare.py: usage: residual_picture.py OUT.png FIELD..."""
import os
import sys

import matplotlib
import numpy as np

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare import crop, cube, kind_of  # noqa: E402

fields = sys.argv[2:]
figure, axes = plt.subplots(len(fields), 5, figsize=(11, 2.3 * len(fields)), squeeze=False)
for row, field in zip(axes, fields):
    k = 3 if kind_of(field).startswith('euclid') else 1
    n = 25 * k | 1
    truth = crop(cube(f'{field}/psf_truth.fits' if k == 1 else f'{field}/psf_truth_{k}x.fits'), n)
    models = [crop(cube(f'{field}/{name}_{k}x.fits'), n) for name in ('stillair', 'psfex_peers_3')]
    nrmse = [np.sqrt(((m - truth) ** 2).sum((1, 2)) / (truth ** 2).sum((1, 2))) for m in models]
    at = [int(np.argsort(nrmse[0])[len(truth) * q // 100]) for q in (50, 95)]
    peak = truth[at[0]].max()
    row[0].imshow(np.arcsinh(truth[at[0]] / peak * 100), origin='lower', cmap='gray')
    row[0].set_title(f'{kind_of(field)}: truth (asinh)', fontsize=8)
    for axis, (name, model, i, q) in zip(row[1:], [(nm, m, i, q) for i, q in zip(at, (50, 95)) for nm, m in zip(('stillair', 'PSFEx'), models)]):
        j = 0 if name == 'stillair' else 1
        axis.imshow((model[i] - truth[i]) / peak, origin='lower', cmap='RdBu_r', vmin=-0.03, vmax=0.03)
        axis.set_title(f'{name}, NRMSE {nrmse[j][i]:.4f}', fontsize=8)
    for axis in row:
        axis.set_xticks([])
        axis.set_yticks([])
figure.suptitle("Model - truth, +-3 % of the peak: at stillair's median position (columns 2, 3) and its 95th percentile (4, 5)", fontsize=9)
figure.tight_layout()
figure.savefig(sys.argv[1], dpi=80)
