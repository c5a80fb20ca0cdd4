"""A quick maker of stamps in numpy and PyTorch, in the format of `stillair simulate --stamps`.

For tests of the training code and for first steps only: its galaxies are sums of analytic Fourier profiles, its PSFs
Gaussians and Moffat-like mixtures, its Tikhonov step the formula of the production code at factor 1 but not its code.
A network is shipped after training on stamps of the production code, never on these alone.
"""

import csv
from pathlib import Path

import numpy as np
import torch

FILES = ("tikhonov", "truth", "psf", "observed", "sharper", "smoother")
NAMES = ("noise_sigma", "sky_sigma", "psf_fwhm", "snr", "flux", "noise_sharper", "noise_smoother")
TARGET_FWHM = 2.0
SIGMA_PER_FWHM = 1.0 / (2.0 * np.sqrt(2.0 * np.log(2.0)))


def _exponential(k2, scale):
    return (1.0 + k2 * scale**2) ** -1.5


def _gaussian(k2, sigma):
    return torch.exp(-0.5 * k2 * sigma**2)


def make(count: int, side: int, seed: int):
    """(planes in the order of FILES, kinds, columns)."""
    g = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, 1, 1, generator=g)

    n = count
    k = torch.fft.fftfreq(side) * 2 * np.pi
    kx, ky = k[None, None, :], k[None, :, None]

    def elliptical(axis_ratio, angle):
        u = kx * torch.cos(angle) + ky * torch.sin(angle)
        v = -kx * torch.sin(angle) + ky * torch.cos(angle)
        return u**2 / axis_ratio + v**2 * axis_ratio

    kind = torch.rand(n, generator=g)
    blank, star = kind < 0.08, (kind >= 0.08) & (kind < 0.18)
    q, angle = uniform(0.25, 1.0, n), uniform(0, np.pi, n)
    k2 = elliptical(q, angle)
    radius = torch.exp(uniform(np.log(0.6), np.log(5.0), n))
    bulge_share = uniform(0, 1, n) ** 1.5
    bulge_radius = radius * uniform(0.15, 0.6, n)
    k2_bulge = elliptical(torch.clamp(q * 1.3, max=1.0), angle)
    # A peaked bulge as two exponentials of different size.
    bulge = 0.6 * _exponential(k2_bulge, bulge_radius * 0.35) + 0.4 * _exponential(k2_bulge, bulge_radius)
    sky = ((1 - bulge_share) * _exponential(k2, radius) + bulge_share * bulge).to(torch.complex64)
    clumpy = (torch.rand(n, 1, 1, generator=g) < 0.5).float()
    total = torch.ones(n, 1, 1)
    for _ in range(6):
        share = clumpy * uniform(0.0, 0.12, n)
        r, phi = radius * 2.5 * torch.sqrt(uniform(0, 1, n)), uniform(0, 2 * np.pi, n)
        x, y = r * torch.cos(phi), r * torch.sin(phi) * q
        cx, cy = x * torch.cos(angle) - y * torch.sin(angle), x * torch.sin(angle) + y * torch.cos(angle)
        sky = sky + share * _gaussian(kx**2 + ky**2, uniform(0.2, 1.2, n)) * torch.exp(-1j * (kx * cx + ky * cy))
        total = total + share
    sky = sky / total
    sky[star] = 1.0
    # The object's centre lies within half a pixel of n/2 in detector pixels; the Tikhonov step puts it on n/2.
    fwhm = torch.exp(uniform(np.log(2.0), np.log(8.0), n))
    e_psf, a_psf = uniform(0.8, 1.0, n), uniform(0, np.pi, n)
    k2_psf = elliptical(e_psf, a_psf)
    core = fwhm * SIGMA_PER_FWHM
    wing = uniform(0.0, 0.3, n)
    psf = (1 - wing) * _gaussian(k2_psf, core) + wing * _gaussian(k2_psf, 1.8 * core)
    target = _gaussian(kx**2 + ky**2, TARGET_FWHM * SIGMA_PER_FWHM)

    snr = torch.exp(uniform(np.log(3.0), np.log(1000.0), n))
    observed_clean = torch.fft.ifft2(sky * psf).real
    flux = torch.exp(uniform(np.log(50.0), np.log(5000.0), n))
    sigma = flux * torch.sqrt(observed_clean.square().sum(dim=(1, 2), keepdim=True)) / snr
    flux = torch.where(blank[:, None, None], torch.zeros(()), flux)
    noise = torch.randn(n, side, side, generator=g) * sigma
    y = torch.fft.fft2(flux * observed_clean + noise)
    laplace = 4 - 2 * torch.cos(kx) - 2 * torch.cos(ky)
    ratio = psf / target
    # Around the SNR law, and scattered, so that the network does not hang on one rule for lambda.
    strength = 3e-3 * 20.0 / snr * 10.0 ** (0.4 * torch.randn(n, 1, 1, generator=g))

    def restored(strength):
        inverse = ratio / (ratio**2 + strength * laplace**2)
        return torch.fft.ifft2(inverse * y).real, sigma * torch.sqrt(inverse.square().mean(dim=(1, 2), keepdim=True))

    tikhonov, noise_sigma = restored(strength)
    (sharper, noise_sharper), (smoother, noise_smoother) = restored(strength / 16), restored(strength * 16)
    truth = torch.fft.ifft2(flux * sky * target).real

    def centred(image):
        return torch.fft.fftshift(image, dim=(1, 2)).numpy().astype(np.float32)

    kinds = np.where(blank.numpy(), "blank", np.where(star.numpy(), "star", "galaxy"))
    columns = {name: t.flatten().numpy() for name, t in
               dict(noise_sigma=noise_sigma, sky_sigma=sigma, psf_fwhm=fwhm, snr=snr, flux=flux, noise_sharper=noise_sharper,
                    noise_smoother=noise_smoother).items()}
    columns["snr"] = np.where(kinds == "blank", 0.0, columns["snr"])
    psf = torch.fft.ifft2(psf + 0j).real
    return tuple(map(centred, (tikhonov, truth, psf, torch.fft.ifft2(y).real, sharper, smoother))), kinds, columns


def write(folder, count: int, side: int, seed: int, chunk: int = 1000):
    """Write `count` stamps into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(count, side, side))
              for name in FILES}
    with open(folder / "table.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow((*NAMES, "kind", "seed", "target_fwhm", "factor"))
        for start in range(0, count, chunk):
            here = min(chunk, count - start)
            planes, kinds, columns = make(here, side, seed * 1_000_003 + start)
            for name, values in zip(FILES, planes):
                arrays[name][start : start + here] = values
            for i in range(here):
                out.writerow((*(f"{columns[c][i]:.7g}" for c in NAMES), kinds[i], seed, TARGET_FWHM, 1))
