"""Train a GAN, and use what it has learned, without a notebook.

From a folder of images to samples, in six lines:

  cd FOLDER_OF_THE_COURSE
  make setup
  . .venv/bin/activate
  python -m ganlib train --data ~/pictures --size 64 --networks convolutional --out run
  python -m ganlib sample run --out sheet.png
  python -m ganlib sample run --out samples --count 1000

Ctrl-C stops a run and saves it; "train --resume --out run" goes on with it.
"train --help" lists what you can set for a run, and what it writes.

Exit codes: 0 done; 1 a mistake, which one sentence explains ("python -X dev -m ganlib"
shows where); 2 options that do not fit; 130 stopped by Ctrl-C or SIGTERM.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

TRAIN = """Train G and D on a dataset, or on a folder of your own images.

The folder of the run gets run.safetensors (all of the run, saved every 30 seconds),
samples.png (what G makes of the same noise, at each record), records.jsonl (one record
a line) and settings.json (the options, which --resume and the other commands read).
"""
USUAL = ArithmeticError, OSError, TypeError, ValueError  # ganlib's own, and those of
MISTAKES = *USUAL, AssertionError, ImportError, RuntimeError  # missing CUDA, ONNX, data


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say, by default the command line's; return the exit code.

    It is 0, 1 or 130, as above; for 2, argparse raises SystemExit.
    """
    parser, train = new_parser()
    args = parser.parse_args(arguments)
    try:
        from ganlib import commands  # imports torch, for which --help need not wait

        if getattr(args, "resume", False):  # the options of the run become the defaults
            saved = vars(commands.read_settings(args.out))
            if args.steps is not None or args.minutes is not None:
                saved |= {"steps": None, "minutes": None}
            train.set_defaults(**saved)
            args = parser.parse_args(arguments)
        getattr(commands, args.command)(args)
    except KeyboardInterrupt:
        more = "; train --resume goes on" if args.command == "train" else ""
        print(f"ganlib: stopped{more}", file=sys.stderr)
        return 130
    except MISTAKES as error:
        if sys.flags.dev_mode:
            raise
        print(f"ganlib: {error}", file=sys.stderr)
        return 1
    return 0


def new_parser() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Return the parser of everything, and that of ``train``."""
    raw = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser("python -m ganlib", description=__doc__, **raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        summary = text.partition("\n")[0]
        return commands.add_parser(name, help=summary, description=text, **raw)

    def add(to: argparse.ArgumentParser, name: str, text: str, default=None, **more):
        if default is not None:
            more = {"type": type(default), "default": default, **more}
            text += " (default: %(default)s)"
        to.add_argument(name, help=text, **more)

    on, path = {"action": "store_true"}, {"type": lambda x: Path(x).expanduser()}
    train = command("train", TRAIN)
    add(train, "--out", "the folder of the run", **path, required=True)
    add(train, "--resume", "go on with the run in --out, with its options", **on)
    limit = train.add_mutually_exclusive_group()
    add(limit, "--steps", "updates of D, and as many of G (default: 5000)", type=int)
    add(
        limit,
        "--minutes",
        "stop after this many minutes, in place of --steps",
        type=float,
    )
    add(train, "--data", "mnist, fashion-mnist, digits, or a folder", "mnist")
    add(train, "--size", "for a folder: width and height of its images", 32)
    add(train, "--gray", "for a folder: make its images gray", **on)
    other = train.add_mutually_exclusive_group()
    add(other, "--to", "learn to translate --data into this data, and back")
    add(other, "--conditional", "learn the labels, too (subfolders are labels)", **on)
    kinds, losses = ("dense", "convolutional", "mixed"), ("classic", "r1", "pairing")
    add(train, "--networks", "mixed: D is dense, G is not", "dense", choices=kinds)
    text = "pairing: R3GAN (default: classic; r1 if convolutional, or with --gamma)"
    add(train, "--objective", text, choices=losses)
    text = "the weight of the penalty in r1 and pairing (default: 1)"
    add(train, "--gamma", text, type=float)
    add(train, "--batch-size", "real images, and as many fakes, in a step", 64)
    add(train, "--record-every", "steps between two records", 100)
    add(train, "--seed", "of weights, noise and the order of images", 0)
    add(train, "--device", "cpu or cuda (default: cuda, if there is a GPU)")

    text = "a .png for one sheet; any other name for a folder of PNGs"
    sample = command("sample", "Generate images.")
    add(sample, "--out", text, "sheet.png", **path)
    add(sample, "--count", "how many images", 64)
    add(sample, "--seed", "of the noise", 0)
    add(sample, "--label", "which label, after train --conditional", type=int)
    translate = command("translate", "Translate images, after train --to.")
    add(translate, "--out", text, "translated", **path)
    add(translate, "--data", "what to translate: as for train", required=True)
    add(translate, "--back", "from what was --to into what was --data", **on)
    evaluate = command(
        "evaluate", "Print the table of notebook 06; write RUN/table.json."
    )
    export = command("export", "Write G as ONNX, checked (pip install -e '.[onnx]').")
    add(export, "--out", "the file", "G.onnx", **path)
    for other in (sample, translate, evaluate, export):
        add(other, "run", "the folder of a run", **path)
    return parser, train


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    sys.exit(main())
