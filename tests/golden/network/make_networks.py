"""Makes the tiny networks that tests/network.rs loads: one folder each, with model.onnx and card.toml.

    python3 -m venv v && v/bin/pip install onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
    v/bin/python tests/golden/network/make_networks.py

`smooth` convolves with [1 2 1]/4 in both directions: linear, so what it must give is known without ONNX Runtime.
Everything else is one fault each.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
KERNEL = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)[None, None] / 16

CARD = """name = "{name}"
description = "{description}"
sha256 = "{sha}"
opset = {opset}
precision = "f32"
licence = "Apache-2.0 OR MIT"
provenance = "tests/golden/network/make_networks.py"

{inputs}
[output]
name = "restored"

[shape]
side = {side}
multiple = 1
batches = {batches}

[normalisation]
{normalisation}

[target]
psf_fwhm = 2.0

[domain]
psf_fwhm = [2.0, 8.0]
snr = [3.0, 1000.0]
morphology = "none: a test"

[validation]
command = "cargo test --test network"
data = "none"
"""
IMAGE = '[[inputs]]\nname = "image"\nplanes = ["tikhonov"]\n'
PEAK = 'rule = "central-peak"\nbox = 16\nsmooth = 3\nfloor_sigmas = 5.0'


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def smooth(source="image", target="restored", channels=1):
    weight = np.repeat(KERNEL, channels, axis=1) / channels
    return [helper.make_node("Conv", [source, "kernel"], [target], pads=[1, 1, 1, 1])], [numpy_helper.from_array(weight, "kernel")]


def write(name, nodes, constants, inputs, outputs, description, card_inputs=IMAGE, side='"dynamic"', batches="[1, 4]",
          normalisation=PEAK, opset=17, ir=10, sha=None, border=0):
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="stillair tests")
    model.ir_version = ir
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    (folder / "card.toml").write_text(CARD.format(
        name=name, description=description, sha=sha or hashlib.sha256(data).hexdigest(), opset=opset, inputs=card_inputs,
        side=side, batches=f"{batches}\nborder = {border}" if border else batches, normalisation=normalisation))
    return folder


ANY = ["batch", 1, "rows", "columns"]
plain = ([tensor("image", ANY)], [tensor("restored", ANY)])

folder = write("smooth", *smooth(), *plain, "smooths by [1 2 1]/4 along both axes")
# What smooth must give, by numpy alone.
rng = np.random.default_rng(5)
image = rng.normal(0, 1, (3, 24, 24))
image[:, 10:14, 10:14] += 20
image = image.astype(np.float32)
padded = np.pad(image.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
expected = sum(KERNEL[0, 0, i, j] * padded[:, i:i + 24, j:j + 24] for i in range(3) for j in range(3))
(folder / "example").mkdir(exist_ok=True)
for name, array in dict(tikhonov=image, expected=expected.astype("<f4"), noise_sigma=np.ones(3), sky_sigma=np.ones(3)).items():
    np.save(folder / "example" / f"{name}.npy", array)

write("wrong_hash", *smooth(), *plain, "a hash of another file", sha="0" * 64)
write("fixed_side", *smooth(), [tensor("image", ["batch", 1, 32, 32])], [tensor("restored", ["batch", 1, 32, 32])],
      "the graph takes 32 x 32, the card says 24", side="24")
write("wrong_name", *smooth(source="picture"), [tensor("picture", ANY)], [tensor("restored", ANY)], "an input of another name")
write("wrong_channels", *smooth(channels=2), [tensor("image", ["batch", 2, "rows", "columns"])], [tensor("restored", ANY)],
      "the graph takes two planes, the card one")
write("wrong_type", [helper.make_node("Identity", ["image"], ["restored"])], [], [tensor("image", ANY, TensorProto.DOUBLE)],
      [tensor("restored", ANY, TensorProto.DOUBLE)], "takes doubles")

# NaN where an image's central pixel, scaled, exceeds 3: sqrt(3 - max) of the whole image.
nodes = [
    helper.make_node("ReduceMax", ["image"], ["top"], axes=[1, 2, 3], keepdims=1),
    helper.make_node("Sub", ["three", "top"], ["left"]),
    helper.make_node("Sqrt", ["left"], ["root"]),
    helper.make_node("Sub", ["root", "root"], ["zero_or_nan"]),
    helper.make_node("Add", ["image", "zero_or_nan"], ["restored"]),
]
write("nan_above_three", nodes, [numpy_helper.from_array(np.array(3, np.float32), "three")], *plain,
      "NaN where the largest pixel of the scaled image exceeds 3", normalisation='rule = "none"')

# Averages over the batch: an object would get what its neighbours in the batch make of it.
nodes = [
    helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0], keepdims=1),
    helper.make_node("Add", ["image", "mean"], ["restored"]),
]
write("leaks_across_batch", nodes, [], *plain, "adds the mean over the batch", normalisation='rule = "noise-sigma"')

# All kinds of inputs: restored = tikhonov + psf + noise plane + sky plane + noise scalar + sky scalar.
nodes = [
    helper.make_node("ReduceSum", ["image", "channel_axis"], ["planes"], keepdims=1),
    helper.make_node("Reshape", ["noise", "column"], ["noise4"]),
    helper.make_node("Reshape", ["sky", "column"], ["sky4"]),
    helper.make_node("Add", ["planes", "noise4"], ["part"]),
    helper.make_node("Add", ["part", "sky4"], ["restored"]),
]
constants = [numpy_helper.from_array(np.array([1]), "channel_axis"), numpy_helper.from_array(np.array([-1, 1, 1, 1]), "column")]
write("every_input", nodes, constants,
      [tensor("image", ["batch", 4, "rows", "columns"]), tensor("noise", ["batch"]), tensor("sky", ["batch", 1])], [tensor("restored", ANY)],
      "the sum of everything that can be asked for",
      card_inputs='[[inputs]]\nname = "image"\nplanes = ["tikhonov", "psf", "noise-sigma", "sky-sigma"]\n\n'
                  '[[inputs]]\nname = "noise"\nscalar = "noise-sigma"\n\n[[inputs]]\nname = "sky"\nscalar = "sky-sigma"\n',
      normalisation='rule = "noise-sigma"')

write("opset_too_new", *smooth(), *plain, "an operator set that runtimes do not know", opset=99, ir=99)

# The same convolution without padding: two rows and columns fewer come out than go in, which the card must say.
valid = ([helper.make_node("Conv", ["image", "kernel"], ["restored"])], [numpy_helper.from_array(KERNEL, "kernel")])
write("border", *valid, *plain, "smooths by [1 2 1]/4 with a border of 1", border=1)
write("border_not_in_card", *valid, *plain, "smooths by [1 2 1]/4; the card says nothing of the border")

write("fixed_batch", *smooth(), [tensor("image", [1, 1, "rows", "columns"])], [tensor("restored", [1, 1, "rows", "columns"])],
      "exported without a dynamic batch")
# The batch is dynamic in the declared shapes and baked into a Reshape, whose shape comes from the data (0 x sum + constant) so that
# no shape inference sees it.
nodes = [
    helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
    helper.make_node("Mul", ["sum", "nought"], ["zero"]),
    helper.make_node("Cast", ["zero"], ["whole"], to=TensorProto.INT64),
    helper.make_node("Add", ["back", "whole"], ["shape"]),
    helper.make_node("Reshape", ["image", "shape"], ["restored"]),
]
constants = [numpy_helper.from_array(np.array(0, np.float32), "nought"), numpy_helper.from_array(np.array([1, 1, 64, 64]), "back")]
write("baked_batch", nodes, constants, [tensor("image", ["batch", 1, 64, 64])], [tensor("restored", ["batch", 1, 64, 64])],
      "a Reshape that knows one batch alone", side="64")

# 0 / 0 for every input.
nodes = [
    helper.make_node("Sub", ["image", "image"], ["zero"]),
    helper.make_node("Div", ["zero", "zero"], ["restored"]),
]
write("always_nan", nodes, [], *plain, "NaN whatever goes in")

write("opset_22", *smooth(), *plain, "an operator set that newer runtimes take and the pinned ones need not", opset=22)
write("unknown_plane", *smooth(), *plain, "a plane that does not exist", card_inputs='[[inputs]]\nname = "image"\nplanes = ["tikhonow"]\n')

# Everything made of the observed image: restored = observed + 2 correlated + 4 inverse + 8 smoothed.
kernel = np.array([1, 2, 4, 8], np.float32).reshape(1, 4, 1, 1)
folder = write("observed_planes", [helper.make_node("Conv", ["image", "weights"], ["restored"])], [numpy_helper.from_array(kernel, "weights")],
      [tensor("image", ["batch", 4, "rows", "columns"])], [tensor("restored", ANY)], "the sum of what is made of the observed image",
      card_inputs='[[inputs]]\nname = "image"\nplanes = ["observed", "psf-correlated", "inverse-psf", "inverse-psf-smoothed"]\n',
      normalisation='rule = "observed-maximum"\nfloor_sigmas = 5.0')
# What it must give, by numpy alone; the definitions are those of models/README.md.
n, floor, smoothing = 32, 0.1, 5.0
rng = np.random.default_rng(6)
axis = np.arange(n) - n // 2
y, x = np.meshgrid(axis, axis, indexing="ij")
psf = np.exp(-(x**2 + 1.3 * y**2 + 0.4 * x * y) / 5.0)
psf = np.stack([psf / psf.sum(), np.roll(psf, (1, -2), (0, 1)) / psf.sum()]).astype("<f4")
observed = (rng.normal(0, 1, (2, n, n)) + 40 * psf / psf.max()).astype("<f4")
o, h = np.fft.fft2(observed.astype(np.float64)), np.fft.fft2(np.roll(psf.astype(np.float64), (-n // 2, -n // 2), (1, 2)))
inverse = o * h.conj() / np.maximum(np.abs(h), floor) ** 2
f = np.fft.fftfreq(n)
smooth_by = np.exp(-2 * (np.pi * smoothing) ** 2 * (f[:, None] ** 2 + f[None, :] ** 2))
parts = [observed, np.fft.ifft2(o * h.conj()).real, np.fft.ifft2(inverse).real, np.fft.ifft2(inverse * smooth_by).real]
expected = sum(2**k * part for k, part in enumerate(parts))
(folder / "example").mkdir(exist_ok=True)
for name, array in dict(tikhonov=np.zeros_like(observed), observed=observed, psf=psf, expected=expected.astype("<f4"),
                        noise_sigma=np.ones(2), sky_sigma=np.ones(2)).items():
    np.save(folder / "example" / f"{name}.npy", array)
