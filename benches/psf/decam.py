#!/usr/bin/env python3
"""Real stars: stillair and PSFEx on the 117 DECam vignettes of one CCD, fitted on 80 %, scored on the other 20 %.

usage: decam.py VIGNETS.fits [--out FOLDER] [--stillair target/release/stillair] [--splits 5]

VIGNETS.fits is an LDAC catalogue with VIGNET(63,63). Split k scores every fifth star, beginning with the k-th. stillair gets an image
that holds the vignettes of the fitted stars where they were, everything else masked, and their positions (--stars); PSFEx gets the
catalogue's rows of the same stars (degree with the smallest chi-square of 1, 2, 3: chosen on the scored stars, in its favour).
Each scored star is fitted with flux, centre (Fourier shift) and sky by the model at its position, within 10 pixels; then
  chi2   reduced, with the sky's noise and the gain's (median and mean over the stars)
  dT/T   T_star / T_model - 1 by HSM adaptive moments: median, error of the median, scatter (1.48 MAD)
"""
import argparse
import os
import subprocess

import galsim
import numpy as np
from astropy.io import fits
from scipy.optimize import least_squares

SIDE, NX, NY, SIGMA, GAIN = 63, 2048, 4096, 8.88, 4.039
N = 41


def pixel(x):
    return np.floor(np.asarray(x) - 0.5).astype(int)


def stillair(program, rows, test, out):
    image, mask = np.zeros((NY, NX), 'f4'), np.ones((NY, NX), 'i2')
    for r in rows:
        x, y = int(pixel(r['X_IMAGE'])), int(pixel(r['Y_IMAGE']))
        v = r['VIGNET'].reshape(SIDE, SIDE)
        for j in range(SIDE):
            for i in range(SIDE):
                a, b = y + j - SIDE // 2, x + i - SIDE // 2
                if 0 <= a < NY and 0 <= b < NX and v[j, i] > -1e29:
                    image[a, b], mask[a, b] = v[j, i], 0
    header = fits.Header(dict(GAIN=GAIN, SATURATE=38652.0 / 1.0, BUNIT='adu', PIXSCALE=0.263))
    masked = header.copy()
    masked['MP_BAD'] = 0
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, header, 'IMAGE'), fits.ImageHDU(mask, masked, 'MASK'),
                  fits.ImageHDU(np.full((NY, NX), SIGMA ** 2, 'f4'), header, 'VARIANCE')]).writeto(f'{out}/decam.fits', overwrite=True)
    for name, some in (('fit', rows), ('score', test)):
        with open(f'{out}/{name}.csv', 'w') as f:
            f.writelines(f"{r['X_IMAGE']},{r['Y_IMAGE']}\n" for r in some)
    text = subprocess.run([program, 'psf', 'fit', f'{out}/decam.fits', '--out', f'{out}/decam.psf', '--stars', f'{out}/fit.csv'], check=True, capture_output=True, text=True).stdout
    subprocess.run([program, 'psf', 'eval', f'{out}/decam.psf', '--at', f'{out}/score.csv', '--out', f'{out}/cube.fits', '--size', str(N)], check=True, capture_output=True)
    stars = next(line for line in text.splitlines() if line.startswith('stars'))
    return fits.getdata(f'{out}/cube.fits', 1).astype(float), ' '.join(stars.split()[1:])


def lanczos(x, a=3):
    return np.where(np.abs(x) < a, np.sinc(x) * np.sinc(x / a), 0.0)


def psfex(source, chosen, test, degree, out):
    with fits.open(source) as hdus:
        hdus[2].data = hdus[2].data[chosen]
        hdus.writeto(f'{out}/fit.cat', overwrite=True)
    subprocess.run(['psfex', f'{out}/fit.cat', '-c', '/dev/null', '-PSFVAR_KEYS', 'X_IMAGE,Y_IMAGE', '-PSFVAR_GROUPS', '1,1', '-PSFVAR_DEGREES', str(degree), '-SAMPLE_MINSN', '20',
                    '-PSF_SIZE', '45,45', '-CHECKPLOT_TYPE', 'NONE', '-CHECKIMAGE_TYPE', 'NONE', '-WRITE_XML', 'N', '-NTHREADS', '1', '-VERBOSE_TYPE', 'QUIET'], check=True, cwd=out)
    with fits.open(f'{out}/fit.psf') as h:
        hd, m = h[1].header, h[1].data['PSF_MASK'][0].astype(float)
    grid = (np.arange(N) - N // 2) / hd['PSF_SAMP']
    lx, ly = (lanczos(grid[:, None] - (np.arange(w) - w // 2)[None]) for w in (m.shape[2], m.shape[1]))
    cube = []
    for r in test:
        u, v = ((r[c] - hd[f'POLZERO{i + 1}']) / hd[f'POLSCAL{i + 1}'] for i, c in enumerate(('X_IMAGE', 'Y_IMAGE')))
        terms = [u ** i * v ** j for j in range(degree + 1) for i in range(degree + 1 - j)]
        image = ly @ np.tensordot(terms, m, 1) @ lx.T
        cube.append(image / image.sum())
    return np.array(cube), f"{hd['ACCEPTED']} accepted of {hd['LOADED']}"


def shifted(m, dx, dy):
    k = np.fft.fftfreq(N)
    return np.fft.ifft2(np.fft.fft2(m) * np.exp(-2j * np.pi * (k[None, :] * dx + k[:, None] * dy))).real


def moments(a):
    m = galsim.hsm.FindAdaptiveMom(galsim.Image(np.ascontiguousarray(a[8:33, 8:33])), strict=False)
    return np.nan if m.error_message else 2 * m.moments_sigma ** 2


def score(cube, test):
    y, x = np.mgrid[:N, :N] - N // 2
    chi, size = [], []
    for m, r in zip(cube, test):
        d = r['VIGNET'].reshape(SIDE, SIDE).astype(float)
        c = SIDE // 2
        d = d[c - N // 2:c + N // 2 + 1, c - N // 2:c + N // 2 + 1]
        use = (d > -1e29) & (x ** 2 + y ** 2 <= 100)
        noise = np.sqrt(SIGMA ** 2 + np.clip(d, 0, None) / GAIN)

        def residual(p):
            return ((d - p[0] * shifted(m, p[1], p[2]) - p[3]) / noise)[use]

        fit = least_squares(residual, [d[use].sum(), r['XWIN_IMAGE'] - 1 - pixel(r['X_IMAGE']), r['YWIN_IMAGE'] - 1 - pixel(r['Y_IMAGE']), 0.0], x_scale=[d[use].sum(), 0.1, 0.1, 1.0])
        p = fit.x
        model = p[0] * shifted(m, p[1], p[2])
        chi.append((fit.fun ** 2).sum() / (use.sum() - 4))
        size.append(moments(np.where(d > -1e29, d - p[3], model)) / moments(model) - 1)
    return chi, size


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('vignets')
    ap.add_argument('--out', default='decam')
    ap.add_argument('--stillair', default='target/release/stillair')
    ap.add_argument('--splits', type=int, default=5)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    out = os.path.abspath(a.out)
    data = fits.getdata(a.vignets, 2)
    found = {}
    for k in range(a.splits):
        chosen = np.arange(len(data)) % 5 != k
        rows, test = data[chosen], data[~chosen]
        runs = [('stillair', *stillair(os.path.abspath(a.stillair), rows, test, out))]
        runs += [(f'PSFEx degree {g}', *psfex(a.vignets, chosen, test, g, out)) for g in (1, 2, 3)]
        for name, cube, stars in runs:
            chi, size = score(cube, test)
            found.setdefault(name, ([], []))
            found[name][0].extend(chi)
            found[name][1].extend(size)
            print(f'split {k} {name:15} chi2 {np.median(chi):.3f} / {np.mean(chi):.3f}  dT/T {100 * np.nanmedian(size):+.2f} %   {stars}', flush=True)
    print('\n| model | stars scored | chi2 median / mean | dT/T median | scatter |\n|---|---|---|---|---|')
    for name, (chi, size) in found.items():
        size = np.array(size)[np.isfinite(size)]
        mad = 1.4826 * np.median(abs(size - np.median(size)))
        print(f'| {name} | {len(chi)} | {np.median(chi):.3f} / {np.mean(chi):.3f} | {100 * np.median(size):+.2f} +- {125 * mad / len(size) ** 0.5:.2f} % | {100 * mad:.2f} % |')


if __name__ == '__main__':
    main()
