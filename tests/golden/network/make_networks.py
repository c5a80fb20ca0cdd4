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
          normalisation=PEAK, opset=17, ir=10, sha=None):
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="stillair tests")
    model.ir_version = ir
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    (folder / "card.toml").write_text(CARD.format(
        name=name, description=description, sha=sha or hashlib.sha256(data).hexdigest(), opset=opset, inputs=card_inputs,
        side=side, batches=batches, normalisation=normalisation))
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
