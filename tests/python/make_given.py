"""Writes catalogues as surveys and tools do, for the reader of given catalogues.

    python make_given.py FOLDER

The same three objects everywhere: FITS pixels (10.5, 20.25), (30, 40), (50.125, 60); ra 150 + k / 8, dec 2 + k / 16, ids 11, 22, 33.
"""

import sys

import astropy.units as u
import numpy as np
import pandas
from astropy.io import fits
from astropy.table import Table

folder = sys.argv[1]
x = np.array([10.5, 30, 50.125])
y = np.array([20.25, 40, 60])
ra = 150 + np.arange(3) / 8
dec = 2 + np.arange(3) / 16
ids = np.array([11, 22, 33])

# SExtractor FITS_LDAC: the header as a table of its own first
ldac = fits.HDUList([
    fits.PrimaryHDU(),
    fits.BinTableHDU(Table({"Field Header Card": np.array([b"SIMPLE"])}), name="LDAC_IMHEAD"),
    fits.BinTableHDU(
        Table({"NUMBER": ids.astype("i4"), "XWIN_IMAGE": x, "YWIN_IMAGE": y, "ALPHA_J2000": ra, "DELTA_J2000": dec,
               "VIGNET": np.zeros((3, 5, 5), "f4")}),
        name="LDAC_OBJECTS",
    ),
])
ldac.writeto(f"{folder}/sextractor_ldac.fits")
# Euclid MER
Table({"OBJECT_ID": ids, "RIGHT_ASCENSION": ra, "DECLINATION": dec}).write(f"{folder}/euclid_mer.fits")
# LSST afw source table: radians
afw = Table({"id": ids, "coord_ra": np.radians(ra) * u.rad, "coord_dec": np.radians(dec) * u.rad})
afw.write(f"{folder}/afw.fits")
afw.write(f"{folder}/afw.fits.gz")
# LSST source table, pixels from 0, 64-bit ids
pandas.DataFrame({"sourceId": ids, "ra": ra, "dec": dec, "x": x - 1, "y": y - 1}).to_parquet(f"{folder}/lsst.parquet")
# photutils, pixels from 0
Table({"id": ids, "xcentroid": x - 1, "ycentroid": y - 1}).write(f"{folder}/photutils.ecsv")
# identifiers as text
Table({"ID": ids.astype(str), "ra": ra, "dec": dec}).write(f"{folder}/text_ids.fits")
# masked cells
masked = Table({"id": ids, "ra": ra, "dec": dec}, masked=True)
masked["ra"].mask = [False, True, False]
masked.write(f"{folder}/masked.csv")
pandas.DataFrame({"id": ids, "ra": [ra[0], None, ra[2]], "dec": dec}).to_parquet(f"{folder}/nulls.parquet")
print("written")
