"""Checks a stillair stamp file against its contract, as a user of astropy would read it.

    python check_stamps.py STAMPS.fits EXPECTED.json

EXPECTED.json: size, factor, ids, mag_zero, pixel_scale, target_fwhm (arcsec), flux_scale, put (indices of the stamps that exist).
In the test's stamps, the pixel (row r, column c) of stamp i of cube k holds 1000 k + 100 i + r + c / 256, times flux_scale except for the PSF.
"""

import json
import sys

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import QTable

path, expected_path = sys.argv[1:3]
want = json.load(open(expected_path))
n, s, ids = want["size"], want["factor"], want["ids"]

with fits.open(path) as hdus:
    hdus.verify("exception")
    names = [h.name for h in hdus]
    assert names == ["PRIMARY", "DECONVOLVED", "OBSERVED", "PSF", "TIKHONOV", "RESIDUAL", "STAMPS"], names
    for k, name in enumerate(names[1:6]):
        fine = name in ("DECONVOLVED", "PSF", "TIKHONOV")
        side = n * s if fine else n
        data, header = hdus[name].data, hdus[name].header
        assert data.shape == (len(ids), side, side) and data.dtype == ">f4", (name, data.shape, data.dtype)
        assert header["PIXFACT"] == (s if fine else 1)
        for card, value in (("PIXSCALE", want["pixel_scale"]), ("TGTFWHM", want["target_fwhm"]), ("MAGZERO", want["mag_zero"])):
            if card == "MAGZERO" and name == "PSF":
                value = None
            if card == "PIXSCALE" and value is not None and fine:
                value = value / s
            assert header.get(card) == value, (name, card, header.get(card), value)
        scale = 1 if name == "PSF" else want["flux_scale"]
        rows, columns = np.mgrid[:side, :side]
        for i in range(len(ids)):
            if i in want["put"]:
                model = np.float32(1000 * k + 100 * i) + rows + columns / 256
                np.testing.assert_allclose(data[i], model * scale, rtol=2e-7)
            else:
                assert np.isnan(data[i]).all()
    assert hdus[0].header.get("PIXSCALE") == hdus["DECONVOLVED"].header.get("PIXSCALE")
    assert hdus[0].header["EXPOSURE"] == "stamps"

table = QTable.read(path, hdu="STAMPS")
assert list(table["id"]) == ids
assert (table["x0"] == n * s // 2 * u.pixel).all() and (table["y0"] == n * s // 2 * u.pixel).all()
for i in want["put"]:
    assert table["ra"][i] == (150 + i) * u.deg and table["dec"][i] == -i * u.deg
    assert table["x_corner"][i] == (10 * i + 1) * u.pixel and table["y_corner"][i] == (20 * i + 1) * u.pixel
    assert table["x_observed"][i] == (n / 2 + 0.25) * u.pixel and table["y_observed"][i] == (n / 2 - 0.25) * u.pixel
if want["pixel_scale"] is not None:
    assert (table["pixel_scale"] == want["pixel_scale"] / s * u.arcsec).all()
    assert table["sigma"].unit == u.nJy
    assert abs(table["sigma"][want["put"][0]].value - 2 * want["flux_scale"]) < 1e-12 * want["flux_scale"]
print(f"{len(ids)} stamps follow the contract")
