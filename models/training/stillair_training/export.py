"""From a run to model.onnx, example/*.npy and the parity between PyTorch and ONNX Runtime."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from . import dataset
from .train import forward
from .xdense import SIDE_MULTIPLE, XDense

OPSET = 17
IR_VERSION = 10
PARITY = 1e-4
INPUT, OUTPUT = "image", "restored"


def load(from_run: Path) -> XDense:
    """The averaged weights of a run."""
    model = XDense()
    model.load_state_dict(torch.load(Path(from_run) / "checkpoint.pt", weights_only=True)["average"])
    return model.eval()


def write_onnx(model: XDense, path: Path, side: int = 64):
    """ONNX file with a dynamic batch and a dynamic side (any multiple of 8)."""
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, side, side),),
        str(path),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "batch", 2: "rows", 3: "columns"}, OUTPUT: {0: "batch", 2: "rows", 3: "columns"}},
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


def export(from_run: Path, data: Path, out: Path):
    """`stillair_training export xdense`."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    model, stamps = load(from_run), dataset.read(data)
    path = out / "model.onnx"
    write_onnx(model, path)

    run = session(path)
    rows = np.linspace(0, len(stamps) - 1, 64).astype(int)
    scale = stamps.scale[rows].astype(np.float32)
    images = (stamps.tikhonov[rows] / scale[:, None, None]).astype(np.float32)
    worst = 0.0
    for side in (stamps.side, stamps.side - SIDE_MULTIPLE, 2 * stamps.side):
        for batch in (1, 7, 64):
            x = np.resize(images[:batch], (batch, stamps.side, stamps.side))
            pad = max(0, side - stamps.side)
            x = np.pad(x, ((0, 0), (0, pad), (0, pad)))[:, :side, :side]
            with torch.no_grad():
                ours = forward(model, torch.from_numpy(x), False).numpy()
            theirs = run.run([OUTPUT], {INPUT: x[:, None]})[0][:, 0]
            worst = max(worst, float(np.abs(ours - theirs).max()))
    if not worst < PARITY:
        raise ValueError(f"PyTorch and ONNX Runtime differ by {worst:.2e} (normalised units), more than {PARITY:.0e}")

    # The example: what the adapter gets, and what PyTorch makes of it, in flux per target pixel.
    kept = rows[:: len(rows) // 4][:4]
    scale = stamps.scale[kept].astype(np.float32)[:, None, None]
    with torch.no_grad():
        expected = forward(model, torch.from_numpy(stamps.tikhonov[kept] / scale), False).numpy() * scale
    example = out / "example"
    example.mkdir(exist_ok=True)
    np.save(example / "tikhonov.npy", stamps.tikhonov[kept].astype("<f4"))
    np.save(example / "noise_sigma.npy", stamps.noise_sigma[kept].astype("<f8"))
    np.save(example / "sky_sigma.npy", stamps.sky_sigma[kept].astype("<f8"))
    np.save(example / "expected.npy", expected.astype("<f4"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: opset {OPSET}, IR {IR_VERSION}, {path.stat().st_size} bytes, largest difference to PyTorch {worst:.1e}")
    print(f"sha256 = \"{digest}\"  (goes into {out}/card.toml)")
