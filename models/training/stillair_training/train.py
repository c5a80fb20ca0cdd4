"""Training of XDense on a CPU: bf16 autocast, channels-last, random crops, Adam with cosine decay, averaged weights.

A run is a folder: settings.json, log.csv (one line per validation), checkpoint.pt (resumes from it), curves.png.
Batches and augmentations depend only on the seed and the step, so a resumed run sees what an unbroken one would see.
"""

import copy
import csv
import json
import math
import socket
import time
from pathlib import Path

import numpy as np
import torch

from . import dataset, loss as losses, metrics
from .xdense import SIDE_MULTIPLE, XDense, trainable_parameters

LOG_FIELDS = ("step", "seconds", "rate", "train_loss", "train_pixels", "train_flux", "validation_loss", "validation_pixels",
              "validation_flux", *(f"nmse_snr_{low}_{high}" for low, high in metrics.BINS))


class Batches:
    """The batch of every step, made from the seed and the step alone."""

    def __init__(self, sets, batch: int, crop: int, seed: int, worker: int = 0, workers: int = 1):
        self.sets, self.batch, self.crop, self.seed = sets, batch, crop, seed
        self.worker, self.workers = worker, workers
        self.index = np.concatenate([np.stack([np.full(len(s), k), np.arange(len(s))], 1) for k, s in enumerate(sets)])
        self.denominators = [losses.denominators(s) for s in sets]
        self.side = sets[0].side
        self.windows = losses.windows(self.side)
        self.per_epoch = len(self.index) // batch

    def rows(self, turn: int):
        epoch, k = divmod(turn, self.per_epoch)
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.index))
        return self.index[self._order[k * self.batch : (k + 1) * self.batch]]

    def __call__(self, step: int):
        turn = step * self.workers + self.worker
        rng = np.random.default_rng((self.seed, 7, turn))
        c = self.crop
        x, t = np.empty((self.batch, c, c), np.float32), np.empty((self.batch, c, c), np.float32)
        w, v = np.empty_like(x), np.empty_like(x)
        d, d_flux = np.empty(self.batch, np.float32), np.empty(self.batch, np.float32)
        for i, (k, row) in enumerate(self.rows(turn)):
            s = self.sets[k]
            # The object's centre, n/2, stays at least a quarter of the crop away from the crop's border.
            low, high = max(0, self.side // 2 - 3 * c // 4), min(self.side - c, self.side // 2 - c // 4)
            top, left = rng.integers(low, high + 1, 2)
            quarter, flip = rng.integers(4), rng.integers(2)
            cut = (slice(top, top + c), slice(left, left + c))
            for out, image in ((x[i], s.tikhonov[row]), (t[i], s.truth[row]), (w[i], self.windows[0]), (v[i], self.windows[1])):
                part = np.rot90(image[cut], quarter)
                out[:] = part[:, ::-1] if flip else part
            x[i] /= s.scale[row]
            t[i] /= s.scale[row]
            d[i], d_flux[i] = self.denominators[k][0][row], self.denominators[k][1][row]
        return [torch.from_numpy(a) for a in (x, t, w, v, d, d_flux)]


def forward(model, images, bf16: bool):
    """(B, n, n) normalised images through the network, f32 out."""
    inputs = images[:, None].contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        return model(inputs).float()[:, 0]


@torch.no_grad()
def predict(model, stamps, rows, batch: int = 64):
    """Outputs in flux per target pixel for the given rows, in f32."""
    model.eval()
    out = np.empty((len(rows), stamps.side, stamps.side), np.float32)
    for i in range(0, len(rows), batch):
        part = rows[i : i + batch]
        scale = stamps.scale[part].astype(np.float32)[:, None, None]
        out[i : i + batch] = forward(model, torch.from_numpy(stamps.tikhonov[part] / scale), False).numpy() * scale
    return out


def validate(model, stamps, rows):
    """(loss, pixel part, flux part, scores)."""
    estimate = predict(model, stamps, rows)
    scale = stamps.scale[rows][:, None, None]
    w, v = (torch.from_numpy(a).double() for a in losses.windows(stamps.side))
    d, d_flux = (torch.from_numpy(a[rows]) for a in losses.denominators(stamps))
    total, pixels, flux = losses.loss(
        torch.from_numpy(estimate / scale), torch.from_numpy(stamps.truth[rows] / scale), w, v, d, d_flux
    )
    return total.item(), pixels.item(), flux.item(), metrics.score(stamps, estimate, rows)


@torch.no_grad()
def refresh_norms(model, batches, first: int, count: int = 128):
    """Recompute the batch-norm averages for the averaged weights, on batches like those of training.

    Not on whole stamps: they hold more sky than the crops, so that the averages would be others than the weights were made for
    (tried: the windowed NMSE at SNR above 30 rose five- to fifteenfold).
    """
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    model.train()
    for step in range(first, first + count):
        forward(model, batches(step)[0], False)
    model.eval()
    for norm in norms:
        norm.momentum = 0.1


def train(args):
    """`stillair_training train xdense`."""
    if args.workers == 1:
        return work(0, args)
    # Where cores are shared with others, single-threaded processes waste less than one process whose threads wait for each other.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        args.port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (args,), nprocs=args.workers)


def average_gradients(model, workers: int):
    """The mean over the workers, in place: a step on `workers` batches as on one of that many times the size."""
    gradients = [p.grad for p in model.parameters()]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    flat /= workers
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def agree(value: float, workers: int) -> float:
    """The first worker's value, for all."""
    if workers == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    torch.distributed.broadcast(shared, 0)
    return shared.item()


def work(worker: int, args):
    """One worker; the first one validates, reports and saves."""
    if args.workers > 1:
        torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{args.port}", rank=worker, world_size=args.workers)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    sets = [dataset.read(folder) for folder in args.data]
    held_out = dataset.read(args.validation)
    if args.crop % SIDE_MULTIPLE or args.crop > sets[0].side:
        raise ValueError(f"--crop {args.crop}: must be a multiple of {SIDE_MULTIPLE} and at most {sets[0].side}")
    batches = Batches(sets, args.batch, args.crop, args.seed, worker, args.workers)
    rows = np.linspace(0, len(held_out) - 1, min(args.validation_stamps, len(held_out))).astype(int)

    model = XDense().to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    if args.start_from:
        weights = torch.load(args.start_from, weights_only=True)["average"]
        model.load_state_dict(weights)
        average.load_state_dict(weights)
    optimiser = torch.optim.Adam(model.parameters(), lr=args.rate)
    step, before = 0, 0.0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, before = state["step"], state["seconds"]
        print(f"worker {worker} resumes {out} at step {step}", flush=True)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ("run",)}
    settings |= {"trainable_parameters": trainable_parameters(model), "training_stamps": len(batches.index), "torch": torch.__version__}
    log = out / "log.csv"
    if worker == 0:
        (out / "settings.json").write_text(json.dumps(settings, indent=1, default=str) + "\n")
    if worker == 0 and (step == 0 or not log.exists()):
        log.write_text(",".join(LOG_FIELDS) + "\n")

    start = time.monotonic()

    def seconds():
        return before + time.monotonic() - start

    def save():
        state = {"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                 "step": step, "seconds": seconds()}
        torch.save(state, out / "checkpoint.new")
        (out / "checkpoint.new").replace(checkpoint)

    running = np.zeros(4)
    while True:
        # The decay follows the steps, or the clock where that runs out first.
        progress = step / args.steps
        if args.minutes:
            progress = max(progress, agree(seconds() / (60 * args.minutes), args.workers))
        if progress >= 1:
            break
        warm = min(1.0, (step + 1) / args.warm_up)
        rate = args.rate * warm * (args.last_rate + (1 - args.last_rate) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        for group in optimiser.param_groups:
            group["lr"] = rate
        x, t, w, v, d, d_flux = batches(step)
        model.train()
        total, pixels, flux = losses.loss(forward(model, x, args.bf16), t, w, v, d, d_flux)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        if args.workers > 1:
            average_gradients(model, args.workers)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {step}; resume from {checkpoint} with a lower --rate")
        optimiser.step()
        step += 1
        if worker > 0:
            continue
        keep = min(args.averaging, (1 + step) / (10 + step))
        with torch.no_grad():
            theirs = model.state_dict()
            for name, value in average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(theirs[name], 1 - keep)
                else:
                    value.copy_(theirs[name])
        running += (total.item(), pixels.item(), flux.item(), 1)
        if step % args.every == 0 or step == args.steps:
            scores = validate(average, held_out, rows)
            report(log, step, seconds(), rate, running, scores)
            running[:] = 0
            save()
    if worker > 0:
        return
    refresh_norms(average, batches, step)
    report(log, step, seconds(), 0.0, running, validate(average, held_out, rows))
    save()
    draw_curves(log, out / "curves.png")
    print(f"done: {step} steps, {step * args.batch * args.workers} stamps, {seconds() / 60:.1f} minutes", flush=True)


def report(log, step, seconds, rate, running, scores):
    """One line into log.csv and one onto the terminal."""
    total, pixels, flux, result = scores
    mean = running[:3] / running[3] if running[3] else [float("nan")] * 3
    nmse = {tuple(b["snr"]): b["nmse_median_network"] for b in result["bins"]}
    values = [step, f"{seconds:.1f}", f"{rate:.3g}", *(f"{m:.5g}" for m in mean), f"{total:.5g}", f"{pixels:.5g}", f"{flux:.5g}",
              *(f"{nmse.get(b, float('nan')):.5g}" for b in metrics.BINS)]
    with open(log, "a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(values)
    scores = " ".join(f"{nmse.get(b, math.nan):.4f}" for b in metrics.BINS)
    print(f"step {step}  {seconds:.0f} s  rate {rate:.2e}  train {mean[0]:.4f}  validation {total:.4f} (pixels {pixels:.4f}, flux {flux:.4f})"
          f"  NMSE by SNR {scores}", flush=True)


def draw_curves(log, path):
    """Loss and NMSE against steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(r["step"]) for r in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(steps, [float(r["train_loss"]) for r in rows], label="training")
    left.plot(steps, [float(r["validation_loss"]) for r in rows], label="validation, averaged weights")
    left.set(xlabel="step", ylabel="loss", yscale="log")
    left.legend()
    for low, high in metrics.BINS:
        right.plot(steps, [float(r[f"nmse_snr_{low}_{high}"]) for r in rows], label=f"SNR {low}-{high}")
    right.set(xlabel="step", ylabel="median windowed NMSE", yscale="log")
    right.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
