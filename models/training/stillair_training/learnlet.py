"""Learnlets (Ramzi et al. 2021; Akhaury et al. 2022): a wavelet-like denoiser with learned filters and thresholds in units of the noise.

Two sizes: 44,840 numbers (analysis 3x3, synthesis 5x5; 43,530 trained, 1,285 noise levels, 25 fixed B3-spline taps) and 372,050
trained (analysis 11x11, synthesis 13x13; the paper prints "372,000" beside 3x3 and 5x5, which do not go together).

Per scale j, with the detail d of a decimated pyramid divided by WNORM[j]:

    out = WNORM[j] (T(d) + W * [T(A d) - A(T d)])

A: 256 filters of unit norm; T: soft threshold at alpha sigma s, s = standard deviation of that channel for noise of unit variance; W:
synthesis. With all thresholds 0 the bracket vanishes and the pyramid is undone: exact reconstruction.
The large network has one threshold per scale and a 257th synthesis channel, T(d) - T(T(d)), which vanishes likewise.

Unlike the public code, s is measured on the noise that the Tikhonov step leaves (`measure_noise` is given Tikhonov images of blank
sky divided by their noise), not on white noise, and sigma is that of the Tikhonov image, not of the observed one.

Axes are (batch, channel, row, column); rows and columns must be multiples of 32. sigma has shape (batch).
"""

import torch
from torch import nn
from torch.nn import functional as F

SIDE_MULTIPLE = 32
WNORM = (0.917383, 0.213722, 0.0925947, 0.0453924, 0.0224880)
FILTERS = 256
ALPHA_MAX = 5.0
MOMENTUM = 0.05


def soft(x, level):
    """Soft threshold, as ReLUs (ONNX has no Shrink by a tensor)."""
    return F.relu(x - level) - F.relu(-x - level)


def mirrored(x):
    """Two more rows and columns on every side, the border pixel repeated (symmetric padding)."""
    x = torch.cat([x[:, :, 1:2], x[:, :, :1], x, x[:, :, -1:], x[:, :, -2:-1]], dim=2)
    return torch.cat([x[..., 1:2], x[..., :1], x, x[..., -1:], x[..., -2:-1]], dim=3)


class Learnlet(nn.Module):
    """(batch, 1, n, n) normalised Tikhonov image and its noise (batch) to (batch, 1, n, n)."""

    def __init__(self, analysis: int = 3, synthesis: int = 5, identity_synthesis: bool = False):
        super().__init__()
        scales = len(WNORM)
        self.identity_synthesis = identity_synthesis
        self.channels = FILTERS + (1 if identity_synthesis else 0)
        self.analysis = nn.ParameterList(nn.Parameter(torch.randn(FILTERS, 1, analysis, analysis)) for _ in range(scales))
        self.synthesis = nn.ParameterList(
            nn.Parameter(torch.randn(1, self.channels, synthesis, synthesis) * 0.02 / synthesis) for _ in range(scales))
        # [filters, identity], or one for both.
        start = [2.0] if identity_synthesis else [2.0, 3.0]
        self.alpha = nn.ParameterList(nn.Parameter(torch.tensor(start)) for _ in range(scales))
        tap = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("spline", (tap[:, None] * tap[None, :])[None, None])
        for j in range(scales):
            self.register_buffer(f"levels_{j}", torch.ones(FILTERS + 1))

    def levels(self, j: int):
        return getattr(self, f"levels_{j}")

    def analyse(self, j: int, x):
        weight = self.analysis[j]
        weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def pyramid(self, x):
        """(details, coarse): details divided by WNORM, finest first; x = sum of what `rise` undoes."""
        details = []
        for norm in WNORM:
            coarse = F.conv2d(mirrored(x), self.spline)[:, :, ::2, ::2]
            details.append((x - self.rise(coarse)) / norm)
            x = coarse
        return details, x

    @staticmethod
    def rise(x):
        return F.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False)

    def forward(self, x, sigma):
        sigma = sigma.reshape(-1, 1, 1, 1)
        details, x = self.pyramid(x)
        for j in reversed(range(len(WNORM))):
            x = self.rise(x) + WNORM[j] * self.denoise(j, details[j], sigma)
        return x

    def denoise(self, j: int, d, sigma):
        alpha = self.alpha[j].clamp(0.0, ALPHA_MAX)
        levels = self.levels(j)
        of_filters = alpha[0] * sigma * levels[:FILTERS].reshape(1, -1, 1, 1)
        of_identity = alpha[-1] * sigma * levels[FILTERS]
        kept = soft(d, of_identity)
        bracket = soft(self.analyse(j, d), of_filters) - self.analyse(j, kept)
        if self.identity_synthesis:
            bracket = torch.cat([bracket, kept - soft(kept, of_identity)], dim=1)
        return kept + F.conv2d(bracket, self.synthesis[j], padding=self.synthesis[j].shape[-1] // 2)

    @torch.no_grad()
    def project(self):
        """After a step: the thresholds back into [0, 5]."""
        for alpha in self.alpha:
            alpha.clamp_(0.0, ALPHA_MAX)

    @torch.no_grad()
    def measure_noise(self, noise, momentum: float = MOMENTUM):
        """Moves the channels' noise levels towards what images of nothing but noise of unit variance, (batch, 1, n, n), give."""
        for j, d in enumerate(self.pyramid(noise)[0]):
            found = torch.cat([self.analyse(j, d), d], dim=1).square().mean(dim=(0, 2, 3)).sqrt()
            self.levels(j).lerp_(found, momentum)
