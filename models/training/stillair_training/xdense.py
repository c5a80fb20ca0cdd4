"""The XDense U-Net ("Tikhonet") of Sureau et al. 2020, Nammour et al. 2022 and Akhaury et al. 2022.

184,301 trainable parameters: 178,908 convolution weights, 5,176 batch-norm scales and shifts, 217 biases
(the published code's count; the papers also call it "bias-free", which would be 184,084).

Axes are (batch, channel, row, column). The net is fully convolutional; rows and columns must be multiples of 8.
"""

import torch
from torch import nn
from torch.nn import functional as F

GROWTH = 12
DOWN_LAYERS = (4, 5, 6)
BOTTLENECK_LAYERS = 7
UP_LAYERS = (6, 5, 4)
SIDE_MULTIPLE = 8


class SeparableConv(nn.Module):
    """Depthwise 3x3, then 1x1, both without bias."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x):
        return self.pointwise(self.depthwise(x))


class DenseBlock(nn.Module):
    """n layers of batch norm, ReLU, separable convolution. The raw input feeds the first layer only;
    the later layers see the concatenation of the new maps alone. Returns the new maps."""

    def __init__(self, channels_in: int, layers: int):
        super().__init__()
        widths = [channels_in] + [GROWTH * i for i in range(1, layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.convs = nn.ModuleList(SeparableConv(w, GROWTH) for w in widths)
        self.channels_out = GROWTH * layers

    def forward(self, x):
        maps = None
        for norm, conv in zip(self.norms, self.convs):
            new = conv(F.relu(norm(x if maps is None else maps)))
            maps = new if maps is None else torch.cat([maps, new], dim=1)
        return maps


class Transition(nn.Module):
    """Batch norm, ReLU, 1x1 convolution without bias at equal width."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x):
        return self.conv(F.relu(self.norm(x)))


class UpConv(nn.Module):
    """Nearest-neighbour doubling, 2x2 convolution (padded after the last row and column), ReLU."""

    def __init__(self, channels: int, bias: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 2, bias=bias)

    def forward(self, x):
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.relu(self.conv(F.pad(x, (0, 1, 0, 1))))


class XDense(nn.Module):
    """(batch, 1, n, n) normalised Tikhonov image to (batch, 1, n, n) normalised image with the target PSF.

    Without `bias` it has 184,084 parameters: no convolution has a bias (the batch norms keep their shifts)."""

    def __init__(self, bias: bool = True):
        super().__init__()
        channels = 32
        self.stem = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.down_blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        skips = []
        for layers in DOWN_LAYERS:
            block = DenseBlock(channels, layers)
            channels += block.channels_out
            self.down_blocks.append(block)
            self.transitions.append(Transition(channels))
            skips.append(channels)
        self.bottleneck = DenseBlock(channels, BOTTLENECK_LAYERS)
        channels = self.bottleneck.channels_out
        self.up_convs, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for layers, skip in zip(UP_LAYERS, reversed(skips)):
            self.up_convs.append(UpConv(channels, bias))
            block = DenseBlock(channels + skip, layers)
            channels = block.channels_out
            self.up_blocks.append(block)
        self.head_norm = nn.BatchNorm2d(channels)
        self.head = nn.Conv2d(channels, 1, 1, bias=bias)

    def forward(self, x):
        x = self.stem(x)
        skips = []
        for block, transition in zip(self.down_blocks, self.transitions):
            x = transition(torch.cat([x, block(x)], dim=1))
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        x = self.bottleneck(x)
        for up, block, skip in zip(self.up_convs, self.up_blocks, reversed(skips)):
            x = block(torch.cat([up(x), skip], dim=1))
        return self.head(F.relu(self.head_norm(x)))


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
