"""stillnet: the default network. Three Tikhonov estimates in, mixed pixel by pixel, and a little added.

A U-Net of three levels looks at half resolution (pixel-unshuffle) at the estimates, at the same in units of their own noise (asinh), and at
five numbers: the noise of the three estimates, the widths of the PSF and of the target. It answers with four numbers per target pixel: a
weight for each estimate and an addition. Everything that goes in scales with the stamp's scale, the noise included, so that no noise level is
burnt in; where the signal is strong the answer is close to linear in the estimates, and fluxes follow.
"""

import math

import torch
import torch.nn.functional as functional
from torch import nn

SIDE_MULTIPLE = 8
PLANES = ("tikhonov", "tikhonov-sharper", "tikhonov-smoother")
SCALARS = ("noise-sigma", "noise-sharper", "noise-smoother", "psf-fwhm", "target-fwhm")


def asinh(x):
    """As torch.asinh, which the exporter does not know."""
    return torch.sign(x) * torch.log(x.abs() + torch.sqrt(x * x + 1))


class Block(nn.Module):
    """x + gain * conv(relu(conv(x))), `gain` per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.b = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Parameter(torch.full((1, channels, 1, 1), 0.3))

    def forward(self, x):
        return x + self.gain * self.b(functional.relu(self.a(x)))


def blocks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels) for _ in range(count)))


class StillNet(nn.Module):
    """(B, 3, n, n) estimates / scale, five (B,): three noise levels / scale, FWHM of PSF and target in target pixels -> (B, 1, n, n)."""

    def __init__(self, widths=(40, 72, 112), down=(2, 2, 2), up=(1, 2)):
        super().__init__()
        fine, middle, coarse = widths
        self.first = nn.Conv2d(4 * 2 * len(PLANES) + len(SCALARS), fine, 3, padding=1)
        self.e0, self.e1, self.e2 = blocks(down[0], fine), blocks(down[1], middle), blocks(down[2], coarse)
        self.d0 = nn.Conv2d(fine, middle, 2, stride=2)
        self.d1 = nn.Conv2d(middle, coarse, 2, stride=2)
        self.u1 = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.u0 = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.f1, self.f0 = blocks(up[0], middle), blocks(up[1], fine)
        self.head = nn.Conv2d(fine, 4 * (len(PLANES) + 1), 3, padding=1)
        # It begins as the identity on the chosen estimate.
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            bias = torch.zeros(len(PLANES) + 1, 4)
            bias[0] = 1.0
            self.head.bias.copy_(bias.flatten())

    def forward(self, planes, noise, sharper, smoother, psf_fwhm, target_fwhm):
        levels = torch.stack([noise, sharper, smoother], 1)
        local = 0.5 * asinh(planes / (2 * levels[:, :, None, None]))
        x = functional.pixel_unshuffle(torch.cat([planes, local], 1), 2)
        numbers = torch.stack(
            [0.3 * torch.log(noise) + 1, 0.5 * torch.log(sharper / noise), 0.5 * torch.log(smoother / noise),
             torch.log(psf_fwhm) - 1.4, target_fwhm - 2], 1)
        x = torch.cat([x, numbers[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])], 1)
        fine = self.e0(self.first(x))
        middle = self.e1(self.d0(fine))
        coarse = self.e2(self.d1(middle))
        middle = self.f1(middle + self.u1(coarse))
        fine = self.f0(fine + self.u0(middle))
        answer = functional.pixel_shuffle(self.head(fine), 2)
        mixed = (answer[:, : len(PLANES)] * planes).sum(1, keepdim=True)
        return mixed + 0.1 * answer[:, len(PLANES) :]
