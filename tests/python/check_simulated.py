"""Opens a simulated exposure and its truth as a user would: check_simulated.py EXPOSURE.fits TRUTH.fits IMAGE_HDU"""
import sys

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

exposure, truth, name = sys.argv[1:4]
with fits.open(exposure) as hdus:
    hdus.verify('exception')
    image, header = hdus[name].data, hdus[name].header
    assert image.dtype.kind == 'f' and np.isfinite(image).all()
table = QTable.read(truth, hdu='TRUTH')
assert str(table['flux'].unit) == 'nJy' and str(table['ra'].unit) == 'deg'
ra, dec = WCS(header).all_pix2world(table['x'].value, table['y'].value, 1)
assert np.abs(ra - table['ra'].value).max() * 3600 < 1e-4 and np.abs(dec - table['dec'].value).max() * 3600 < 1e-4
with fits.open(truth) as hdus:
    hdus.verify('exception')
    assert np.allclose(hdus['PSF'].data.sum((1, 2)), 1, atol=1e-5)
    assert len(hdus['PSFPOS'].data) == len(hdus['PSF'].data)
