"""Weights that others trained, into a run that `export` takes.

Two formats: a PyTorch state dict (.pt, .pth: read without running code in it) and a Keras HDF5 file (.h5: the layers' groups in the
order of the attribute `layer_names`, each with its datasets in the order of `weight_names`; a whole saved model keeps them below
`model_weights`). Tensors are matched by name where the names are ours, else by order and shape: a foreign network of the same
architecture lists its layers in the same order.

Kernels: PyTorch (out, in, rows, columns), Keras with TensorFlow order (rows, columns, in, out), Keras 1 with Theano order
(out, in, rows, columns). Theano convolves where the others correlate: its kernels must be turned by half a turn (`flip`).
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from .registry import RECIPES


def from_h5(path: Path, flip: bool) -> list:
    """[(name, tensor)] in the order of the layers."""
    import h5py

    text = lambda value: value.decode() if isinstance(value, bytes) else str(value)  # noqa: E731
    out = []
    with h5py.File(path, "r") as file:
        root = file["model_weights"] if "model_weights" in file else file
        if "layer_names" not in root.attrs:
            raise ValueError(f"{path}: no attribute layer_names: no Keras weight file")
        for layer in map(text, root.attrs["layer_names"]):
            group = root[layer]
            for name in map(text, group.attrs["weight_names"]):
                array = np.asarray(group[name], np.float32)
                if array.ndim == 4:
                    # The kernel's rows and columns are equal in all of our networks, which tells the two orders apart.
                    if array.shape[0] == array.shape[1] and array.shape[2] != array.shape[3]:
                        array = array.transpose(3, 2, 0, 1)
                    elif array.shape[2] != array.shape[3]:
                        raise ValueError(f"{path}: {name} of shape {array.shape}: neither (rows, columns, in, out) nor (out, in, rows, columns)")
                    if flip:
                        array = array[:, :, ::-1, ::-1]
                elif array.ndim == 2:
                    array = array.T
                out.append((f"{layer}/{name}", torch.from_numpy(array.copy())))
    return out


def from_torch(path: Path) -> list:
    """[(name, tensor)] of a state dict, or of the one inside a checkpoint."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    for key in ("state_dict", "model_state_dict", "model", "average"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return [(name.removeprefix("module."), value) for name, value in state.items() if isinstance(value, torch.Tensor)]


def match(model: torch.nn.Module, given: list, path) -> dict:
    """Our state dict filled with what was given; raises ValueError that names the first tensor that does not fit."""
    ours = model.state_dict()
    by_name = dict(given)
    if set(by_name) == set(ours):
        pairs = [(name, name, by_name[name]) for name in ours]
    else:
        # By order: what both sides count as weights. Batch norm's counters of batches say nothing.
        counted = [name for name in ours if not name.endswith("num_batches_tracked") and name != "spline"]
        given = [(name, value) for name, value in given if not name.endswith("num_batches_tracked")]
        if len(counted) != len(given):
            raise ValueError(f"{path}: {len(given)} tensors, the network has {len(counted)}: {', '.join(n for n, _ in given)}")
        pairs = [(name, other, value) for name, (other, value) in zip(counted, given)]
    for name, other, value in pairs:
        if value.shape != ours[name].shape:
            raise ValueError(f"{path}: {other} has shape {tuple(value.shape)}, {name} needs {tuple(ours[name].shape)}")
        ours[name] = value.to(ours[name].dtype)
    return ours


def convert(name: str, weights: Path, out: Path, flip: bool = False):
    """`stillair_training convert NAME`: writes a run of no steps with these weights."""
    recipe, weights, out = RECIPES[name], Path(weights), Path(out)
    given = from_h5(weights, flip) if weights.suffix in (".h5", ".hdf5") else from_torch(weights)
    model = recipe.build()
    state = match(model, given, weights)
    model.load_state_dict(state)
    out.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (out / "settings.json").write_text(json.dumps({"converted_from": weights.name, "sha256": digest, "network": name}, indent=1) + "\n")
    torch.save({"average": state, "model": state, "step": 0, "seconds": 0.0}, out / "checkpoint.pt")
    print(f"{out}: {len(given)} tensors of {weights}; now `export {name} --run {out}`")
