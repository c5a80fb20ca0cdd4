#!/usr/bin/env python3
"""Golden values for tests/psf.rs from GalSim: pixel-averaged Moffat stamps, and a PSFEx table as `DES_PSFEx` draws it.

usage: make_golden.py OUTDIR   (writes moffat.json, psfex.psf, psfex.json)
"""
import json
import sys

import galsim
import galsim.des
import numpy as np
from astropy.io import fits

out = sys.argv[1]
cases = []
for beta, fwhm, g1, g2 in [(2.75, 3.5, 0.03, -0.02), (3.5, 2.2, -0.05, 0.04), (2.5, 1.6, 0.0, 0.0)]:
    p = galsim.Moffat(beta=beta, fwhm=fwhm).shear(g1=g1, g2=g2)
    im = p.drawImage(nx=15, ny=15, scale=1.0, dtype=float).array
    fine = galsim.Convolve(p, galsim.Pixel(1.0)).drawImage(nx=31, ny=31, scale=0.5, method='no_pixel', dtype=float).array
    cases.append(dict(beta=beta, fwhm=fwhm, g1=g1, g2=g2, image=[round(v, 8) for v in im.ravel()], fine=[round(v, 8) for v in fine.ravel()]))
json.dump(cases, open(f'{out}/moffat.json', 'w'))

# A table of degree 1 with the coarse step that PSFEx itself chooses (0.95 of a pixel at 3.5 px FWHM).
side, step = 25, 0.953
planes = []
for fwhm, g1 in [(3.5, 0.03), (3.9, 0.02), (3.3, -0.06)]:
    p = galsim.Convolve(galsim.Moffat(beta=3, fwhm=fwhm).shear(g1=g1, g2=0.02), galsim.Pixel(1.0))
    planes.append(p.drawImage(nx=side, ny=side, scale=step, method='no_pixel', dtype=float).array)
planes = np.array([planes[0], 0.2 * (planes[1] - planes[0]), 0.2 * (planes[2] - planes[0])], dtype='f4')
column = fits.Column(name='PSF_MASK', format=f'{planes.size}E', dim=f'({side},{side},3)', array=planes[None])
table = fits.BinTableHDU.from_columns([column], name='PSF_DATA')
cards = dict(LOADED=10, ACCEPTED=10, CHI2=1.0, POLNAXIS=2, POLGRP1=1, POLNAME1='X_IMAGE', POLZERO1=500.0, POLSCAL1=400.0, POLGRP2=1, POLNAME2='Y_IMAGE',
             POLZERO2=600.0, POLSCAL2=300.0, POLNGRP=1, POLDEG1=1, PSF_FWHM=3.5, PSF_SAMP=step, PSFNAXIS=3, PSFAXIS1=side, PSFAXIS2=side, PSFAXIS3=3)
for key, value in cards.items():
    table.header[key] = value
fits.HDUList([fits.PrimaryHDU(), table]).writeto(f'{out}/psfex.psf', overwrite=True)
read = galsim.des.DES_PSFEx(f'{out}/psfex.psf')
drawn = []
for x, y in [(500.0, 600.0), (120.25, 811.5), (900.0, 310.0)]:
    image = read.getPSF(galsim.PositionD(x, y)).drawImage(nx=17, ny=17, scale=1.0, method='no_pixel', dtype=float).array
    drawn.append(dict(x=x, y=y, image=[round(v, 9) for v in (image / image.sum()).ravel()]))
json.dump(drawn, open(f'{out}/psfex.json', 'w'))
