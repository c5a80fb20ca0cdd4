#!/usr/bin/env python3
"""stillair, PSFEx and Piff on the same fields in the same run, scored by the same code.

usage: compare.py FIELD... [--stillair target/release/stillair] [--tools stillair,psfex,piff] [--json OUT.json]

FIELD  folder written by make_fields.py (or by any program with the same files); its kind is read off its name (few*, euclid*).
Needs the programs source-extractor and psfex, and the Python packages of benches/requirements.txt.

stillair finds its own stars. The peers run twice: with the stars that they select themselves and with the true ones ("true": the unflagged
detections within a pixel of a star, a list that nobody has on the sky). PSFEx: the settings of the published peer bench (45 x 45, PSFVAR_DEGREES 3, MINSN 20), on `few` also
degrees 1 and 0, on `euclid` half-pixel sampling. Piff: PixelGrid at the image's scale with Lanczos(11), BasisPolynomial order 3,
SizeMag selection, max_snr 1000 (LSST's 200 scores worse on these fields), on `few` also orders 1 and 0, on `euclid` also a grid of 0.6
pixels. Where a peer has several settings, the one with the smallest median NRMSE stands in the table: it is chosen with the truth in
hand, in the peer's favour. CPU: user + system of every process (for the peers: source-extractor, fit), memory: the largest process.

Scores, on 25 x 25 pixels (finer: the same area) normalised to unit sum: NRMSE = |model - truth| / |truth|, median and 95th percentile
over the held-out positions; (T_model - T_truth) / T_truth and the distortion's differences by HSM adaptive moments, mean and standard
deviation. Where HSM fails on the truth (1.6 px FWHM at one sample per pixel) only NRMSE is given.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import galsim
import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.spatial import cKDTree

STAMP, N = 25, 41
PREP = """CATALOG_TYPE FITS_LDAC
DETECT_MINAREA 5
DETECT_THRESH 2.0
ANALYSIS_THRESH 2.0
FILTER Y
FILTER_NAME /usr/share/source-extractor/default.conv
STARNNW_NAME /usr/share/source-extractor/default.nnw
WEIGHT_TYPE MAP_WEIGHT
WEIGHT_GAIN N
WEIGHT_IMAGE weight.fits
PHOT_APERTURES 16
SATUR_LEVEL 1000000
GAIN 0
PIXEL_SCALE {scale}
SEEING_FWHM {seeing}
BACK_SIZE 128
MAG_ZEROPOINT 30
CATALOG_NAME peers.cat
PARAMETERS_NAME peers.param
VERBOSE_TYPE QUIET
"""
COLUMNS = """NUMBER X_IMAGE Y_IMAGE XWIN_IMAGE YWIN_IMAGE FLUX_APER(1) FLUXERR_APER(1) FLUX_AUTO FLUXERR_AUTO MAG_AUTO FLUX_RADIUS
FWHM_IMAGE ELONGATION ELLIPTICITY SNR_WIN CLASS_STAR FLAGS FLAGS_WEIGHT VIGNET(45,45)"""


def run(argv, cwd):
    """(CPU seconds, peak MB, output); raises with the program's own words."""
    with open(os.path.join(cwd, 'compare.log'), 'w+') as log:
        pid = subprocess.Popen(argv, cwd=cwd, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(pid.pid, 0)
        pid.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read()
    if pid.returncode:
        raise RuntimeError(f'{os.path.basename(argv[0])}: {text.strip().splitlines()[-1:] or pid.returncode}')
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def kind_of(field):
    return os.path.basename(os.path.normpath(field))


def cube(path):
    with fits.open(path) as hdus:
        return next(np.asarray(h.data, float) for h in hdus if getattr(h.data, 'ndim', 0) == 3)


def crop(c, n):
    h, r = c.shape[1] // 2, n // 2
    c = c[:, h - r:h + r + 1, h - r:h + r + 1]
    return c / c.sum((1, 2), keepdims=True)


def moments(stamp, guess):
    m = galsim.hsm.FindAdaptiveMom(galsim.Image(np.ascontiguousarray(stamp), scale=1.0), guess_sig=guess, strict=False)
    return (np.nan,) * 3 if m.error_message else (2 * m.moments_sigma ** 2, m.observed_shape.e1, m.observed_shape.e2)


def score(model, truth, guess):
    """NRMSE and moments of model against truth; positions without a model are counted, not scored."""
    n = np.sqrt(((model - truth) ** 2).sum((1, 2)) / (truth ** 2).sum((1, 2)))
    there = np.isfinite(n)
    out = dict(failed=int((~there).sum()), nrmse_median=float(np.median(n[there])), nrmse_p95=float(np.percentile(n[there], 95)))
    a, b = (np.array([moments(s, guess) for s in c]) for c in (model, truth))
    if np.isfinite(b).all():
        ok = there & np.isfinite(a).all(1)
        out['moments_failed'] = int((~ok).sum())
        dt, de = (a[ok, 0] / b[ok, 0] - 1), a[ok, 1:] - b[ok, 1:]
        out.update(dt_mean=float(dt.mean()), dt_rms=float(dt.std()))
        for k in (0, 1):
            out.update({f'de{k + 1}_mean': float(de[:, k].mean()), f'de{k + 1}_rms': float(de[:, k].std())})
    return out


def scores(field, cubes):
    """{oversampling: scores}"""
    out = {}
    for k, path in cubes.items():
        n = STAMP * k | 1
        truth = crop(cube(os.path.join(field, 'psf_truth.fits' if k == 1 else f'psf_truth_{k}x.fits')), n)
        out[k] = score(crop(cube(path), n), truth, 0.8 * k if kind_of(field).startswith('euclid') else 1.5 * k)
    return out


def purity(field, xy):
    objects = Table.read(os.path.join(field, 'truth.fits'), hdu='OBJECTS')
    distance, near = cKDTree(np.c_[objects['x'], objects['y']]).query(np.asarray(xy, float).reshape(-1, 2))
    return float((np.asarray(objects['is_star'], bool)[near] & (distance < 1.5)).mean()) if len(xy) else float('nan')


def stillair(program, field, factors):
    out = os.path.join(field, 'stillair.psf')
    cpu, memory, _ = run([program, 'psf', 'fit', os.path.join(field, 'field.fits'), '--out', out], field)
    cubes, wall = {}, {}
    for k in factors:
        cubes[k] = os.path.join(field, f'stillair_{k}x.fits')
        start = time.time()
        run([program, 'psf', 'eval', out, '--at', os.path.join(field, 'truth.fits[PSFPOS]'), '--out', cubes[k], '--oversample', str(k), '--size', str(N * k | 1)], field)
        wall[k] = time.time() - start
    stars = Table.read(out, hdu='STARS')
    status = np.char.strip(np.asarray(stars['status'], str))
    kept = np.isin(status, ('used', 'reserved'))
    return [dict(setting='', stars=int(kept.sum()), reserved=int((status == 'reserved').sum()),
                 purity=purity(field, np.c_[stars['x'], stars['y']][kept]), cpu=cpu, memory=memory, eval=wall[1], scores=scores(field, cubes))]


def sextractor(field):
    euclid = kind_of(field).startswith('euclid')
    with open(os.path.join(field, 'peers.sex'), 'w') as f:
        f.write(PREP.format(scale=0.1 if euclid else 0.2, seeing=0.16 if euclid else 0.7))
    with open(os.path.join(field, 'peers.param'), 'w') as f:
        f.write('\n'.join(COLUMNS.split()) + '\n')
    used = run(['source-extractor', 'image.fits', '-c', 'peers.sex'], field)[:2]
    objects = Table.read(os.path.join(field, 'truth.fits'), hdu='OBJECTS')
    objects = objects[np.asarray(objects['is_star'], bool)]
    with fits.open(os.path.join(field, 'peers.cat')) as hdus:
        d = hdus['LDAC_OBJECTS'].data
        distance, _ = cKDTree(np.c_[objects['x'], objects['y']]).query(np.c_[d['XWIN_IMAGE'], d['YWIN_IMAGE']])
        hdus['LDAC_OBJECTS'].data = d[(distance < 1.0) & (d['FLAGS'] == 0) & (d['FLAGS_WEIGHT'] == 0)]
        hdus.writeto(os.path.join(field, 'true.cat'), overwrite=True)
    return used


def lanczos(x, a=4):
    return np.where(np.abs(x) < a, np.sinc(x) * np.sinc(x / a), 0.0)


def psfex_cube(model, field, k, out):
    """PSFEx's own definition: the polynomial's image, resampled by Lanczos-4."""
    p = Table.read(os.path.join(field, 'truth.fits'), hdu='PSFPOS')
    with fits.open(model) as h:
        hd, m = h[1].header, h[1].data['PSF_MASK'][0].astype(float)
    degree = hd['POLDEG1'] if hd['POLNAXIS'] else 0
    z = [(np.asarray(p[c], float) - hd[f'POLZERO{i + 1}']) / hd[f'POLSCAL{i + 1}'] for i, c in enumerate('xy')] if hd['POLNAXIS'] else [np.zeros(len(p))] * 2
    terms = np.array([z[0] ** i * z[1] ** j for j in range(degree + 1) for i in range(degree + 1 - j)])
    n = N * k | 1
    grid = (np.arange(n) - n // 2) / k / hd['PSF_SAMP']
    lx, ly = (lanczos(grid[:, None] - (np.arange(w) - w // 2)[None]) for w in (m.shape[2], m.shape[1]))
    c = np.einsum('kn,kyx->nyx', terms, m)
    fits.writeto(out, np.einsum('nyx,Yy,Xx->nYX', c, ly, lx).astype('f4'), overwrite=True)


def psfex(field, factors, quick=False):
    extraction = sextractor(field)
    kind, out = kind_of(field), []
    degrees = (3, 1, 0) if kind.startswith('few') else (3,)
    for catalogue, degree in [(c, d) for c in ('peers', 'true') for d in degrees][:1 if quick else None]:
        name = f'degree {degree}' + (', true' if catalogue == 'true' else '')
        extra = ['-SAMPLE_FWHMRANGE', '1.0,10.0', '-PSF_SAMPLING', '0.5', '-PSF_SIZE', '61,61'] if kind.startswith('euclid') else ['-PSF_SIZE', '45,45']
        argv = ['psfex', f'{catalogue}.cat', '-c', '/dev/null', '-PSFVAR_KEYS', 'X_IMAGE,Y_IMAGE', '-PSFVAR_GROUPS', '1,1', '-PSFVAR_DEGREES', str(degree),
                '-SAMPLE_MINSN', '20', '-BASIS_TYPE', 'PIXEL_AUTO', '-CHECKPLOT_TYPE', 'NONE', '-CHECKIMAGE_TYPE', 'NONE', '-WRITE_XML', 'N', '-NTHREADS', '1',
                '-OUTCAT_TYPE', 'FITS_LDAC', '-OUTCAT_NAME', 'psfex_stars.cat', '-VERBOSE_TYPE', 'QUIET', *extra]
        try:
            cpu, memory, _ = run(argv, field)
            cubes = {k: os.path.join(field, f'psfex_{catalogue}_{degree}_{k}x.fits') for k in factors}
            start = time.time()
            for k, path in cubes.items():
                psfex_cube(os.path.join(field, f'{catalogue}.psf'), field, k, path)
            wall = (time.time() - start) / len(cubes)
            stars = Table.read(os.path.join(field, 'psfex_stars.cat'), hdu=2)
            stars = stars[np.asarray(stars['FLAGS_PSF']) == 0]
            out.append(dict(setting=name, stars=len(stars), purity=purity(field, np.c_[stars['X_IMAGE'], stars['Y_IMAGE']]), cpu=cpu + extraction[0],
                            memory=max(memory, extraction[1]), eval=wall, scores=scores(field, cubes)))
        except (RuntimeError, OSError, KeyError) as error:
            out.append(dict(setting=name, error=str(error)))
    return out


def piff_worker(field, catalogue, order, grid, factors):
    """Fits and draws in a process of its own, so that its CPU and memory can be measured."""
    import piff
    pixel = fits.getheader(os.path.join(field, 'image.fits'))['PIXSCALE']
    config = dict(
        input=dict(image_file_name=f'{field}/image.fits', image_hdu=0, weight_file_name=f'{field}/weight.fits', weight_hdu=0, cat_file_name=f'{field}/{catalogue}.cat',
                   cat_hdu=2, x_col='XWIN_IMAGE', y_col='YWIN_IMAGE', stamp_size=25, wcs=dict(type='PixelScale', scale=pixel)),
        select=dict(max_snr=1000, min_snr=20, **({} if catalogue == 'true' else dict(type='SizeMag', hsm_size_reject=True, initial_select=dict(type='SmallBright')))),
        psf=dict(type='Simple', outliers=dict(type='Chisq', nsigma=4, max_remove=0.05),
                 model=dict(type='PixelGrid', scale=pixel * grid, size=int(25 / grid) | 1, interp='Lanczos(11)' if grid == 1 else 'Lanczos(7)'),
                 interp=dict(type='BasisPolynomial', order=order)))
    psf = piff.process(config, piff.setup_logger(verbose=0))
    fit_cpu = time.process_time()
    p = Table.read(f'{field}/truth.fits', hdu='PSFPOS')
    start = time.time()
    for k in factors:
        n = N * k | 1
        c = np.empty((len(p), n, n), 'f4')
        for i, (x, y) in enumerate(zip(p['x'], p['y'])):
            if k == 1:
                c[i] = psf.draw(x=x, y=y, flux=1.0, stamp_size=n, center=True, offset=None).array
            else:
                profile, method = psf.get_profile(x=x, y=y, flux=1.0)
                c[i] = profile.drawImage(nx=n, ny=n, scale=pixel / k, method=method).array
        fits.writeto(f'{field}/piff_{catalogue}_{order}_{grid}_{k}x.fits', c, overwrite=True)
    wall = (time.time() - start) / len(factors)
    print(json.dumps(dict(cpu=fit_cpu, eval=wall, xy=[[s.image_pos.x, s.image_pos.y] for s in psf.stars if not s.is_flagged and not s.is_reserve])))


def piff(field, factors, quick=False):
    extraction = sextractor(field)
    kind, out = kind_of(field), []
    settings = [(3, 1.0)] + ([(1, 1.0), (0, 1.0)] if kind.startswith('few') else []) + ([(3, 0.6)] if kind.startswith('euclid') else [])
    for catalogue, order, grid in [(c, *s) for c in ('peers', 'true') for s in settings][:1 if quick else None]:
        name = f'order {order}, grid {grid:g}' + (', true' if catalogue == 'true' else '')
        try:
            _, memory, text = run([sys.executable, os.path.abspath(__file__), '--piff-worker', field, catalogue, str(order), str(grid), *map(str, factors)], field)
            told = json.loads(text.strip().splitlines()[-1])
            cubes = {k: os.path.join(field, f'piff_{catalogue}_{order}_{grid}_{k}x.fits') for k in factors}
            out.append(dict(setting=name, stars=len(told['xy']), purity=purity(field, told['xy']), cpu=told['cpu'] + extraction[0], memory=memory, eval=told['eval'],
                            scores=scores(field, cubes)))
        except (RuntimeError, OSError, ValueError) as error:
            out.append(dict(setting=name, error=str(error)))
    return out


def line(field, tool, r):
    if 'error' in r:
        return f"| {kind_of(field)} | {tool} {r['setting']} | failed: {r['error'][:80]} | | | | | |"
    row = []
    for k, s in r['scores'].items():
        nrmse = f"{s['nrmse_median']:.4f}/{s['nrmse_p95']:.4f}"
        shape = (f"{100 * s['dt_mean']:+.2f}/{100 * s['dt_rms']:.2f} | {1e3 * s['de1_rms']:.1f}/{1e3 * s['de2_rms']:.1f}" if 'dt_mean' in s else '- | -')
        first = k == min(r['scores'])
        row.append(f"| {kind_of(field)}{'' if k == 1 else f' {k}x'} | {tool} {r['setting']} | {nrmse} | {shape} | "
                   + (f"{r['stars']} / {100 * r['purity']:.1f} % | {r['cpu']:.1f} / {r['memory']:.0f} | {r['eval']:.2f} |" if first else '| | |'))
    return '\n'.join(row)


def main():
    if sys.argv[1:2] == ['--piff-worker']:
        field, catalogue, order, grid, *factors = sys.argv[2:]
        return piff_worker(field, catalogue, int(order), float(grid), [int(k) for k in factors])
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('field', nargs='+')
    ap.add_argument('--stillair', default='target/release/stillair')
    ap.add_argument('--tools', default='stillair,psfex,piff')
    ap.add_argument('--quick', action='store_true', help="peers with their own stars and one setting each (Piff takes minutes and gigabytes per setting)")
    ap.add_argument('--json')
    ap.add_argument('--all-settings', action='store_true', help="print every setting of a peer, not its best alone")
    a = ap.parse_args()
    result = {}
    print('| field | tool | NRMSE median/p95 | dT/T mean/rms % | de1/de2 rms 1e-3 | stars / purity | CPU s / MB | eval s |\n|---|---|---|---|---|---|---|---|')
    for field in map(os.path.abspath, a.field):
        factors = [1, 2, 3] if kind_of(field).startswith('euclid') else [1]
        for tool in a.tools.split(','):
            runs = {'stillair': lambda: stillair(os.path.abspath(a.stillair), field, factors), 'psfex': lambda: psfex(field, factors, a.quick), 'piff': lambda: piff(field, factors, a.quick)}[tool]()
            result.setdefault(kind_of(field), {})[tool] = runs
            fine = [r for r in runs if 'error' not in r]
            for r in runs if a.all_settings or not fine else [min(fine, key=lambda r: r['scores'][1]['nrmse_median'])]:
                print(line(field, tool, r), flush=True)
            if a.json:
                with open(a.json, 'w') as f:
                    json.dump(result, f, indent=1)


if __name__ == '__main__':
    main()
