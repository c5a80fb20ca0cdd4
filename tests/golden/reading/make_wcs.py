"""Golden values of world coordinates, from astropy (wcslib): wcs.json.

Run: python make_wcs.py   (needs astropy, numpy)
Each case: the header cards, pixel positions (FITS, 1-based), their sky positions in degrees, and at the
first of them the Jacobian d(xi, eta)/d(x, y) in arcsec per pixel (xi east, eta north).
"""

import json
import warnings

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

warnings.simplefilter("ignore")
rng = np.random.default_rng(7)
S = 0.2 / 3600


def base(code, crval=(150.1, 2.2), crpix=(1024.5, 1000.25)):
    return {
        "CTYPE1": f"RA---{code}", "CTYPE2": f"DEC--{code}", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": crval[0], "CRVAL2": crval[1], "CRPIX1": crpix[0], "CRPIX2": crpix[1], "RADESYS": "ICRS",
    }


def cd(scale=S, angle=25.0, flip=-1.0):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return {"CD1_1": flip * scale * c, "CD1_2": scale * s, "CD2_1": -flip * scale * s, "CD2_2": scale * c}


def sip(inverse):
    cards = {"A_ORDER": 3, "B_ORDER": 3}
    for p in range(4):
        for q in range(4 - p):
            if p + q >= 2:
                size = {2: 2e-6, 3: 4e-10}[p + q]
                cards[f"A_{p}_{q}"] = float(size * rng.standard_normal())
                cards[f"B_{p}_{q}"] = float(size * rng.standard_normal())
    if inverse:
        cards |= {"AP_ORDER": 3, "BP_ORDER": 3}
        for p in range(4):
            for q in range(4 - p):
                if p + q >= 2:
                    cards[f"AP_{p}_{q}"] = -cards[f"A_{p}_{q}"]
                    cards[f"BP_{p}_{q}"] = -cards[f"B_{p}_{q}"]
    return cards


def pv():
    """A camera of a degree: coefficients of the size a wide-field imager has."""
    cards = {}
    sizes = [2e-3, None, 3e-4, 0.0, 8e-3, 3e-3, 7e-4, 7e-3, 2e-3, 3e-3, 5e-3]
    for axis in (1, 2):
        for m, size in enumerate(sizes):
            value = 1.0 + 0.01 * rng.standard_normal() if m == 1 else size * rng.standard_normal()
            cards[f"PV{axis}_{m}"] = float(value)
    return cards


cases = {
    "tan_cd": base("TAN") | cd(),
    "tan_pc": base("TAN") | {"CDELT1": -S, "CDELT2": S, "PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8},
    "tan_crota": base("TAN") | {"CDELT1": -S, "CDELT2": S, "CROTA2": 33.0},
    "tan_pole": base("TAN", crval=(10.0, 89.95)) | cd(),
    "tan_wrap": base("TAN", crval=(359.999, -45.0)) | cd(),
    "sip": base("TAN-SIP") | cd() | sip(False),
    "sip_inverse": base("TAN-SIP") | cd(angle=-70.0) | sip(True),
    "tpv": base("TPV", crpix=(-2500.0, 3000.0)) | cd() | pv(),
    "scamp": base("TAN", crpix=(-2500.0, 3000.0)) | cd(angle=91.0) | pv(),
    "declination_first": {
        "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.2, "CRVAL2": 150.1, "CRPIX1": 100.0, "CRPIX2": 90.0,
        "CD1_1": 0.0, "CD1_2": S, "CD2_1": -S, "CD2_2": 0.0, "CUNIT1": "deg", "CUNIT2": "deg",
    },
    # LSST's "A" description holds the offset of the cut-out and must not be taken for the sky.
    "lsst_offset": base("TAN-SIP") | cd() | sip(True) | {
        "CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CRPIX1A": 1.0, "CRPIX2A": 1.0, "CRVAL1A": 1200.0, "CRVAL2A": 340.0,
        "CUNIT1A": "PIXEL", "CUNIT2A": "PIXEL",
    },
}

result = []
for name, cards in cases.items():
    header = fits.Header()
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, 2048, 2000
    for key, value in cards.items():
        header[key] = value
    wcs = WCS(header)
    swap = name == "declination_first"
    n = 40
    x, y = rng.uniform(1, 2048, n), rng.uniform(1, 2000, n)

    def sky(x, y):
        a, b = wcs.all_pix2world(x, y, 1)
        return (b, a) if swap else (a, b)

    ra, dec = sky(x, y)

    def tangent(dx, dy):
        r, d = (np.radians(v) for v in sky(x[0] + dx, y[0] + dy))
        r0, d0 = np.radians(ra[0]), np.radians(dec[0])
        depth = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(r - r0)
        east = np.cos(d) * np.sin(r - r0) / depth
        north = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(r - r0)) / depth
        return np.degrees(np.array([east, north])) * 3600

    h = 2.0
    columns = [(tangent(h, 0) - tangent(-h, 0)) / (2 * h), (tangent(0, h) - tangent(0, -h)) / (2 * h)]
    result.append({
        "name": name, "cards": cards, "x": x.tolist(), "y": y.tolist(), "ra": ra.tolist(), "dec": dec.tolist(),
        "jacobian": np.array(columns).T.tolist(),
    })

with open("wcs.json", "w") as file:
    json.dump(result, file)
