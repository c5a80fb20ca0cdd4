"""card.toml of a run, as honest as its settings and its table allow."""

from pathlib import Path

import numpy as np

from . import dataset

CARD = """name = "{name}"
description = "{description}"
file = "model.onnx"
sha256 = "{sha}"
opset = {opset}
precision = "f32"
licence = "Apache-2.0 OR MIT"
provenance = \"\"\"
{provenance}
\"\"\"

{inputs}
[output]
name = "{output}"

[shape]
side = {side}
multiple = {multiple}
{border}batches = {batches}

[normalisation]
{rule}

[target]
psf_fwhm = {target}

[domain]
psf_fwhm = [{low:.1f}, {high:.1f}]
snr = [3.0, 1000.0]
morphology = "{morphology}"

[validation]
command = "none: not evaluated"
data = "none"
"""
MORPHOLOGY = ("Sersic galaxies, bulges with discs, spirals with clumps, irregulars, stars, blank positions, "
              "as `stillair simulate --stamps` draws them")
RULES = {
    "central-peak": 'rule = "central-peak"\nbox = 16\nsmooth = 3\nfloor_sigmas = 5.0',
    "observed-maximum": 'rule = "observed-maximum"\nfloor_sigmas = 5.0',
}


def write(folder: Path, recipe, sha: str, opset: int, names, settings, state):
    """Writes folder/card.toml; `settings` and `state` are of the run, None for untrained weights."""
    entries = [f'[[inputs]]\nname = "{names[0]}"\nplanes = [{", ".join(chr(34) + p + chr(34) for p in recipe.planes)}]\n']
    entries += [f'[[inputs]]\nname = "{kind}"\nscalar = "{kind}"\n' for kind in recipe.scalars]
    if settings is None:
        description = f"UNTRAINED: {recipe.description}"
        provenance, low, high, morphology = "Random weights, not trained: the output means nothing.", 0.0, 0.0, "none: untrained"
    elif "converted_from" in settings:
        description, low, high, morphology = recipe.description, 0.0, 0.0, "not known: fill in what the authors trained it on"
        provenance = f"Converted from {settings['converted_from']} (sha256 {settings['sha256']}); name its authors, its licence and its training here."
    else:
        description, morphology = recipe.description, MORPHOLOGY
        sets = [dataset.read(path, recipe.rule) for path in settings["data"]]
        widths = np.concatenate([s.psf_fwhm_target for s in sets])
        low, high = widths.min(), widths.max()
        seen = state["step"] * settings["batch"] * settings["workers"]
        distinct = settings["training_stamps"]
        short = "A short training: more steps should still gain.\n" if seen < 100 * distinct else ""
        provenance = (
            f"Trained from random weights by models/training on the {'GPU' if settings['device'] == 'cuda' else 'processor'}: {state['step']:,} steps of batch "
            f"{settings['batch'] * settings['workers']}, {seen:,} stamps seen of {distinct:,} distinct ones ({seen / distinct:.1f} passes), "
            f"{state['seconds'] / 60:.1f} minutes on {settings['workers'] * settings['threads']} thread(s).\n{short}"
            f"Loss {settings['loss']}, crops of {settings['crop']}, Adam {settings['rate']:g} with cosine decay, averaged weights ({settings['averaging']}), seed {settings['seed']}.")
    big = recipe.parameters > 10_000_000
    text = CARD.format(
        name=Path(folder).name, description=description, sha=sha, opset=opset, provenance=provenance, inputs="\n".join(entries),
        output=names[1], side=recipe.side or '"dynamic"', multiple=recipe.multiple, border=f"border = {recipe.border}\n" if recipe.border else "",
        batches="[1, 4]" if big else "[1, 4, 8, 32]", rule=RULES[recipe.rule], low=np.floor(10 * low) / 10, high=np.ceil(10 * high) / 10,
        morphology=morphology, target=list(recipe.target) if recipe.target else 2.0)
    (Path(folder) / "card.toml").write_text(text)


def put_figures(folder: Path, command: str, data: str, bins: str):
    """Replaces [validation] and what follows it."""
    path = Path(folder) / "card.toml"
    head = path.read_text().split("[validation]")[0]
    path.write_text(f'{head}[validation]\ncommand = "{command}"\ndata = "{data}"\n\n{bins}')
