#!/usr/bin/env python3
"""Reference images of profiles by GalSim, for tests/simulate.rs.

usage: make_profiles.py   (writes profiles.json beside itself; needs galsim and numpy)

Each case is drawn at pixel scale 1 with the pixel's response in ("fft"), centred at `centre` (0-based column, row) of an n x n image.
Pixels are whole numbers of `unit`, a 100,000th of the image's maximum.
"""
import json, pathlib
import galsim, numpy as np

galsim_params = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-4, maxk_threshold=1e-5, kvalue_accuracy=1e-7)
n = 40
cases = []


def draw(profile, centre, pixel=True):
    image = galsim.ImageD(n, n, scale=1.0)
    # GalSim's pixels are 1-based
    profile.drawImage(image, center=galsim.PositionD(centre[0] + 1, centre[1] + 1), method='auto' if pixel else 'no_pixel')
    return image.array


def add(name, profile, centre, pixel=True, gsparams=galsim_params, **parameters):
    values = draw(profile.withGSParams(gsparams), centre, pixel)
    cases.append(dict(name=name, n=n, centre=centre, pixel=pixel, unit=float(values.max() * 1e-5),
                      pixels=[round(float(v / values.max() * 1e5)) for v in values.ravel()], **parameters))


psf = galsim.Moffat(beta=2.75, fwhm=3.5).shear(g1=0.04, g2=-0.06)
kernel = dict(psf='moffat', fwhm=3.5, beta=2.75, psf_g1=0.04, psf_g2=-0.06)
add('moffat 2.75', psf, (20.3, 19.6), **kernel)
add('moffat 4.5 narrow', galsim.Moffat(beta=4.5, fwhm=2.0), (20.0, 20.0), psf='moffat', fwhm=2.0, beta=4.5, psf_g1=0.0, psf_g2=0.0)
add('kolmogorov', galsim.Kolmogorov(fwhm=4.0).shear(g1=0.1, g2=0.05), (19.75, 20.5), psf='kolmogorov', fwhm=4.0, psf_g1=0.1, psf_g2=0.05)
add('airy', galsim.Airy(lam_over_diam=1 / 0.45, obscuration=0.3, scale_unit=galsim.arcsec), (20.0, 20.25), psf='airy', cutoff=0.45, obscuration=0.3)
for sersic_n in (1.0, 2.5, 4.0):
    galaxy = galsim.Sersic(sersic_n, half_light_radius=4.0).shear(g1=0.2, g2=0.1)
    add('sersic %g' % sersic_n, galsim.Convolve(galaxy, psf), (20.4, 19.8), n_sersic=sersic_n, hlr=4.0, g1=0.2, g2=0.1, **kernel)
galaxy = galsim.Sersic(1.7, half_light_radius=2.0).shear(g1=-0.3, g2=0.2)
add('sersic 1.7 seen by the target', galsim.Convolve(galaxy, galsim.Gaussian(fwhm=2.0)), (20.0, 20.0), pixel=False,
    psf='gaussian', fwhm=2.0, psf_g1=0.0, psf_g2=0.0, n_sersic=1.7, hlr=2.0, g1=-0.3, g2=0.2)
wave = galsim.OpticalPSF(lam_over_diam=1 / 0.45, obscuration=0.3, defocus=0.05, astig1=0.03, astig2=-0.04, coma1=0.02, coma2=0.05,
                         oversampling=3.0, pad_factor=3.0, scale_unit=galsim.arcsec)
add('aberrated pupil', wave, (20.0, 20.0), gsparams=galsim.GSParams(), psf='telescope', cutoff=0.45, obscuration=0.3, defocus=0.05, astig1=0.03, astig2=-0.04,
    coma1=0.02, coma2=0.05)

out = pathlib.Path(__file__).with_name('profiles.json')
out.write_text('{"galsim": "%s", "cases": [\n' % galsim.__version__ + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]}\n')
print(out, out.stat().st_size, [(c['name'], round(sum(c['pixels']) * c['unit'], 4)) for c in cases])
