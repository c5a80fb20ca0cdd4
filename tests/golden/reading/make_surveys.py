"""Small files laid out as surveys lay theirs out, written by astropy (not by stillair).

Run: python make_surveys.py   (needs astropy, numpy)
euclid_vis.fits.gz     two quadrants, .SCI .RMS .FLG, MAGZEROP as a string
euclid_nisp.fits       one detector, .SCI .RMS .DQ, MSK_FLAG_ cards
lsst_images.fits       lsst-images: JSONADDR, MSKN/MSKM cards, GZIP_2
c4d_000000_000000_oo[iwd]_r_v1.fits.fz   DECam trio of two CCDs, tile-compressed
hst_like.fits          SCI, ERR, DQ with EXTVER 1 and 2
photocalib.fits        afw IMAGE/MASK/VARIANCE with a PhotoCalib table
"""

import numpy as np
from astropy.io import fits

rng = np.random.default_rng(11)
ny, nx = 36, 40


def noise(sigma, level=0.0):
    return rng.normal(level, sigma, (ny, nx)).astype("f4")


def flat(value):
    return np.full((ny, nx), value, "f4")


def wcs(header, code="TAN", scale=0.1):
    header["CTYPE1"], header["CTYPE2"] = f"RA---{code}", f"DEC--{code}"
    header["CRVAL1"], header["CRVAL2"], header["CRPIX1"], header["CRPIX2"] = 53.1, -27.8, 20.0, 18.0
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -scale / 3600, 0.0, 0.0, scale / 3600
    header["CUNIT1"] = header["CUNIT2"] = "deg"


primary = fits.PrimaryHDU()
primary.header["INSTRUME"], primary.header["EXPTIME"], primary.header["OBS_ID"] = "VIS", 560.52, 2113
hdus = [primary]
for quadrant in ("1-1.E", "3-4.F"):
    flags = np.zeros((ny, nx), "i4")
    flags[0, 0], flags[0, 1], flags[0, 2], flags[0, 3], flags[1, 1] = 0x8, 0x10, 0x1, 0x40000, 0x2
    for name, data in ((".SCI", noise(5.0, 40.0)), (".RMS", flat(5.0)), (".FLG", flags)):
        hdu = fits.ImageHDU(data, name=quadrant + name)
        wcs(hdu.header, "TPV")
        hdu.header["PV1_1"], hdu.header["PV2_1"], hdu.header["PV1_2"] = 1.0, 1.0, 1e-4
        hdu.header["MAGZEROP"], hdu.header["GAIN"], hdu.header["SATURATE"] = "24.57", 3.48, 60000.0
        hdus.append(hdu)
fits.HDUList(hdus).writeto("euclid_vis.fits.gz", overwrite=True)

primary = fits.PrimaryHDU()
primary.header["INSTRUME"], primary.header["EXPTIME"], primary.header["FILTER"] = "NISP", 87.2, "H"
hdus = [primary]
dq = np.zeros((ny, nx), "i4")
dq[5, 5], dq[6, 6], dq[7, 7] = 1, 4, 256
for name, data in ((".SCI", noise(3.0)), (".RMS", flat(3.0)), (".DQ", dq)):
    hdu = fits.ImageHDU(data, name="DET11" + name)
    wcs(hdu.header, scale=0.3)
    hdu.header["ZPAB"] = 25.1
    if name == ".DQ":
        hdu.header["HIERARCH MSK_FLAG_INVALID"] = 1
        hdu.header["HIERARCH MSK_FLAG_HOT"] = 4
        hdu.header["HIERARCH MSK_FLAG_OBJECTS"] = 256
    hdus.append(hdu)
fits.HDUList(hdus).writeto("euclid_nisp.fits", overwrite=True)

primary = fits.PrimaryHDU()
for key in ("INDXADDR", "INDXSIZE", "JSONADDR", "JSONSIZE"):
    primary.header[key] = 0
primary.header["FILTER"] = "i"
mask = np.zeros((ny, nx), "i4")
mask[2, 3], mask[4, 5], mask[6, 7], mask[8, 9] = 1, 2, 32, 1 << 9
hdus = [primary]
for name, data in (("IMAGE", noise(2.0)), ("MASK", mask), ("VARIANCE", flat(4.0))):
    hdu = fits.CompImageHDU(data, name=name, compression_type="GZIP_2", quantize_level=0.0)
    hdu.header["BUNIT"] = "nJy"
    wcs(hdu.header, scale=0.2)
    if name == "MASK":
        planes = ["BAD", "SATURATED", "INTERPOLATED", "COSMIC_RAY", "DETECTION_EDGE", "DETECTED"]
        for n, plane in enumerate(planes):
            hdu.header[f"MSKN{n:04d}"], hdu.header[f"MSKM{n:04d}"] = plane, 1 << n
        hdu.header["MSKN0009"], hdu.header["MSKM0009"] = "NEW_PLANE", 1 << 9
    hdus.append(hdu)
fits.HDUList(hdus).writeto("lsst_images.fits", overwrite=True)

codes = np.zeros((ny, nx), "i4")
codes[0, 0], codes[0, 1], codes[0, 2], codes[0, 3] = 1, 3, 5, 7
for tag, kind in (("i", "image"), ("w", "wtmap"), ("d", "dqmask")):
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"], primary.header["EXPNUM"], primary.header["EXPTIME"] = "DECam", 123456, 90.0
    primary.header["FILTER"], primary.header["MAGZERO"] = "r DECam SDSS c0002 6415.0 1480.0", 30.1
    primary.header["PLVER"] = "V4.8.2"
    hdus = [primary]
    for n, ccd in enumerate(("N4", "S21")):
        data = {"i": noise(4.0, 200.0 + n), "w": flat(1 / 16.0), "d": codes}[tag]
        kwargs = {} if tag == "d" else {"quantize_level": 4.0, "quantize_method": 1, "dither_seed": 5}
        hdu = fits.CompImageHDU(data, name=ccd, compression_type="RICE_1", **kwargs)
        hdu.header["CCDNUM"], hdu.header["GAINA"], hdu.header["GAINB"] = 60 + n, 4.0, 4.2
        hdu.header["SATURATE"] = 45000.0
        wcs(hdu.header, "TPV", 0.262)
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(f"c4d_000000_000000_oo{tag}_r_v1.fits.fz", overwrite=True)

primary = fits.PrimaryHDU()
primary.header["INSTRUME"], primary.header["ROOTNAME"] = "ACS", "jxxx01"
hdus = [primary]
for version in (1, 2):
    for name, data in (("SCI", noise(0.5, version)), ("ERR", flat(0.5)), ("DQ", np.zeros((ny, nx), "i2"))):
        hdu = fits.ImageHDU(data, name=name, ver=version)
        hdu.header["BUNIT"] = "ELECTRONS"
        hdus.append(hdu)
hdus[3].data[1, 2] = 4
fits.HDUList(hdus).writeto("hst_like.fits", overwrite=True)

primary = fits.PrimaryHDU()
primary.header["AR_HDU"], primary.header["EXPID"], primary.header["DETNAME"] = 5, 2024, "R22_S11"
hdus = [primary]
mask = np.zeros((ny, nx), "i4")
mask[0, :4] = 1, 2, 8, 32
for name, data in (("IMAGE", noise(1.5)), ("MASK", mask), ("VARIANCE", flat(2.25))):
    hdu = fits.ImageHDU(data, name=name)
    hdu.header["EXTTYPE"] = name
    wcs(hdu.header, scale=0.2)
    if name == "MASK":
        hdu.header["MP_BAD"], hdu.header["MP_SAT"], hdu.header["MP_CR"] = 0, 1, 3
        hdu.header["HIERARCH MP_DETECTED"] = 5
    hdus.append(hdu)
hdus[1].data[9, 9] = np.nan
table = fits.BinTableHDU.from_columns([
    fits.Column("calibrationMean", "D", array=[2.5]), fits.Column("calibrationErr", "D", array=[0.01]),
    fits.Column("isConstant", "L", array=[True]),
], name="PhotoCalib")
hdus.append(table)
fits.HDUList(hdus).writeto("photocalib.fits", overwrite=True)
