"""The training loss. Per stamp, with everything divided by the stamp's scale (normalise.py):

  L = sum_p w (x - t)^2 / D  +  BETA (sum_p v (x - t))^2 / D_F

x output, t truth, w = 0.1 + exp(-r^2 / 2 6^2) + 2 exp(-r^2 / 2 2.5^2) and v = exp(-r^2 / 2 12^2), r = distance in target
pixels from the object's centre.

D   = 0.01 S + N     N = noise_sigma^2 sum w, S = max(sum w tikhonov^2 - N, 0)
D_F = 0.0003 F^2 + N_F   N_F = sky_sigma^2 sum v^2, F = sum v tikhonov

So where noise rules, the error counts in units of the input's noise; where the source rules, it counts relative to the
source: no SNR drowns the others. D and D_F are made of the input alone: a weight that depends on the truth would pull
the estimate away from the mean of the possible skies, and the fluxes with it.
"""

import numpy as np

from .cae import HEADROOM

BETA = 0.1
PIXEL_FLOOR, PIXEL_SIGMA, CORE_WEIGHT, CORE_SIGMA, FLUX_SIGMA = 0.1, 6.0, 2.0, 2.5, 12.0
SIGNAL_SHARE, FLUX_SHARE = 0.01, 0.0003


def windows(side: int):
    """(w, v), both (side, side) f32."""
    axis = np.arange(side) - side // 2
    r2 = axis[:, None] ** 2 + axis[None, :] ** 2
    w = PIXEL_FLOOR + np.exp(-r2 / (2 * PIXEL_SIGMA**2)) + CORE_WEIGHT * np.exp(-r2 / (2 * CORE_SIGMA**2))
    v = np.exp(-r2 / (2 * FLUX_SIGMA**2))
    return w.astype(np.float32), v.astype(np.float32)


def denominators(stamps, chunk: int = 1024):
    """(D, D_F) of every stamp, in units of scale^2."""
    w, v = windows(stamps.side)
    d, d_flux = np.empty(len(stamps)), np.empty(len(stamps))
    for i in range(0, len(stamps), chunk):
        part = slice(i, i + chunk)
        x = stamps.tikhonov[part] / stamps.scale[part, None, None]
        noise = (stamps.noise_sigma[part] / stamps.scale[part]) ** 2 * w.sum(dtype=np.float64)
        sky = (stamps.sky_sigma[part] / stamps.scale[part]) ** 2 * np.square(v, dtype=np.float64).sum()
        energy = np.einsum("nij,ij->n", x * x, w)
        flux = np.einsum("nij,ij->n", x, v)
        d[part] = SIGNAL_SHARE * np.maximum(energy - noise, 0.0) + noise
        d_flux[part] = FLUX_SHARE * flux**2 + sky
    return d, d_flux


def loss(output, truth, w, v, d, d_flux):
    """Mean loss of a batch; images (B, n, n), windows (B, n, n) cropped alike, d and d_flux (B,)."""
    error = output - truth
    pixels = (w * error.square()).sum(dim=(1, 2)) / d
    flux = (v * error).sum(dim=(1, 2)).square() / d_flux
    return (pixels + BETA * flux).mean(), pixels.mean().detach(), flux.mean().detach()


KINDS = ("balanced", "mse", "l1", "bce", "shape")


def plain(kind: str, output, truth):
    """The papers' losses on normalised images, mean over the pixels: `mse`, `l1`, or `bce`, the cross-entropy of images in
    [0, 1], which the CAE's are once divided by its headroom (clipped there, as Keras does)."""
    if kind == "mse":
        return (output - truth).square().mean()
    if kind == "l1":
        return (output - truth).abs().mean()
    if kind == "bce":
        p = (output / HEADROOM).clamp(1e-6, 1 - 1e-6)
        t = (truth / HEADROOM).clamp(0.0, 1.0)
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()
    raise ValueError(f"no loss {kind}; there are {', '.join(KINDS)}")
