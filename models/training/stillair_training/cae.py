"""The convolutional autoencoder of "Point Spread Function Deconvolution Using a Convolutional Autoencoder for Astronomical Applications".

Input channels per band are one or more of: the observed image correlated with the PSF (`psf-correlated`, the paper's PSF), filtered
with the inverse PSF (`inverse-psf`, iPSF), that smoothed with a Gaussian (`inverse-psf-smoothed`, iPSF1). Seven sets, 1 or 3 bands.

Encoder conv3x3 64, 128, 256, leaky ReLU, max-pool 2, batch norm after each pool; mirrored decoder of transposed conv3x3, leaky ReLU,
doubling, batch norm; conv3x3 to the bands, softplus. Images lie in [0, 1] for the cross-entropy: inside the graph everything is
divided by HEADROOM, so that an object up to that many times its scale fits.

Axes are (batch, channel, row, column), channels band by band; rows and columns must be multiples of 8.
"""

import torch
from torch import nn
from torch.nn import functional as F

SIDE_MULTIPLE = 8
WIDTHS = (64, 128, 256)
SLOPE = 0.3
HEADROOM = 2.0
SETS = {
    "psf": ("psf-correlated",),
    "ipsf": ("inverse-psf",),
    "ipsf1": ("inverse-psf-smoothed",),
    "psf-ipsf": ("psf-correlated", "inverse-psf"),
    "psf-ipsf1": ("psf-correlated", "inverse-psf-smoothed"),
    "ipsf-ipsf1": ("inverse-psf", "inverse-psf-smoothed"),
    "psf-ipsf-ipsf1": ("psf-correlated", "inverse-psf", "inverse-psf-smoothed"),
}


class Autoencoder(nn.Module):
    """(batch, planes * bands, n, n) to (batch, bands, n, n), both normalised."""

    def __init__(self, planes: int, bands: int = 1):
        super().__init__()
        widths = (planes * bands, *WIDTHS)
        self.encode = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, WIDTHS))
        self.encode_norms = nn.ModuleList(nn.BatchNorm2d(w) for w in WIDTHS)
        mirrored = (WIDTHS[-1], *reversed(WIDTHS))
        self.decode = nn.ModuleList(nn.ConvTranspose2d(a, b, 3, padding=1) for a, b in zip(mirrored, mirrored[1:]))
        self.decode_norms = nn.ModuleList(nn.BatchNorm2d(w) for w in reversed(WIDTHS))
        self.head = nn.Conv2d(WIDTHS[0], bands, 3, padding=1)
        # Sky is near 0: softplus(-5) = 0.007 rather than softplus(0) = 0.7.
        nn.init.constant_(self.head.bias, -5.0)

    def forward(self, x):
        x = x / HEADROOM
        for conv, norm in zip(self.encode, self.encode_norms):
            x = norm(F.max_pool2d(F.leaky_relu(conv(x), SLOPE), 2))
        for conv, norm in zip(self.decode, self.decode_norms):
            x = norm(F.interpolate(F.leaky_relu(conv(x), SLOPE), scale_factor=2.0, mode="nearest"))
        return F.softplus(self.head(x)) * HEADROOM
