"""What goes into the network and how its output gets its units back. Nothing here needs the truth.

scale  = max(peak, 5 noise_sigma), where peak is the largest value, within the central 16 x 16 target pixels, of the
         Tikhonov image averaged over 3 x 3 pixels, and noise_sigma the standard deviation of the noise per pixel of
         the Tikhonov image. The floor keeps an empty position from being blown up to the size of a source.
input  = tikhonov / scale
output * scale = sky as seen with the target PSF.

That is the rule `central-peak`. `observed-maximum` takes the largest pixel of the observed image, at least 5 sky_sigma.

`src/network/normalise.rs` computes the same.
"""

import numpy as np

BOX = 16
SMOOTH = 3
FLOOR_SIGMAS = 5.0


def central_peak(tikhonov: np.ndarray) -> np.ndarray:
    """Largest 3x3 mean within rows and columns n/2 - 8 .. n/2 + 7; tikhonov (N, n, n) -> (N,)."""
    n = tikhonov.shape[-1]
    low, high = n // 2 - BOX // 2, n // 2 + BOX // 2
    margin = SMOOTH // 2
    cut = tikhonov[:, low - margin : high + margin, low - margin : high + margin].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(cut, (SMOOTH, SMOOTH), axis=(1, 2))
    return windows.mean(axis=(3, 4)).max(axis=(1, 2))


def scale_of(tikhonov: np.ndarray, noise_sigma: np.ndarray) -> np.ndarray:
    """Scale of each stamp, (N,)."""
    return np.maximum(central_peak(tikhonov), FLOOR_SIGMAS * np.asarray(noise_sigma, dtype=np.float64))


def scales(rule: str, tikhonov, observed, noise_sigma, sky_sigma, folder, chunk: int = 1024) -> np.ndarray:
    """Scale of each stamp by a rule, (N,)."""
    if rule == "central-peak":
        parts = [scale_of(tikhonov[i : i + chunk], noise_sigma[i : i + chunk]) for i in range(0, len(tikhonov), chunk)]
    elif rule == "observed-maximum":
        if observed is None:
            raise ValueError(f"{folder}: no observed.npy, which the scale is made of; draw the stamps again")
        parts = [np.maximum(observed[i : i + chunk].max(axis=(1, 2)).astype(np.float64), FLOOR_SIGMAS * sky_sigma[i : i + chunk])
                 for i in range(0, len(observed), chunk)]
    else:
        raise ValueError(f"no rule {rule} of normalisation is known here")
    return np.concatenate(parts)
