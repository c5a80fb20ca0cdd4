"""SUNet (Fan et al. 2022; for deconvolution Akhaury et al. 2024): a Swin-transformer U-Net, 38,365,111 parameters.

As in the public code: queries are multiplied by QUERY_SCALE = 8 where other transformers take d^-1/2; shifted windows are masked with
-100. One of the parameters, a PReLU, is declared there and never used; it is declared here for the count's sake.
Shapes are fixed when the network is made (`side`, a multiple of 64 for windows of 8 on every level), the batch is free.

Axes are (batch, channel, row, column) outside, (batch, row, column, channel) within.
"""

import torch
from torch import nn
from torch.nn import functional as F

DEPTHS = (2, 6, 8, 16)
WIDTH = 48
HEADS = 8
WINDOW = 8
QUERY_SCALE = 8.0
MASKED = -100.0


def windows(x):
    """(B, H, W, C) to (B * windows, WINDOW^2, C)."""
    _, h, w, c = x.shape
    x = x.reshape(-1, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW * WINDOW, c)


def unwindows(x, h: int, w: int):
    """Undoes `windows`."""
    c = x.shape[-1]
    x = x.reshape(-1, h // WINDOW, w // WINDOW, WINDOW, WINDOW, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, c)


class Attention(nn.Module):
    """Attention within windows, with learned relative positions."""

    def __init__(self, channels: int):
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        nn.init.trunc_normal_(self.bias, std=0.02)
        place = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
        apart = place[:, :, None] - place[:, None, :] + WINDOW - 1
        self.register_buffer("index", (apart[0] * (2 * WINDOW - 1) + apart[1]).flatten(), persistent=False)

    def forward(self, x, mask):
        pixels, c = WINDOW * WINDOW, self.out.in_features
        q, k, v = self.qkv(x).reshape(-1, pixels, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * QUERY_SCALE) @ k.transpose(-2, -1)
        scores = scores + self.bias[self.index].reshape(pixels, pixels, HEADS).permute(2, 0, 1)
        if mask is not None:
            count = mask.shape[0]
            scores = scores.reshape(-1, count, HEADS, pixels, pixels) + mask[None, :, None]
            scores = scores.reshape(-1, HEADS, pixels, pixels)
        x = (scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(-1, pixels, c)
        return self.out(x)


class Block(nn.Module):
    """LayerNorm, window attention, LayerNorm, MLP x 4; odd blocks look through windows shifted by half."""

    def __init__(self, channels: int, side: int, shifted: bool):
        super().__init__()
        self.side = side
        self.shift = WINDOW // 2 if shifted and side > WINDOW else 0
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels)
        self.grow, self.shrink = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        mask = None
        if self.shift:
            region = torch.zeros(1, side, side, 1)
            cuts = (slice(0, -WINDOW), slice(-WINDOW, -self.shift), slice(-self.shift, None))
            for i, rows in enumerate(cuts):
                for j, columns in enumerate(cuts):
                    region[:, rows, columns] = 3 * i + j
            of = windows(region)[..., 0]
            mask = (of[:, None, :] != of[:, :, None]).float() * MASKED
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x):
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = unwindows(self.attention(windows(y), self.mask), self.side, self.side)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.shrink(F.gelu(self.grow(self.norm2(x))))


def blocks(channels: int, side: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels, side, i % 2 == 1) for i in range(depth)))


class Merge(nn.Module):
    """Each 2 x 2 pixels to one of twice the channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x):
        parts = [x[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return self.reduce(self.norm(torch.cat(parts, dim=-1)))


class DualUp(nn.Module):
    """Doubling by pixel shuffle beside doubling by bilinear interpolation, C to C / 2 channels."""

    def __init__(self, channels: int):
        super().__init__()
        c = channels
        self.shuffled = nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PReLU(), nn.PixelShuffle(2),
                                      nn.Conv2d(c // 2, c // 2, 1, bias=False))
        self.first, self.act, self.last = nn.Conv2d(c, c, 1), nn.PReLU(), nn.Conv2d(c, c // 2, 1, bias=False)
        self.join = nn.Conv2d(c, c // 2, 1, bias=False)

    def forward(self, x):
        x = x.permute(0, 3, 1, 2)
        smooth = F.interpolate(self.act(self.first(x)), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.join(torch.cat([self.shuffled(x), self.last(smooth)], dim=1))
        return x.permute(0, 2, 3, 1)


class SUNet(nn.Module):
    """(batch, 1, side, side) normalised Tikhonov image to (batch, 1, side, side) normalised image with the target PSF."""

    def __init__(self, side: int = 64):
        super().__init__()
        if side % 64:
            raise ValueError(f"SUNet of side {side}: the side must be a multiple of 64 (windows of 8 on four levels)")
        dims = [WIDTH * 2**i for i in range(4)]
        sides = [side // 2**i for i in range(4)]
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.embed, self.embed_norm = nn.Conv2d(WIDTH, WIDTH, 1), nn.LayerNorm(WIDTH)
        self.encode = nn.ModuleList(blocks(c, s, d) for c, s, d in zip(dims, sides, DEPTHS))
        self.merge = nn.ModuleList(Merge(c) for c in dims[:-1])
        self.middle_norm = nn.LayerNorm(dims[-1])
        self.up = nn.ModuleList(DualUp(c) for c in reversed(dims[1:]))
        self.join = nn.ModuleList(nn.Linear(2 * c, c) for c in reversed(dims[:-1]))
        self.decode = nn.ModuleList(
            blocks(c, s, d) for c, s, d in zip(reversed(dims[:-1]), reversed(sides[:-1]), reversed(DEPTHS[:-1])))
        self.last_norm = nn.LayerNorm(WIDTH)
        self.head = nn.Conv2d(WIDTH, 1, 3, padding=1, bias=False)
        self.unused = nn.PReLU()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x):
        x = self.embed_norm(self.embed(self.stem(x)).permute(0, 2, 3, 1))
        skips = []
        for i, stage in enumerate(self.encode):
            if i:
                x = self.merge[i - 1](x)
            # The skip is what goes into a stage, not what comes out of it, as in the public code.
            skips.append(x)
            x = stage(x)
        x = self.middle_norm(x)
        for up, join, stage, skip in zip(self.up, self.join, self.decode, reversed(skips[:-1])):
            x = stage(join(torch.cat([up(x), skip], dim=-1)))
        return self.head(self.last_norm(x).permute(0, 3, 1, 2))
