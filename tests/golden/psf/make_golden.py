#!/usr/bin/env python3
"""Golden values for tests/psf.rs from GalSim: pixel-averaged Moffat stamps.

usage: make_golden.py OUTDIR   (writes moffat.json)
"""
import json
import sys

import galsim
import numpy as np

out = sys.argv[1]
cases = []
for beta, fwhm, g1, g2 in [(2.75, 3.5, 0.03, -0.02), (3.5, 2.2, -0.05, 0.04), (2.5, 1.6, 0.0, 0.0)]:
    p = galsim.Moffat(beta=beta, fwhm=fwhm).shear(g1=g1, g2=g2)
    im = p.drawImage(nx=15, ny=15, scale=1.0, dtype=float).array
    fine = galsim.Convolve(p, galsim.Pixel(1.0)).drawImage(nx=31, ny=31, scale=0.5, method='no_pixel', dtype=float).array
    cases.append(dict(beta=beta, fwhm=fwhm, g1=g1, g2=g2, image=[round(v, 8) for v in im.ravel()], fine=[round(v, 8) for v in fine.ravel()]))
json.dump(cases, open(f'{out}/moffat.json', 'w'))
