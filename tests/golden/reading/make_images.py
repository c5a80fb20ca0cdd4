"""Golden pixels, from astropy: images.fits (every storage stillair meets) and images.bin.

Run: python make_images.py   (needs astropy, numpy)
images.bin holds, for each extension of images.fits in order, what astropy reads there, as little-endian float32,
row after row, undefined pixels NaN.
"""

import numpy as np
from astropy.io import fits

rng = np.random.default_rng(3)
ny, nx = 23, 37
sky = rng.normal(100.0, 5.0, (ny, nx)).astype("f4")
holes = sky.copy()
holes[3, 5] = np.nan
holes[10:12, 20:30] = np.nan
zeros = holes.copy()
zeros[15, :8] = 0.0
counts = rng.poisson(900, (ny, nx)).astype("i2")
blanked = counts.copy()
blanked[2, 7] = blanked[20, 36] = -32768
bits = (1 << rng.integers(0, 20, (ny, nx))) * rng.integers(0, 2, (ny, nx))

hdus = [fits.PrimaryHDU()]


def image(name, data, **cards):
    hdu = fits.ImageHDU(data, name=name)
    for key, value in cards.items():
        hdu.header[key] = value
    hdus.append(hdu)


def packed(name, data, kind, level=None, **options):
    if level is not None:
        options["quantize_level"] = level
    hdus.append(fits.CompImageHDU(data, name=name, compression_type=kind, **options))


image("FLOAT_NAN", holes)
image("DOUBLE", sky.astype("f8"))
scaled = fits.ImageHDU(blanked, name="SCALED_BLANK", do_not_scale_image_data=True)
scaled.header["BSCALE"], scaled.header["BZERO"], scaled.header["BLANK"] = 0.25, 10.0, -32768
hdus.append(scaled)
image("UNSIGNED", (counts.astype("u2") + 33000).astype("u2"))
image("BYTES", (counts % 251).astype("u1"))
image("BITS", bits.astype("i4"))
packed("RICE_DITHER_1", holes, "RICE_1", 16.0, quantize_method=1, dither_seed=42, tile_shape=(8, 16))
packed("RICE_DITHER_2", zeros, "RICE_1", 16.0, quantize_method=2, dither_seed=42)
packed("GZIP_2_LOSSLESS", holes, "GZIP_2", 0.0)
packed("GZIP_1_QUANTISED", holes, "GZIP_1", 8.0, quantize_method=1, dither_seed=7)
packed("RICE_INTEGER", counts, "RICE_1", tile_shape=(23, 37))
packed("HCOMPRESS", counts, "HCOMPRESS_1", tile_shape=(23, 37))
packed("PLIO", bits.astype("i4"), "PLIO_1")
packed("GZIP_2_BITS", bits.astype("i4"), "GZIP_2")

fits.HDUList(hdus).writeto("images.fits", overwrite=True)
with fits.open("images.fits") as file, open("images.bin", "wb") as out:
    for hdu in file[1:]:
        out.write(hdu.data.astype("<f4").tobytes())
