"""Training of any network of the registry: bf16 autocast, channels-last, random crops, Adam with cosine decay, averaged weights.

It runs on the processor, and with `--device cuda` (or `auto` where there is one) on a GPU.

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

from . import dataset, loss as losses, metrics, planes, shape
from .registry import RECIPES
from .xdense import trainable_parameters

LOG_FIELDS = ("step", "seconds", "rate", "train_loss", "train_pixels", "train_flux", "validation_loss", "validation_pixels",
              "validation_flux", *(f"nmse_snr_{low}_{high}" for low, high in metrics.BINS))

# Steps at which networks that measure the noise in their channels do so: every one of the first, then every so many.
NOISE_FIRST, NOISE_EVERY = 50, 20


class Batches:
    """The batch of every step, made from the seed and the step alone."""

    def __init__(self, sets, batch: int, crop: int, seed: int, worker: int = 0, workers: int = 1, recipe=RECIPES["xdense"]):
        self.recipe = recipe
        self.sets, self.batch, self.crop, self.seed = sets, batch, crop, seed
        self.worker, self.workers = worker, workers
        self.index = np.concatenate([np.stack([np.full(len(s), k), np.arange(len(s))], 1) for k, s in enumerate(sets)])
        self.denominators = [losses.denominators(s) for s in sets]
        self.windows = [losses.windows(s.side) for s in sets]
        self.per_epoch = len(self.index) // batch

    def rows(self, turn: int):
        epoch, k = divmod(turn, self.per_epoch)
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.index))
        return self.index[self._order[k * self.batch : (k + 1) * self.batch]]

    def __call__(self, step: int):
        """(images (B, C, c + 2 border, c + 2 border), scalars [(B,)], truth, w, v (B, c, c), d, d_flux (B,)) of a step."""
        turn = step * self.workers + self.worker
        rng = np.random.default_rng((self.seed, 7, turn))
        c, b = self.crop, self.recipe.border
        wide = c + 2 * b
        x = np.empty((self.batch, len(self.recipe.planes), wide, wide), np.float32)
        t = np.empty((self.batch, c, c), np.float32)
        w, v = np.empty_like(t), np.empty_like(t)
        d, d_flux = np.empty(self.batch, np.float32), np.empty(self.batch, np.float32)
        scalars = [np.empty(self.batch, np.float32) for _ in self.recipe.scalars]
        for i, (k, row) in enumerate(self.rows(turn)):
            s = self.sets[k]
            # The object's centre, n/2, stays at least a quarter of the crop away from the crop's border.
            low, high = max(b, s.side // 2 - 3 * c // 4), min(s.side - c - b, s.side // 2 - c // 4)
            top, left = rng.integers(low, high + 1, 2)
            quarter, flip = rng.integers(4), rng.integers(2)
            cut = (slice(top, top + c), slice(left, left + c))
            further = (slice(top - b, top + c + b), slice(left - b, left + c + b))
            given = planes.images(s, self.recipe.planes, [row])[0]
            pairs = [(x[i, j], plane[further]) for j, plane in enumerate(given)]
            pairs += [(t[i], s.truth[row][cut]), (w[i], self.windows[k][0][cut]), (v[i], self.windows[k][1][cut])]
            for out, part in pairs:
                part = np.rot90(part, quarter)
                out[:] = part[:, ::-1] if flip else part
            x[i] /= s.scale[row]
            t[i] /= s.scale[row]
            d[i], d_flux[i] = self.denominators[k][0][row], self.denominators[k][1][row]
            for out, kind in zip(scalars, self.recipe.scalars):
                out[i] = planes.scaled_scalar(s, kind, row)
        return torch.from_numpy(x), [torch.from_numpy(a) for a in scalars], *(torch.from_numpy(a) for a in (t, w, v, d, d_flux))


def blank_noise(sets, crop: int, count: int = 256, peak: float = 6.0):
    """Tikhonov images of blank sky divided by their noise, (<= count, 1, crop, crop); those with something left in them are passed over."""
    out = []
    for s in sets:
        for row in np.flatnonzero(s.kind == "blank"):
            image = s.tikhonov[row] / s.noise_sigma[row]
            if np.abs(image).max() < peak and len(out) < count:
                first = (s.side - crop) // 2
                out.append(image[first : first + crop, first : first + crop].astype(np.float32))
    if not out:
        raise ValueError("no blank stamps among the training stamps: this network measures its noise levels on them")
    return torch.from_numpy(np.stack(out))[:, None]


def forward(model, images, bf16: bool, scalars=()):
    """(B, C, n, n) normalised planes and their scalars through the network: (B, n, n), f32. (B, n, n) is taken as one plane."""
    if images.ndim == 3:
        images = images[:, None]
    inputs = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=bf16):
        return model(inputs, *scalars).float()[:, 0]


@torch.no_grad()
def predict(model, stamps, rows, recipe, batch: int = 64):
    """Outputs in flux per target pixel for the given rows, in f32."""
    model.eval()
    device = next(model.parameters()).device
    out = np.empty((len(rows), stamps.side, stamps.side), np.float32)
    for i in range(0, len(rows), batch):
        image, scalars, scale = planes.inputs(recipe, stamps, rows[i : i + batch])
        given = [torch.from_numpy(a).to(device) for a in scalars]
        got = forward(model, torch.from_numpy(image).to(device), False, given)
        out[i : i + batch] = got.cpu().numpy() * scale[:, None, None]
    return out


def validate(model, stamps, rows, recipe):
    """(loss, pixel part, flux part, scores); the loss is `balanced`, whatever the network is trained on, so that runs compare."""
    estimate = predict(model, stamps, rows, recipe)
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
    if not norms:
        return
    device = next(model.parameters()).device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    model.train()
    for step in range(first, first + count):
        forward(model, batches(step)[0].to(device), False)
    model.eval()
    for norm in norms:
        norm.momentum = 0.1


def train(args):
    """`stillair_training train NAME`."""
    recipe = RECIPES[args.network]
    for name in ("batch", "crop", "rate", "loss", "bf16"):
        if getattr(args, name, None) is None:
            setattr(args, name, getattr(recipe, name))
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
    recipe = RECIPES[args.network]
    device = torch.device("cuda" if args.device == "cuda" or (args.device == "auto" and torch.cuda.is_available()) else "cpu")
    sets = [dataset.read(folder, recipe.rule) for folder in args.data]
    held_out = dataset.read(args.validation, recipe.rule)
    largest = min(s.side for s in sets) - 2 * recipe.border
    if args.crop % recipe.multiple or args.crop > largest or (recipe.side and args.crop != recipe.side):
        raise ValueError(f"--crop {args.crop}: must be {recipe.side or f'a multiple of {recipe.multiple}'} and at most {largest}")
    if args.loss == "shape" and args.crop != sets[0].side:
        raise ValueError(f"--loss shape: looks at whole stamps, give --crop {sets[0].side}")
    batches = Batches(sets, args.batch, args.crop, args.seed, worker, args.workers, recipe)
    rows = np.linspace(0, len(held_out) - 1, min(args.validation_stamps, len(held_out))).astype(int)

    model = recipe.build().to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    filters = torch.from_numpy(shape.constraints(args.crop)).to(device) if args.loss == "shape" else None
    noise = blank_noise(sets, args.crop).to(device) if hasattr(model, "measure_noise") else None
    if args.start_from:
        weights = torch.load(args.start_from, weights_only=True, map_location=device)["average"]
        model.load_state_dict(weights)
        average.load_state_dict(weights)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=recipe.decay)
    step, before = 0, 0.0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, before = state["step"], state["seconds"]
        print(f"worker {worker} resumes {out} at step {step}", flush=True)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ("run",)}
    settings |= {"trainable_parameters": trainable_parameters(model), "training_stamps": len(batches.index), "device": device.type, "torch": torch.__version__}
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
        x, scalars, *rest = batches(step)
        t, w, v, d, d_flux = (a.to(device) for a in rest)
        model.train()
        if noise is not None and (step < NOISE_FIRST or step % NOISE_EVERY == 0):
            first = 8 * step % len(noise)
            model.measure_noise(noise[first : first + 8], 0.2 if step < NOISE_FIRST else 0.05)
        got = forward(model, x.to(device), args.bf16, [a.to(device) for a in scalars])
        total, pixels, flux = losses.loss(got, t, w, v, d, d_flux)
        if args.loss == "shape":
            total = shape.loss(got, t, filters)
        elif args.loss != "balanced":
            total = losses.plain(args.loss, got, t)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        if args.workers > 1:
            average_gradients(model, args.workers)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {step}; resume from {checkpoint} with a lower --rate")
        optimiser.step()
        if hasattr(model, "project"):
            model.project()
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
            scores = validate(average, held_out, rows, recipe)
            report(log, step, seconds(), rate, running, scores)
            running[:] = 0
            save()
    if worker > 0:
        return
    refresh_norms(average, batches, step)
    report(log, step, seconds(), 0.0, running, validate(average, held_out, rows, recipe))
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
    left.set(xlabel="step", ylabel="loss (validation: balanced)", yscale="log")
    left.legend()
    for low, high in metrics.BINS:
        right.plot(steps, [float(r[f"nmse_snr_{low}_{high}"]) for r in rows], label=f"SNR {low}-{high}")
    right.set(xlabel="step", ylabel="median windowed NMSE", yscale="log")
    right.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
