#!/usr/bin/env python3
"""Simulate exposures with PSFs of several kinds, stars, galaxies and truth (GalSim).

usage: make_fields.py OUTDIR --kind KIND [--size 2048] [--seed 1] [--nstar 400] [--ngal 1500] [--ntest 300]

KIND   optics   Kolmogorov atmosphere times an obscured telescope whose defocus, astigmatism, coma and trefoil vary over the field
       euclid   diffraction-limited, FWHM about 1.6 pixels of 0.1 arcsec, struts, jitter, slowly varying aberrations
       few      the elliptical Moffat of `moffat` with 25 stars
       dense    the same with five times the stars and galaxies
       cosmic   the same with unmasked cosmic rays
       sky      the same with a residual sky of 0.3 sigma
       moffat   elliptical Moffat (beta 3.2) with cubic variation and small waves
Writes field.fits (IMAGE, MASK, VARIANCE), image.fits, weight.fits, truth.fits (OBJECTS, PSFPOS), psf_truth.fits, and
psf_truth_2x.fits, psf_truth_3x.fits: the effective PSF (pixel response in) sampled 2 and 3 times finer, all unit sum, centred on
the adaptive centroid. x, y are 1-based.
"""
import argparse
import os

import galsim
import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.polynomial import legendre

SIGMA, N = 10.0, 41


def poly(rng, order=3):
    c = np.zeros((order + 1, order + 1))
    for i in range(order + 1):
        for j in range(order + 1 - i):
            if i + j > 0:
                c[i, j] = rng.normal() / (1 + 0.3 * (i + j))
    g = np.linspace(-1, 1, 61)
    c /= np.abs(legendre.leggrid2d(g, g, c)).max()
    return lambda u, v: float(legendre.legval2d(u, v, c))


class Psf:
    """kind -> galsim profile at a 1-based position, pixel scale in arcsec"""

    def __init__(self, kind, size, seed):
        self.kind, self.size = kind, size
        rng = np.random.default_rng(seed + 77)
        self.p = [poly(rng) for _ in range(10)]
        self.phase = rng.uniform(0, 2 * np.pi, 3)
        self.grid = {}
        self.scale = 0.1 if kind == 'euclid' else 0.2
        self.params = galsim.GSParams(maximum_fft_size=8192)

    def at(self, x, y):
        u, v = 2 * (x - 0.5) / self.size - 1, 2 * (y - 0.5) / self.size - 1
        q = [f(u, v) for f in self.p]
        if self.kind == 'optics':
            see = galsim.Kolmogorov(fwhm=0.62 * (1 + 0.05 * q[0])).shear(g1=0.02 * q[1], g2=0.02 * q[2])
            tel = galsim.OpticalPSF(lam_over_diam=0.035, obscuration=0.4, defocus=0.5 * q[3] + 0.3, astig1=0.35 * q[4], astig2=0.35 * q[5],
                                    coma1=0.35 * q[6] + 0.1, coma2=0.35 * q[7], trefoil1=0.25 * q[8], trefoil2=0.25 * q[9], gsparams=self.params)
            return galsim.Convolve(see, tel)
        if self.kind == 'euclid':
            tel = galsim.OpticalPSF(lam_over_diam=0.12, obscuration=0.33, nstruts=3, strut_thick=0.04, strut_angle=20 * galsim.degrees,
                                    defocus=0.06 * q[3] + 0.04, astig1=0.06 * q[4], astig2=0.06 * q[5], coma1=0.05 * q[6] + 0.02, coma2=0.05 * q[7],
                                    trefoil1=0.04 * q[8] + 0.03, trefoil2=0.04 * q[9], gsparams=self.params)
            return galsim.Convolve(tel, galsim.Gaussian(sigma=0.035 * (1 + 0.05 * q[0])).shear(g1=0.05 * q[1], g2=0.05 * q[2]))
        w = [np.sin(2.2 * np.pi * u + a) * np.cos(1.9 * np.pi * v - a) for a in self.phase]
        f = 0.72 * (1 + 0.06 * q[0] + 0.005 * w[0])
        return galsim.Moffat(beta=3.2, fwhm=f).shear(g1=0.04 * q[1] + 0.002 * w[1], g2=0.04 * q[2] + 0.002 * w[2])


    def near(self, x, y, step=128):
        key = int(x // step), int(y // step)
        if key not in self.grid:
            self.grid[key] = self.at((key[0] + 0.5) * step, (key[1] + 0.5) * step)
        return self.grid[key]


def centred(profile, n, scale, pixel):
    """effective PSF on an n x n grid, centred on its adaptive centroid, unit sum"""
    eff = galsim.Convolve(profile, galsim.Pixel(pixel))
    off = galsim.PositionD(0, 0)
    for _ in range(2):
        im = eff.drawImage(nx=n, ny=n, scale=scale, method='no_pixel', offset=off, dtype=float)
        m = galsim.hsm.FindAdaptiveMom(im, strict=False)
        if m.error_message:
            break
        off = galsim.PositionD(off.x + (n + 1) / 2 - m.moments_centroid.x, off.y + (n + 1) / 2 - m.moments_centroid.y)
    im = eff.drawImage(nx=n, ny=n, scale=scale, method='no_pixel', offset=off, dtype=float)
    return (im.array / im.array.sum()).astype('f4')


def cosmic_rays(rng, image, count):
    """straight tracks 1-2 pixels wide, length 1-25 px, 30-3000 sigma in all"""
    S = image.shape[0]
    for _ in range(count):
        x, y, t = rng.uniform(0, S), rng.uniform(0, S), rng.uniform(0, np.pi)
        length = min(1 + rng.exponential(6), 25)
        flux = SIGMA * 30 * (1 - rng.uniform()) ** -0.8
        k = max(int(4 * length), 4)
        for a in np.linspace(0, length, k):
            i, j = int(x + a * np.cos(t)), int(y + a * np.sin(t))
            if 0 <= i < S and 0 <= j < S:
                image[j, i] += min(flux, 3000 * SIGMA) / k


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('out')
    ap.add_argument('--kind', required=True, choices='optics euclid few dense cosmic sky moffat'.split())
    ap.add_argument('--size', type=int, default=2048)
    ap.add_argument('--seed', type=int, default=1)
    ap.add_argument('--nstar', type=int)
    ap.add_argument('--ngal', type=int)
    ap.add_argument('--ntest', type=int, default=300)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    factor = 5 if a.kind == 'dense' else 1
    nstar = a.nstar or (25 if a.kind == 'few' else 400 * factor)
    ngal = a.ngal or 1500 * factor
    rng, psf, S = np.random.default_rng(a.seed), Psf(a.kind, a.size, a.seed), a.size
    pix = psf.scale
    img = galsim.ImageF(S, S, scale=pix)
    rows = []
    for k in range(nstar + ngal):
        star = k < nstar
        x, y = rng.uniform(8, S - 7, 2)
        # Galaxies need no exact PSF: theirs is taken from the nearest point of a grid, which saves most of the time.
        p = psf.at(x, y) if star else psf.near(x, y)
        hlr = e1 = e2 = n = 0.0
        obj = p
        if star:
            snr = 10 ** rng.uniform(np.log10(20), 3.0)
        else:
            snr = min(10 * (1 - rng.uniform()) ** (-1 / 1.1), 500.0)
            hlr, n = float(np.clip(np.exp(rng.normal(np.log(0.30), 0.45)), 0.08, 1.2)), float(rng.choice([1, 1, 1.5, 2.5, 4]))
            e, t = min(abs(rng.normal(0, 0.25)), 0.7), rng.uniform(0, np.pi)
            e1, e2 = e * np.cos(2 * t), e * np.sin(2 * t)
            obj = galsim.Convolve(galsim.Sersic(n, half_light_radius=hlr, trunc=6 * hlr).shear(g1=e1, g2=e2), p)
        size = (64 if snr < 200 else 160) if star else 96
        ix, iy = int(round(x)), int(round(y))
        st = galsim.ImageD(galsim.BoundsI(ix - size // 2, ix + size // 2, iy - size // 2, iy + size // 2), scale=pix)
        obj.drawImage(st, center=galsim.PositionD(x, y))
        flux = snr * SIGMA / np.sqrt((st.array ** 2).sum())
        b = st.bounds & img.bounds
        img[b] += galsim.ImageF(st[b].array.astype('f4') * flux, xmin=b.xmin, ymin=b.ymin, scale=pix)
        rows.append((k, x, y, flux, snr, star, hlr, n, e1, e2))
    im = img.array.astype('f8') + rng.normal(0, SIGMA, (S, S))
    if a.kind == 'sky':
        im += 0.3 * SIGMA
    if a.kind == 'cosmic':
        cosmic_rays(rng, im, 1500 * S * S // 2048 ** 2)
    mask = np.zeros((S, S), np.int16)
    for c in rng.integers(0, S, 3):
        r0 = rng.integers(0, S // 2)
        mask[r0:r0 + S // 2, c] |= 1
    h = rng.integers(0, S, (200 * S * S // 2048 ** 2, 2))
    mask[h[:, 0], h[:, 1]] |= 1
    im[mask > 0] = 30000.0
    im = im.astype('f4')
    var = np.full((S, S), SIGMA ** 2, 'f4')
    hd = fits.Header()
    for k, v in dict(EXPTIME=30.0, FILTER='r', PIXSCALE=pix, SATURATE=1e6, BUNIT='adu', CTYPE1='RA---TAN', CTYPE2='DEC--TAN', CRVAL1=150.0, CRVAL2=2.0,
                     CRPIX1=S / 2 + .5, CRPIX2=S / 2 + .5, CD1_1=-pix / 3600, CD1_2=0.0, CD2_1=0.0, CD2_2=pix / 3600).items():
        hd[k] = v
    hd['MJD-OBS'] = 61000.123
    hm = hd.copy()
    hm['MP_BAD'] = 0
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(im, hd, 'IMAGE'), fits.ImageHDU(mask, hm, 'MASK'), fits.ImageHDU(var, hd, 'VARIANCE')]).writeto(f'{a.out}/field.fits', overwrite=True)
    fits.writeto(f'{a.out}/image.fits', im, hd, overwrite=True)
    w = 1 / var
    w[mask > 0] = 0
    fits.writeto(f'{a.out}/weight.fits', w, hd, overwrite=True)
    obj = Table(rows=rows, names='id x y flux snr is_star hlr_arcsec sersic_n g1 g2'.split())
    obj.meta['EXTNAME'] = 'OBJECTS'
    tx, ty = rng.uniform(25, S - 24, (2, a.ntest))
    pos = Table([np.arange(a.ntest), tx, ty], names='id x y'.split())
    pos.meta['EXTNAME'] = 'PSFPOS'
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(obj), fits.table_to_hdu(pos)]).writeto(f'{a.out}/truth.fits', overwrite=True)
    for k in (1, 2, 3):
        n = N * k if (N * k) % 2 else N * k + 1
        fits.writeto(f'{a.out}/psf_truth{"" if k == 1 else f"_{k}x"}.fits', np.array([centred(psf.at(x, y), n, pix / k, pix) for x, y in zip(tx, ty)]), overwrite=True)
    print(a.kind, 'stars', nstar, 'galaxies', ngal)


if __name__ == '__main__':
    main()
