"""The planes that networks are given, made of what a folder of stamps holds.

On the target grid, side n, the object's centre on n/2; O and H: transforms of `observed` (flux per target pixel, sky subtracted) and
of the PSF centred on 0.

observed               as it is
psf-correlated         O conj(H): correlation with the PSF
inverse-psf            O conj(H) / max(|H|, FLOOR)^2: the inverse filter where |H| >= FLOOR, falling to 0 below
inverse-psf-smoothed   that, smoothed with a round Gaussian of standard deviation SMOOTHING target pixels (1 arcsec at 0.2 arcsec a pixel)

`src/network/planes.rs` computes the same.
"""

import numpy as np

COMPANIONS = {"tikhonov-sharper": "sharper", "tikhonov-smoother": "smoother"}
NUMBERS = {"noise-sigma": "noise_sigma", "sky-sigma": "sky_sigma", "noise-sharper": "noise_sharper", "noise-smoother": "noise_smoother",
           "psf-fwhm": "psf_fwhm_target", "target-fwhm": "target_fwhm"}
WIDTHS = ("psf-fwhm", "target-fwhm")

FLOOR = 0.1
SMOOTHING = 5.0
OF_OBSERVED = ("observed", "psf-correlated", "inverse-psf", "inverse-psf-smoothed")


def of_observed(kinds, observed, psf):
    """(B, len(kinds), n, n) f32 from observed and PSF, (B, n, n) each."""
    n = observed.shape[-1]
    out = np.empty((len(observed), len(kinds), n, n), np.float32)
    if any(kind != "observed" for kind in kinds):
        o = np.fft.rfft2(np.asarray(observed, np.float64))
        h = np.fft.rfft2(np.fft.ifftshift(np.asarray(psf, np.float64), axes=(1, 2)))
        correlated = o * h.conj()
        inverse = correlated / np.maximum(np.abs(h), FLOOR) ** 2
        f2 = np.fft.fftfreq(n)[:, None] ** 2 + np.fft.rfftfreq(n)[None, :] ** 2
        gaussian = np.exp(-2 * (np.pi * SMOOTHING) ** 2 * f2)
    for k, kind in enumerate(kinds):
        if kind == "observed":
            out[:, k] = observed
        else:
            spectrum = {"psf-correlated": lambda: correlated, "inverse-psf": lambda: inverse,
                        "inverse-psf-smoothed": lambda: inverse * gaussian}[kind]()
            out[:, k] = np.fft.irfft2(spectrum, s=(n, n))
    return out


def images(stamps, kinds, rows):
    """Planes of the given rows, not scaled, (B, len(kinds), n, n) f32."""
    rows = np.asarray(rows)
    if kinds == ("tikhonov",):
        return np.asarray(stamps.tikhonov[rows], np.float32)[:, None]
    n = stamps.side
    out = np.empty((len(rows), len(kinds), n, n), np.float32)
    derived = tuple(kind for kind in kinds if kind in OF_OBSERVED)
    if derived:
        if stamps.observed is None:
            raise ValueError(f"{stamps.folder}: no observed.npy, which {', '.join(derived)} is made of; draw the stamps again")
        made = of_observed(derived, stamps.observed[rows], stamps.psf[rows])
    for k, kind in enumerate(kinds):
        if kind in OF_OBSERVED:
            out[:, k] = made[:, derived.index(kind)]
        elif kind == "tikhonov":
            out[:, k] = stamps.tikhonov[rows]
        elif kind in COMPANIONS:
            plane = getattr(stamps, COMPANIONS[kind])
            if plane is None:
                raise ValueError(f"{stamps.folder}: no {COMPANIONS[kind]}.npy; draw the stamps again")
            out[:, k] = plane[rows]
        elif kind in ("noise-sigma", "sky-sigma"):
            out[:, k] = scalar(stamps, kind, rows)[:, None, None]
        else:
            raise ValueError(f"no plane {kind} is known here")
    return out


def scalar(stamps, kind, rows):
    """A number per stamp, not scaled, (B,)."""
    values = getattr(stamps, NUMBERS[kind])
    if values is None:
        raise ValueError(f"{stamps.folder}/table.csv: no column {NUMBERS[kind]}; draw the stamps again")
    return values[rows]


def scaled_scalar(stamps, kind, rows):
    """As the adapter gives it to the graph: noise levels in units of the stamp's scale, widths in target pixels, (B,)."""
    value = scalar(stamps, kind, rows)
    return value if kind in WIDTHS else value / stamps.scale[rows]


def inputs(recipe, stamps, rows):
    """(image (B, C, n + 2 border, ...), [scalar (B,) ...], scale (B,)), all f32, scaled, as the adapter gives them to the graph."""
    scale = stamps.scale[rows].astype(np.float32)
    image = images(stamps, recipe.planes, rows) / scale[:, None, None, None]
    b = recipe.border
    if b:
        image = np.pad(image, ((0, 0), (0, 0), (b, b), (b, b)))
    return image, [scaled_scalar(stamps, kind, rows).astype(np.float32) for kind in recipe.scalars], scale
