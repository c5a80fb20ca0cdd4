"""Whole images through a network with a border, tile by tile: any image size, bounded memory, the same pixels as in one go."""

import numpy as np


def tiled(run, image: np.ndarray, tile: int, border: int) -> np.ndarray:
    """`run` takes (1, 1, tile + 2 border, ...) to (1, 1, tile, ...); the image (rows, columns) is continued with 0, the sky."""
    rows, columns = image.shape
    down, across = -(-rows // tile), -(-columns // tile)
    padded = np.pad(image, ((border, border + down * tile - rows), (border, border + across * tile - columns)))
    out = np.empty((down * tile, across * tile), np.float32)
    wide = tile + 2 * border
    for y in range(0, down * tile, tile):
        for x in range(0, across * tile, tile):
            part = np.ascontiguousarray(padded[y : y + wide, x : x + wide], np.float32)
            out[y : y + tile, x : x + tile] = run(part[None, None])[0, 0]
    return out[:rows, :columns]
