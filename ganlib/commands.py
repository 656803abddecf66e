"""What the commands of ``python -m ganlib`` do; ``args`` has their options."""

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stdout, suppress
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from ganlib import conditional, evaluation, models, steps, training, translation
from ganlib.checkpoint import load_or_train_judge
from ganlib.checks import wrong
from ganlib.convolutional import ConvDiscriminator, ConvGenerator
from ganlib.data import LabeledImages, load_folder, load_images
from ganlib.latent import sample_images, sample_noise
from ganlib.parallel import joined, rank
from ganlib.plots import png_bytes
from ganlib.storage import load_run, part, run_file
from ganlib.training import Record, TrainConfig

NAMES = "mnist", "fashion-mnist", "digits"
FOREVER = 10**9  # steps


def train(args: Namespace) -> None:
    """Train, and keep everything in the folder ``args.out``.

    Raises KeyboardInterrupt if it was stopped; the run is saved by then.
    """
    check_train(args)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    with joined(device) as device, redirect_stdout(None if rank() else sys.stdout):
        start(args, device)


def start(args: Namespace, device: str) -> None:
    """Train on this device; all processes of ``torchrun`` do so together."""
    if args.steps is None:
        args.steps = TrainConfig.steps if args.minutes is None else FOREVER
    numbers = args.steps, args.batch_size
    config = TrainConfig(*numbers, record_every=args.record_every, seed=args.seed)
    images, labels = (values.to(device) for values in load(args.data, args)[:2])
    args.image_shape = tuple(images.shape[1:])
    args.classes = labels.max().item() + 1 if args.conditional else 0
    G, D = (network.to(device) for network in new_pair(args))
    learn, data = partial(training.train, update=new_update(args)), [images]
    if args.conditional:
        learn, data = conditional.train_conditional, [images, labels]
    if args.to:
        data = [images, load(args.to, args).images.to(device)]
        learn = translation.train_translation
    records = learn(G, D, *data, config, run=args.out)
    if rank() == 0:
        write(args.out / "settings.json", json.dumps(vars(args), default=str).encode())

    def draw(averaged: nn.Module) -> bytes:
        columns = args.classes or 8
        if args.to:
            a, b = (images[:8] for images in data)
            sheet = torch.cat([a, averaged.to_b(a), b, averaged.to_a(b)])
        else:
            sheet = sample_images(for_noise(averaged, args), 8 * columns, seed=0)
        return png_bytes(sheet, columns=columns, zoom=2)

    follow(records, args, draw)


def check_train(args: Namespace) -> None:
    """Raise an error if a run would be lost, or if options contradict one another."""
    if not args.resume and run_file(args.out).exists():
        fix = "add --resume to go on with it, or name another folder"
        raise wrong(ValueError, f"{args.out} holds a run", "a new folder", fix)
    chosen = args.networks != "dense" or args.objective or args.gamma is not None
    if (args.conditional or args.to) and chosen:
        got = "--conditional and --to have networks and losses of their own"
        raise wrong(ValueError, got, "no others", "omit --networks and --objective")


def follow(records: Iterator[Record], args: Namespace, draw: Callable) -> None:
    """Show and write the records of a run, until it ends or the minutes are over."""
    lines, step = [], 0
    with suppress(FileNotFoundError):
        history = load_run(args.out).history
        lines, step = [json_line(record) for record in history], history[-1].step
    limit = 60 * (1e9 if args.minutes is None else args.minutes)
    first, began = step, time.monotonic()
    total = None if args.steps == FOREVER else args.steps
    bar = tqdm(total=total, initial=step, unit="step", disable=rank() > 0 or None)
    with closing(records), bar:
        for record in records:
            if record.step % args.record_every and record.step < args.steps:
                raise KeyboardInterrupt  # the run holds the record before this one
            if record.step > step:
                lines.append(json_line(record))
            if rank() == 0:
                write(args.out / "records.jsonl", "".join(lines).encode())
                write(args.out / "samples.png", draw(record.averaged))
            passed = time.monotonic() - began
            if args.minutes:  # so many steps fit into them
                bar.total = first + round((record.step - first) * limit / passed)
            bar.set_postfix(D=record.d_loss, G=record.g_loss, refresh=False)
            bar.update(record.step - step)
            step = record.step
            if any_process(passed >= limit):
                break
        else:
            if step < args.steps:
                raise KeyboardInterrupt
    print(f"{step} steps are done: see {args.out / 'samples.png'}.")


def any_process(stops: bool) -> bool:
    """Return whether one of the processes stops; all must ask at the same step."""
    if not dist.is_initialized():
        return stops
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flag = torch.tensor(float(stops), device=device)
    dist.all_reduce(flag)
    return flag.item() > 0


def json_line(record: Record) -> str:
    """Return a record as a line of JSON, which writes NaN as null."""
    row = {key: v for key, v in vars(record).items() if key != "averaged"}
    return json.dumps({key: v if v == v else None for key, v in row.items()}) + "\n"


def sample(args: Namespace) -> None:
    """Write images that the averaged G generates."""
    settings, G = load_generator(args.run)
    if args.label is not None and args.label not in range(settings.classes):
        known = f"0 to {settings.classes - 1}" if settings.classes else "no label"
        raise wrong(ValueError, f"--label is {args.label}", known, "correct it")
    G = for_noise(G, settings, args.label)
    save_images(sample_images(G, args.count, seed=args.seed), args.out)


def translate(args: Namespace) -> None:
    """Write images as the averaged translators change them."""
    settings, G = load_generator(args.run, to=True)
    to = G.to_a if args.back else G.to_b
    batches = load(args.data, settings).images.split(100)
    save_images(torch.cat([to(batch) for batch in batches]), args.out)


def evaluate(args: Namespace) -> None:
    """Print the table of notebook 06 for the averaged G, and write it as JSON."""
    settings, G = load_generator(args.run)
    if settings.data not in NAMES:
        got, fix = f"{args.run} learned from {settings.data}", "train on one of these"
        raise wrong(ValueError, got, f"one of {', '.join(NAMES)}", fix)
    known, unseen = (load_images(settings.data, split) for split in ("train", "test"))
    judge = load_or_train_judge(known.images, known.labels)
    sets = {"train_images": known.images, "test_images": unseen.images}
    table = evaluation.evaluate(G, judge=judge, **sets)
    print(table)
    facts = vars(table) | {"rows": [row._asdict() for row in table.rows]}
    write(args.run / "table.json", json.dumps(facts, indent=1).encode())


def export(args: Namespace) -> None:
    """Write the averaged G as ONNX: z (N, latent_dim), labels (N,) → images."""
    settings, G = load_generator(args.run)

    def inputs(count: int) -> tuple[Tensor, ...]:
        z = sample_noise(count, G.latent_dim, seed=0)
        classes = settings.classes
        return (z, torch.arange(count) % classes) if classes else (z,)

    names = {"output_names": ["images"], "dynamo": True, "verbose": False}
    sizes = [{0: torch.export.Dim.DYNAMIC} for _ in inputs(2)]
    program = torch.onnx.export(G, inputs(2), dynamic_shapes=sizes, **names)
    (found,) = program(*inputs(64))  # by onnxruntime
    error = (found - G(*inputs(64))).abs().max().item()
    if not error <= 1e-5:
        got = f"onnxruntime's images differ by {error:.1g}"
        raise wrong(ValueError, got, "1e-5 or less", "report it")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    program.save(args.out)
    print(f"{args.out} gives the images of PyTorch: the difference is {error:.1g}.")


def load(name: str, settings: Namespace) -> LabeledImages:
    """Return a dataset, or a folder's images in the size and colors of the run."""
    if name in NAMES:
        return load_images(name)
    return load_folder(name, (1 if settings.gray else 3, settings.size, settings.size))


def new_pair(settings: Namespace) -> tuple[nn.Module, nn.Module]:
    """Return G and D of a run, with the initial weights of its seed."""
    init_ = models.init_orthogonal_
    new_g, new_d = {
        "dense": (models.Generator, models.Discriminator),
        "convolutional": (ConvGenerator, ConvDiscriminator),
        "mixed": (ConvGenerator, models.Discriminator),
    }[settings.networks]
    if settings.classes:
        classes = {"classes": settings.classes}
        new_g = partial(conditional.ConditionalGenerator, **classes)
        new_d = partial(conditional.ProjectionDiscriminator, **classes)
    elif settings.to:
        init_ = models.init_orthogonal_leaky_
        new_g = twice(translation.Translator, translation.BothWays)
        new_d = twice(translation.PatchDiscriminator, lambda *pair: nn.ModuleList(pair))
    return models.new_networks(settings.seed, settings.image_shape, new_g, new_d, init_)


def twice(kind: Callable, join: Callable) -> Callable:
    """Return a function of an image_shape that makes two networks and joins them."""
    return lambda image_shape: join(kind(image_shape), kind(image_shape))


def new_update(args: Namespace) -> Callable:
    """Return the update of the objective that was named, or the usual one."""
    penalized = args.networks == "convolutional" or args.gamma is not None
    gamma = 1.0 if args.gamma is None else args.gamma
    return {
        "classic": steps.classic_update,
        "r1": partial(steps.r1_update, gamma=gamma),
        "pairing": partial(steps.pairing_update, gamma=gamma),
    }[args.objective or ("r1" if penalized else "classic")]


def read_settings(folder: Path) -> Namespace:
    """Return the options of the run in this folder."""
    return Namespace(**json.loads((folder / "settings.json").read_text("utf-8")))


def load_generator(folder: Path, to: bool = False) -> tuple[Namespace, nn.Module]:
    """Return the options of a run, with or without --to, and its averaged G.

    G is on the CPU, in eval mode and frozen.
    """
    settings = read_settings(folder)
    if to != bool(settings.to):
        kinds = ("a run with --to", "a run without it")[:: 1 if settings.to else -1]
        raise wrong(ValueError, f"{folder} holds {kinds[0]}", kinds[1], "name another")
    G, _ = new_pair(settings)
    G.load_state_dict(part(load_run(folder).tensors, "averaged"))
    return settings, G.eval().requires_grad_(False)


def for_noise(G: nn.Module, settings: Namespace, label: int | None = None) -> nn.Module:
    """Return G as a function of noise alone, also if it takes labels."""
    return conditional.AskedFor(G, label) if settings.classes else G


def save_images(images: Tensor, out: Path) -> None:
    """Write images as one sheet, if ``out`` ends in .png, or else as a folder."""
    if out.suffix == ".png":
        write(out, png_bytes(images, zoom=2))
    else:
        for i, image in enumerate(images):
            write(out / f"{i:05}.png", png_bytes(image[None]))
    print(f"{len(images)} images are in {out}.")


def write(path: Path, content: bytes) -> None:
    """Write a file beside ``path`` and move it into place: it is never half there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
