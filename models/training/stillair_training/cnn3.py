"""The 3-CNN (43,745 parameters) and the 1-CNN (324) of Flamary 2017, "Astronomical image reconstruction with convolutional neural
networks". From the observed image straight to the sky; the PSF is in the weights.

Valid convolutions: an output pixel needs 9 more on every side (BORDER), and any size runs. Flamary divides the observed image by
its maximum and clips it at 0; the division is the adapter's (rule `observed-maximum`), the clip is in the graph.

Axes are (batch, channel, row, column).
"""

from torch import nn
from torch.nn import functional as F

BORDER = 9


class ThreeLayers(nn.Module):
    """conv10x10 1->64, conv6x6 64->16, conv5x5 16->1, each with bias and ReLU: (batch, 1, n + 18, n + 18) to (batch, 1, n, n)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 64, 10)
        self.second = nn.Conv2d(64, 16, 6)
        self.third = nn.Conv2d(16, 1, 5)
        for layer in (self.first, self.second, self.third):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # The last ReLU has no gradient where it is 0: sky is 0, so begin a little above.
        nn.init.constant_(self.third.bias, 0.02)

    def forward(self, x):
        x = F.relu(self.second(F.relu(self.first(F.relu(x)))))
        return F.relu(self.third(x))


class OneLayer(nn.Module):
    """One linear filter of 18 x 18: (batch, 1, n + 18, n + 18) to (batch, 1, n, n). An even kernel leaves one row and column
    more than asked for; the last are dropped. Linear: no clip."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Conv2d(1, 1, 18, bias=False)
        nn.init.zeros_(self.filter.weight)
        nn.init.constant_(self.filter.weight[:, :, 9, 9], 1.0)

    def forward(self, x):
        return self.filter(x)[:, :, :-1, :-1]
