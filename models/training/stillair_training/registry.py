"""Every network that can be trained, exported and evaluated by name: what it is made of, what it is given, how it is trained.

The training figures are the papers' where they print them. What differs is listed in docs/networks.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from . import cae, cnn3, learnlet, stillnet, sunet, unet, xdense


@dataclass(frozen=True)
class Recipe:
    """One network. `parameters` counts what training changes."""

    name: str
    description: str
    build: Callable[[], nn.Module]
    parameters: int
    planes: tuple[str, ...] = ("tikhonov",)
    scalars: tuple[str, ...] = ()
    """Inputs of their own, shape (batch); named in the graph as here."""
    side: int | None = None
    """The only side it takes, or None."""
    multiple: int = 1
    """Sides must be multiples of this."""
    border: int = 0
    """Further input pixels on every side of the output."""
    rule: str = "central-peak"
    loss: str = "mse"
    batch: int = 32
    crop: int = 48
    rate: float = 1e-3
    bf16: bool = True
    decay: float = 0.0
    """AdamW's weight decay; 0: Adam."""
    target: tuple[float, float] | None = None
    """Least and largest FWHM of the target PSF it is trained for, target pixels; None: 2 alone."""

    @property
    def input_side(self) -> int:
        """A side to export with."""
        return self.side or 64


def _recipes():
    yield Recipe("stillnet", "the default: three Tikhonov estimates mixed by a U-Net that knows their noise (952,624 parameters)",
                 stillnet.StillNet, 952_624, planes=stillnet.PLANES, scalars=stillnet.SCALARS, multiple=stillnet.SIDE_MULTIPLE,
                 loss="balanced", batch=24, rate=1.5e-3, decay=1e-4, target=(1.5, 2.5))
    yield Recipe("xdense", "XDense U-Net (Tikhonet, 184,301 parameters) after the Tikhonov step", xdense.XDense, 184_301,
                 multiple=xdense.SIDE_MULTIPLE, loss="balanced")
    yield Recipe("xdense-bias-free", "XDense U-Net without biases (184,084 parameters) after the Tikhonov step",
                 lambda: xdense.XDense(bias=False), 184_084, multiple=xdense.SIDE_MULTIPLE, loss="balanced")
    yield Recipe("unet-64", "U-Net of 64 base channels (31,023,940 parameters) after the Tikhonov step", lambda: unet.UNet(64), 31_023_940,
                 multiple=unet.SIDE_MULTIPLE)
    yield Recipe("unet-16", "U-Net of 16 base channels (1,939,156 parameters) after the Tikhonov step", lambda: unet.UNet(16), 1_939_156,
                 multiple=unet.SIDE_MULTIPLE)
    yield Recipe("learnlet", "Learnlets (44,840 numbers, analysis 3x3, synthesis 5x5) after the Tikhonov step", learnlet.Learnlet, 43_530,
                 scalars=("noise-sigma",), multiple=learnlet.SIDE_MULTIPLE, crop=64, bf16=False)
    yield Recipe("learnlet-large", "Learnlets (372,050 parameters, analysis 11x11, synthesis 13x13) after the Tikhonov step",
                 lambda: learnlet.Learnlet(11, 13, True), 372_050, scalars=("noise-sigma",), multiple=learnlet.SIDE_MULTIPLE, crop=64,
                 bf16=False)
    yield Recipe("sunet", "SUNet, a Swin-transformer U-Net (38,365,111 parameters), after the Tikhonov step", sunet.SUNet, 38_365_111,
                 side=64, multiple=64, loss="l1", batch=16, crop=64)
    yield Recipe("3cnn", "Three convolutions (43,745 parameters) from the observed image", cnn3.ThreeLayers, 43_745, planes=("observed",),
                 border=cnn3.BORDER, rule="observed-maximum", crop=40)
    yield Recipe("1cnn", "One linear filter of 18 x 18 (324 parameters) on the observed image", cnn3.OneLayer, 324, planes=("observed",),
                 border=cnn3.BORDER, rule="observed-maximum", crop=40)
    for label, planes in cae.SETS.items():
        count = {1: 1_330_945, 2: 1_331_521, 3: 1_332_097}[len(planes)]
        yield Recipe(f"cae-{label}", f"Convolutional autoencoder ({count:,} parameters) from {', '.join(planes)}",
                     lambda n=len(planes): cae.Autoencoder(n), count, planes=planes, multiple=cae.SIDE_MULTIPLE, loss="bce", rate=1e-4,
                     crop=64)


RECIPES = {recipe.name: recipe for recipe in _recipes()}
