"""Command line: python -m stillair_training {train,export,evaluate} NAME ..., list, convert, and stand-in for test data."""

import argparse
import sys
from pathlib import Path

from .loss import KINDS
from .registry import RECIPES


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="stillair_training", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    one = commands.add_parser("train", help="train a network", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    one.add_argument("network", choices=list(RECIPES))
    one.add_argument("--data", type=Path, nargs="+", required=True, help="folders of training stamps")
    one.add_argument("--validation", type=Path, required=True, help="folder of validation stamps, of other seeds")
    one.add_argument("--out", type=Path, required=True, help="folder of the run; a run that was broken off goes on")
    one.add_argument("--steps", type=int, default=20000)
    one.add_argument("--minutes", type=float, default=0.0, help="end after this time if that comes before --steps; 0: no limit")
    one.add_argument("--batch", type=int, help="stamps a step; default: the recipe's")
    one.add_argument("--crop", type=int, help="side of the random crops, target pixels; default: the recipe's")
    one.add_argument("--loss", choices=KINDS, help="default: the recipe's")
    one.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    one.add_argument("--rate", type=float, help="Adam's rate after warm-up; default: the recipe's")
    one.add_argument("--last-rate", type=float, default=0.01, help="end of the cosine decay, as a share of --rate")
    one.add_argument("--warm-up", type=int, default=200, help="steps")
    one.add_argument("--averaging", type=float, default=0.999, help="decay of the running average of the weights")
    one.add_argument("--every", type=int, default=500, help="steps between validations and checkpoints")
    one.add_argument("--validation-stamps", type=int, default=500, help="how many stamps are scored during training")
    one.add_argument("--start-from", type=Path, help="checkpoint.pt of another run whose weights to start from")
    one.add_argument("--no-bf16", dest="bf16", action="store_false", default=None, help="train in f32")
    one.add_argument("--workers", type=int, default=1, help="processes that share every step; each takes --batch stamps")
    one.add_argument("--threads", type=int, default=2, help="threads of one worker")
    one.add_argument("--seed", type=int, default=1)

    two = commands.add_parser("export", help="write model.onnx and example/*.npy and check parity with PyTorch")
    two.add_argument("network", choices=list(RECIPES))
    two.add_argument("--run", dest="from_run", type=Path, help="folder of the run")
    two.add_argument("--untrained", action="store_true", help="random weights instead of a run's, to see that the way works")
    two.add_argument("--data", type=Path, required=True, help="folder of stamps, for the example and the parity")
    two.add_argument("--out", type=Path, required=True, help="the model's folder, e.g. models/xdense")

    three = commands.add_parser("evaluate", help="score model.onnx against the Tikhonov input alone")
    three.add_argument("network", choices=list(RECIPES))
    three.add_argument("--model", type=Path, required=True, help="the model's folder")
    three.add_argument("--data", type=Path, required=True, help="folder of stamps")
    three.add_argument("--out", type=Path, help="write the figures here as JSON")
    three.add_argument("--pictures", type=Path, help="write a sheet of examples here as PNG")
    three.add_argument("--write-card", metavar="COMMAND", help="put the figures into the card; COMMAND made the data")

    commands.add_parser("list", help="the networks and their counts of parameters")

    six = commands.add_parser("cost", help="parameters, operations and time of one stamp on one thread of the processor, untrained weights")
    six.add_argument("networks", nargs="*", metavar="network", help="default: all")

    five = commands.add_parser("convert", help="weights of others (PyTorch state dict, Keras .h5) into a run that export takes")
    five.add_argument("network", choices=list(RECIPES))
    five.add_argument("--weights", type=Path, required=True)
    five.add_argument("--out", type=Path, required=True, help="folder of the run")
    five.add_argument("--flip", action="store_true", help="turn kernels by half a turn: Keras 1 files written with Theano")

    four = commands.add_parser("stand-in", help="make stamps without stillair, for tests of this code")
    four.add_argument("--out", type=Path, required=True)
    four.add_argument("--count", type=int, default=1000)
    four.add_argument("--side", type=int, default=64)
    four.add_argument("--seed", type=int, default=1)
    return top


def main(argv=None) -> int:
    args = parser().parse_args(argv)
    try:
        if args.command == "train":
            from .train import train

            train(args)
        elif args.command == "export":
            from .export import export

            if (args.from_run is None) != args.untrained:
                raise ValueError("export: give either --run or --untrained")
            export(args.network, args.from_run, args.data, args.out)
        elif args.command == "evaluate":
            from .evaluate import evaluate

            evaluate(args.network, args.model, args.data, args.out, args.pictures, args.write_card)
        elif args.command == "cost":
            from .cost import table

            unknown = set(args.networks) - set(RECIPES)
            if unknown:
                raise ValueError(f"cost: no network {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
            table(args.networks or list(RECIPES))
        elif args.command == "convert":
            from .convert import convert

            convert(args.network, args.weights, args.out, args.flip)
        elif args.command == "list":
            for recipe in RECIPES.values():
                print(f"{recipe.name:20} {recipe.parameters:>12,}  {recipe.description}")
        else:
            from .standin import write

            write(args.out, args.count, args.side, args.seed)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"stillair_training: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
