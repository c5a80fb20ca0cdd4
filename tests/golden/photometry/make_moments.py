"""Golden values for tests/photometry.rs: adaptive moments by galsim.hsm, radii and fluxes by GalSim and photutils.

Run with a Python that has galsim (2.8), photutils, astropy, numpy:  python make_moments.py
Writes moments.fits (a cube of float32 stamps) and moments.json beside itself."""
import json
import os

import galsim
import numpy as np
from astropy.io import fits
from photutils.aperture import CircularAperture, aperture_photometry

HERE = os.path.dirname(os.path.abspath(__file__))
N = 44
psf = galsim.Moffat(beta=3.0, fwhm=3.2)
cases = [
    ("round Gaussian", galsim.Gaussian(sigma=2.0, flux=100.0), (0.0, 0.0), 0.0),
    ("sheared Gaussian", galsim.Gaussian(sigma=2.3, flux=500.0).shear(g1=0.2, g2=-0.13), (0.31, -0.43), 0.0),
    ("exponential, seen", galsim.Convolve(galsim.Exponential(half_light_radius=2.0, flux=1000.0).shear(g1=-0.25, g2=0.1), psf), (-0.2, 0.45), 0.0),
    ("Sersic 4, seen", galsim.Convolve(galsim.Sersic(n=4, half_light_radius=2.2, flux=2000.0).shear(e1=0.3, e2=0.3), psf), (0.1, 0.2), 0.0),
    ("Moffat", psf.withFlux(300.0).shear(g1=0.03, g2=0.02), (0.5, 0.0), 0.0),
    ("noisy exponential", galsim.Convolve(galsim.Exponential(half_light_radius=2.5, flux=3000.0).shear(g1=0.1, g2=0.3), psf), (0.0, -0.3), 3.0),
    ("small", galsim.Gaussian(sigma=1.0, flux=10.0).shear(g1=0.1, g2=0.0), (-0.4, 0.4), 0.0),
]
rng = galsim.BaseDeviate(7)
stamps, golden = [], []
for name, profile, (dx, dy), noise in cases:
    image = profile.shift(dx, dy).drawImage(nx=N, ny=N, scale=1.0, dtype=float)
    if noise:
        image.addNoise(galsim.GaussianNoise(rng, sigma=noise))
    array = image.array.astype("f4")
    stamps.append(array)
    image = galsim.Image(array.astype(float), xmin=0, ymin=0)
    m = galsim.hsm.FindAdaptiveMom(image)
    aperture = aperture_photometry(array.astype(float), CircularAperture((m.moments_centroid.x, m.moments_centroid.y), 6.3))
    golden.append(dict(name=name, noise=noise, x=m.moments_centroid.x, y=m.moments_centroid.y, sigma=m.moments_sigma,
                       e1=m.observed_shape.e1, e2=m.observed_shape.e2, flux=m.moments_amp, rho4=m.moments_rho4,
                       aperture_radius=6.3, aperture_flux=float(aperture["aperture_sum"][0])))
fits.PrimaryHDU(np.array(stamps)).writeto(f"{HERE}/moments.fits", overwrite=True)
json.dump(golden, open(f"{HERE}/moments.json", "w"), indent=1)
for g in golden:
    print(g)
