"""The shape constraint of ShapeNet (Nammour et al. 2022): errors are also counted where they would move an object's shape.

    (1/2) sum r^2 + (gamma / 2) sum_ij mu_ij <r, psi_j * U_i>^2

r: output minus truth; U = {row, column, 1, row^2 + column^2, row^2 - column^2, row column}, coordinates from the middle of the
stamp; mu_ij = 1 / (count |psi_j * U_i|^2), so that gamma weighs the mean over the constraints. psi: a bank of wedges in the Fourier
plane (bands of an octave, cut into directions by raised cosines, and the low-pass that is left), tight: sum |psi|^2 = 1. The papers
use shearlets; the wedges part the plane alike and have no shear.
"""

import numpy as np
import torch

SCALES = 3
DIRECTIONS = (8, 8, 4)
GAMMA = 1.0


def bank(side: int) -> np.ndarray:
    """Transforms of the wedges and of the low-pass, (count, side, side), real, even, squares summing to 1."""
    f = np.fft.fftfreq(side)
    radius = np.hypot(f[:, None], f[None, :])
    angle = np.arctan2(f[:, None], f[None, :])

    def low(edge):
        """1 up to edge / 2, 0 from edge on, a raised cosine in log radius between."""
        t = np.clip(np.log2(np.maximum(radius, 1e-12) / (edge / 2)), 0.0, 1.0)
        return np.cos(0.5 * np.pi * t)

    out, above = [], np.ones_like(radius)
    for scale in range(SCALES):
        below = low(0.5 / 2**scale)
        band = np.sqrt(np.clip(above**2 - below**2, 0.0, None))
        count = DIRECTIONS[scale]
        for k in range(count):
            # Distance to the wedge's direction modulo pi, in wedges; neighbours meet at sin^2 + cos^2.
            off = (angle - np.pi * k / count + 0.5 * np.pi) % np.pi - 0.5 * np.pi
            near = np.clip(np.abs(off) * count / np.pi, 0.0, 1.0)
            out.append(band * np.cos(0.5 * np.pi * near))
        above = below
    out.append(above)
    return np.stack(out)


def constraints(side: int) -> np.ndarray:
    """psi_j * U_i divided by the root of (count |psi_j * U_i|^2), (count, side, side) f32."""
    x = np.arange(side) - (side - 1) / 2
    row, column = np.broadcast_to(x[:, None], (side, side)), np.broadcast_to(x[None, :], (side, side))
    moments = np.stack([row, column, np.ones((side, side)), row**2 + column**2, row**2 - column**2, row * column])
    spectra = np.fft.fft2(moments)
    out = np.concatenate([np.fft.ifft2(psi * spectra).real for psi in bank(side)])
    norms = np.sqrt(np.square(out).sum(axis=(1, 2)))
    # A band that holds nothing of a moment (1 has no detail) constrains nothing.
    out = out[norms > 1e-9 * norms.max()]
    return (out / np.sqrt(len(out) * np.square(out).sum(axis=(1, 2), keepdims=True))).astype(np.float32)


def loss(output, truth, filters, gamma: float = GAMMA):
    """Mean over the batch; images (B, n, n), filters (count, n, n)."""
    error = output - truth
    moments = torch.einsum("bij,kij->bk", error, filters)
    return (0.5 * error.square().sum(dim=(1, 2)) + 0.5 * gamma * moments.square().sum(dim=1)).mean()
