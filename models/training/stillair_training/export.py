"""From a run to model.onnx, card.toml, example/*.npy and the parity between PyTorch and ONNX Runtime."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from . import card, dataset, planes
from .registry import RECIPES
from .train import forward

OPSET = 17
IR_VERSION = 10
PARITY = 1e-4
INPUT, OUTPUT = "image", "restored"


def load(recipe, from_run: Path) -> torch.nn.Module:
    """The averaged weights of a run."""
    model = recipe.build()
    state = torch.load(Path(from_run) / "checkpoint.pt", weights_only=True, map_location="cpu")
    model.load_state_dict(state["average"])
    return model.eval()


def untrained(recipe, seed: int = 1) -> torch.nn.Module:
    """Random weights, the same every time."""
    torch.manual_seed(seed)
    return recipe.build().eval()


def write_onnx(recipe, model, path: Path, side: int | None = None):
    """ONNX file with a dynamic batch and, unless the recipe has one side alone, dynamic sides."""
    wide = (side or recipe.input_side) + 2 * recipe.border
    image = torch.rand(2, len(recipe.planes), wide, wide)
    scalars = [torch.full((2,), 4.0 if kind in planes.WIDTHS else 0.1) for kind in recipe.scalars]
    sides = {} if recipe.side else {2: "rows", 3: "columns"}
    axes = {INPUT: {0: "batch", **sides}, OUTPUT: {0: "batch", **sides}} | {name: {0: "batch"} for name in recipe.scalars}
    torch.onnx.export(
        model,
        (image, *scalars),
        str(path),
        input_names=[INPUT, *recipe.scalars],
        output_names=[OUTPUT],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    graph = onnx.load(path)
    graph.ir_version = IR_VERSION
    graph.producer_name, graph.producer_version = "stillair_training", ""
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def session(path: Path, threads: int = 2) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def call(run, recipe, image, scalars):
    """The graph's output, (B, n, n)."""
    return run.run([OUTPUT], {INPUT: image, **dict(zip(recipe.scalars, scalars))})[0][:, 0]


def parity(recipe, model, run, image, scalars, batches=(1, 7, 32)) -> float:
    """Largest difference between PyTorch and ONNX Runtime, normalised units, over batch sizes and, where it takes them, sides."""
    side = image.shape[-1] - 2 * recipe.border
    sides = (side,) if recipe.side else (side, side - recipe.multiple, 2 * side)
    worst = 0.0
    for wanted in sides:
        wide = wanted + 2 * recipe.border
        pad = max(0, wide - image.shape[-1])
        for batch in batches:
            x = np.resize(image, (batch, *image.shape[1:]))
            x = np.ascontiguousarray(np.pad(x, ((0, 0), (0, 0), (0, pad), (0, pad)))[..., :wide, :wide])
            given = [np.resize(s, batch) for s in scalars]
            with torch.no_grad():
                ours = forward(model, torch.from_numpy(x), False, [torch.from_numpy(s) for s in given]).numpy()
            theirs = call(run, recipe, x, given)
            if ours.shape != (batch, wanted, wanted) or theirs.shape != ours.shape:
                raise ValueError(f"output of {theirs.shape}, expected {(batch, wanted, wanted)}")
            worst = max(worst, float(np.abs(ours - theirs).max()))
    if not worst < PARITY:
        raise ValueError(f"PyTorch and ONNX Runtime differ by {worst:.2e} (normalised units), more than {PARITY:.0e}")
    return worst


def export(name: str, from_run: Path | None, data: Path, out: Path):
    """`stillair_training export NAME`; without a run, the untrained network."""
    recipe, out = RECIPES[name], Path(out)
    out.mkdir(parents=True, exist_ok=True)
    batches = (1, 2) if recipe.parameters > 10_000_000 else (1, 7, 32)
    model = load(recipe, from_run) if from_run else untrained(recipe)
    stamps = dataset.read(data, recipe.rule)
    path = out / "model.onnx"
    write_onnx(recipe, model, path)

    rows = np.linspace(0, len(stamps) - 1, max(batches)).astype(int)
    image, scalars, _ = planes.inputs(recipe, stamps, rows)
    worst = parity(recipe, model, session(path), image, scalars, batches)

    # The example: what the adapter gets, and what PyTorch makes of it, in flux per target pixel.
    kept = np.unique(np.linspace(0, len(stamps) - 1, 4).astype(int))
    image, scalars, scale = planes.inputs(recipe, stamps, kept)
    with torch.no_grad():
        got = forward(model, torch.from_numpy(image), False, [torch.from_numpy(s) for s in scalars])
    example = out / "example"
    example.mkdir(exist_ok=True)
    files = {"tikhonov": stamps.tikhonov, "expected": got.numpy() * scale[:, None, None]}
    derived = set(recipe.planes) & set(planes.OF_OBSERVED)
    if derived:
        files["observed"] = stamps.observed
    if derived - {"observed"} or "psf" in recipe.planes:
        files["psf"] = stamps.psf
    if set(recipe.planes) & set(planes.COMPANIONS):
        files |= {"sharper": stamps.sharper, "smoother": stamps.smoother}
        numbers = [planes.scalar(stamps, kind, kept) for kind in ("noise-sharper", "noise-smoother", "psf-fwhm", "target-fwhm")]
        np.save(example / "numbers.npy", np.stack(numbers, 1).astype("<f8"))
    for label, array in files.items():
        np.save(example / f"{label}.npy", (array if label == "expected" else array[kept]).astype("<f4"))
    np.save(example / "noise_sigma.npy", stamps.noise_sigma[kept].astype("<f8"))
    np.save(example / "sky_sigma.npy", stamps.sky_sigma[kept].astype("<f8"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: opset {OPSET}, IR {IR_VERSION}, {path.stat().st_size} bytes, largest difference to PyTorch {worst:.1e}")
    if (out / "card.toml").exists():
        print(f"sha256 = \"{digest}\"  (goes into {out}/card.toml)")
        return
    settings = json.loads((Path(from_run) / "settings.json").read_text()) if from_run else None
    state = torch.load(Path(from_run) / "checkpoint.pt", weights_only=True, map_location="cpu") if from_run else None
    card.write(out, recipe, digest, OPSET, (INPUT, OUTPUT), settings, state)
    print(f"{out}/card.toml: written; `evaluate {name} --write-card` puts the figures in")
