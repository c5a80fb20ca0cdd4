"""What each network costs: parameters, floating-point operations, time of ONNX Runtime on one thread. The table of docs/networks.md."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from .export import INPUT, session, untrained, write_onnx
from .registry import RECIPES

SIDE = 64


def cost(name: str, calls: int = 9):
    """(parameters, GFLOP of one stamp, ms of one stamp alone)."""
    recipe = RECIPES[name]
    model = untrained(recipe)
    wide = SIDE + 2 * recipe.border
    image, scalars = torch.rand(1, len(recipe.planes), wide, wide), [torch.full((1,), 0.1) for _ in recipe.scalars]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image, *scalars)
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(recipe, model, Path(folder) / "model.onnx")
        run = session(Path(folder) / "model.onnx", threads=1)
        given = {INPUT: image.numpy(), **{kind: np.full(1, 0.1, np.float32) for kind in recipe.scalars}}
        times = []
        for _ in range(calls):
            start = time.process_time()
            run.run(None, given)
            times.append(time.process_time() - start)
    return recipe.parameters, counter.get_total_flops() / 1e9, 1e3 * statistics.median(times[1:])


def table(names):
    """Prints a line of Markdown per network."""
    print("| network | parameters | GFLOP | CPU ms |\n|---|---|---|---|")
    for name in names:
        parameters, gflop, ms = cost(name)
        print(f"| {name} | {parameters:,} | {gflop:.3g} | {ms:.3g} |", flush=True)
