"""The U-Net of Akhaury et al. 2022 ("Unet-64"), at any base width.

Width 64: 31,023,940 parameters; none of the convolutions has a bias and no batch norm is applied. Each level is twice conv3x3 and
ReLU; max-pool down; nearest-neighbour doubling, conv2x2 and ReLU up; [skip, up] concatenated; a linear head conv1x1 to 4, then to 1.

Axes are (batch, channel, row, column); rows and columns must be multiples of 16.
"""

import torch
from torch import nn
from torch.nn import functional as F

SIDE_MULTIPLE = 16
LEVELS = 5


class Level(nn.Module):
    """conv3x3, ReLU, conv3x3, ReLU."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))))


class Up(nn.Module):
    """Nearest-neighbour doubling, conv2x2 (padded after the last row and column) to half the channels, ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels // 2, 2, bias=False)

    def forward(self, x):
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.relu(self.conv(F.pad(x, (0, 1, 0, 1))))


class UNet(nn.Module):
    """(batch, 1, n, n) normalised Tikhonov image to (batch, 1, n, n) normalised image with the target PSF."""

    def __init__(self, width: int = 64):
        super().__init__()
        widths = [width * 2**i for i in range(LEVELS)]
        self.down = nn.ModuleList(Level(a, b) for a, b in zip([1, *widths], widths))
        self.up = nn.ModuleList(Up(w) for w in reversed(widths[1:]))
        self.merge = nn.ModuleList(Level(2 * w, w) for w in reversed(widths[:-1]))
        self.mix = nn.Conv2d(width, 4, 1, bias=False)
        self.head = nn.Conv2d(4, 1, 1, bias=False)
        # ReLU's gain: without norms the signal of a deep stack would otherwise die out.
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in (self.mix, self.head):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x):
        skips = []
        for i, level in enumerate(self.down):
            x = level(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1])):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return self.head(self.mix(x))
