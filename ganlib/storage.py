"""Files that are written whole or not at all, and runs that go on from them."""

import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlib import __version__
from ganlib.checks import wrong
from ganlib.data import fingerprint
from ganlib.parallel import rank

SECONDS = 30.0  # at least, between two saves of a run
# What a damaged file can cause, when it is read and when its content is used.
DAMAGE = (SafetensorError, ValueError, KeyError, TypeError, RuntimeError)
Folder = str | Path
Tensors = dict[str, Tensor]


def write(path: Path, tensors: Tensors, facts: dict) -> None:
    """Write a file beside ``path``, read it back, and move it into place.

    ``facts`` is anything that JSON can hold; NaN is allowed. Whatever stops the
    computer, and whenever: the file that was there stays until the new one is complete.
    """
    tensors = {name: values.cpu().contiguous() for name, values in tensors.items()}
    words = json.dumps(facts)
    content = save(tensors, {"facts": words, "sha256": checksum(words, tensors)})
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")  # each process its own
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        read(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    with suppress(OSError):  # the disk must get the name, too; Windows cannot wait
        handle = os.open(path.parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def read(path: Path) -> tuple[Tensors, dict]:
    """Return the tensors and the facts; a damaged file raises one of ``DAMAGE``."""
    with safe_open(path, "pt") as file:
        words, right = (file.metadata()[key] for key in ("facts", "sha256"))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if checksum(words, tensors) != right:
        raise ValueError("the checksum is wrong")
    return tensors, json.loads(words)


def checksum(words: str, tensors: Tensors) -> str:
    """Return the SHA-256 of everything that a file holds."""
    values = fingerprint(*(tensors[name] for name in sorted(tensors)))
    return hashlib.sha256(f"{words} {sorted(tensors)} {values}".encode()).hexdigest()


def save_run(folder: Folder, run: SimpleNamespace) -> None:
    """Save a run, as ``load_run`` returns it, in ``folder``.

    Raises OSError if it cannot be written, one of ``DAMAGE`` if it comes back wrong.
    """
    facts = vars(run) | {"history": [vars(record) for record in run.history]}
    write(run_file(folder), facts.pop("tensors"), facts)


def load_run(folder: Folder) -> SimpleNamespace:
    """Return the run that ``train(…, run=folder)`` saved; its tensors are on the CPU.

    ``TrainConfig(**run.config)`` is its config. ``run.history`` are its records without
    their network: ``show_curves(run.history)`` draws them. With its ``tensors``,
    ``G.load_state_dict(part(run.tensors, "averaged"))`` makes any G the averaged one;
    so do "G" and "D". ``run.about`` says in words and checksums what learned from what,
    and ``run.versions`` has those of torch and ganlib.

    Raises FileNotFoundError if there is no run, ValueError if it is damaged.
    """
    path = run_file(folder)
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run: train(…, run=…) saves one.")
    try:
        tensors, facts = read(path)
        history = [SimpleNamespace(**row) for row in facts.pop("history")]
    except DAMAGE as error:
        got = f"the run in {folder} is damaged ({error})"
        fix = "delete it, or name another folder"
        raise wrong(ValueError, got, "an undamaged one", fix) from None
    return SimpleNamespace(**facts, history=history, tensors=tensors)


def run_file(folder: Folder) -> Path:
    return Path(folder).expanduser() / "run.safetensors"


def part(tensors: Tensors, name: str) -> Tensors:
    """Return the tensors of one part of a run, as its ``state_dict`` calls them."""
    names = (key for key in tensors if key.startswith(f"{name}/"))
    return {key.removeprefix(f"{name}/"): tensors[key] for key in names}


class KeptRun:
    """A run at its last record: kept in memory and, if there is a folder, on disk.

    ``functions`` are its update and its rate, ``data`` what it learns from, and
    ``parts`` all that has a state: networks, optimizers, generators of random numbers,
    and pools of images. It goes on with the run that is in the folder.

    Raises OSError if the folder cannot be written, ValueError if it holds another run
    or a damaged one.
    """

    def __init__(self, folder=None, config=None, functions=(), data=(), *, parts: dict):
        self.folder, self.parts, self.history, self.saved = folder, parts, [], 0
        if folder is None:
            return
        for name, value in getattr(functions[0], "keywords", {}).items():
            if isinstance(value, torch.Generator):  # as for wasserstein_update
                parts[f"update {name}"] = value
        layers = [str(parts[player]) for player in ("G", "D")]
        about = {
            "update, rate": re.sub(r" at 0x\w+", "", f"{functions}"),
            "G, D": [f"{x.partition('(')[0]} {checksum(x, {})[:8]}" for x in layers],
            "data": f"SHA-256 {fingerprint(*data)[:8]} on {data[0].device.type}",
        }
        config = vars(config) | {"betas": list(config.betas)}  # as JSON has it
        versions = {"torch": torch.__version__, "ganlib": __version__}
        self.facts = {"config": config, "about": about, "versions": versions}
        check_folder(folder)
        self.seen = self.stamp()
        if run_file(folder).exists():
            run = load_run(folder)
            self.history, self.tensors = run.history, run.tensors
            self.saved = self.step
            check_same(run, config | about, self.step, folder)

    def stamp(self) -> tuple | None:
        """Return what changes with every save in the folder, whoever makes it."""
        path = run_file(self.folder)
        return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None

    @property
    def step(self) -> int:
        return self.history[-1].step if self.history else 0

    def start(self, **parts: object) -> None:
        """Add parts, and give all of them the state on disk, if there is one."""
        self.parts |= parts
        self.due = time.monotonic() + SECONDS
        if self.history:
            self.go_back()
            steps = f"{self.step} of {self.facts['config']['steps']} steps"
            print(f"Going on after {steps}, from {self.folder}.")
        else:
            self.keep()

    def keep(self, *records: object) -> None:
        """Add a record, and copy all states: for ``save`` and ``go_back``."""
        rows = [SimpleNamespace(**vars(record)) for record in records]
        for row in rows:
            del row.averaged
        tensors = {
            f"{name}/{key}": values.clone()
            for name, thing in self.parts.items()
            for key, values in state(thing).items()
        }
        self.history, self.tensors = [*self.history, *rows], tensors

    def go_back(self) -> None:
        """Give all parts the states that were copied last."""
        for name, thing in self.parts.items():
            set_state(thing, part(self.tensors, name))

    def save(self, last: bool = False) -> None:
        """Write what was kept, if it is the last or if the last time was long ago.

        If that fails, a line says so, and the run goes on. It writes over no other run.
        """
        due = last or time.monotonic() >= self.due
        nothing = self.folder is None or rank() > 0 or self.step == self.saved
        if nothing or not due or sys.is_finalizing():  # torch would abort the process
            return
        content = {"history": self.history, "tensors": self.tensors}
        try:
            if self.stamp() not in (None, self.seen):  # None: it was deleted
                raise OSError("another run has been saved there")
            with undisturbed():
                save_run(self.folder, SimpleNamespace(**self.facts, **content))
                self.saved, self.seen = self.step, self.stamp()
        except (OSError, *DAMAGE) as error:
            print(f"Step {self.step} could not be saved in {self.folder} ({error}).")
        self.due = time.monotonic() + SECONDS


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until this is done."""
    came, signals = [], (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        signals = ()  # others may not set handlers, and are not interrupted
    before = [signal.signal(s, lambda number, _: came.append(number)) for s in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
        if came:
            signal.raise_signal(max(came))


def check_folder(folder: Folder) -> None:
    """Raise an error unless files can be written in ``folder``, which is made."""
    path = run_file(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path.parent).close()
        for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed
            left.unlink(missing_ok=True)
    except OSError as error:
        got, fix = f"{folder} cannot be written ({error.strerror})", "name another one"
        raise wrong(type(error), got, "a folder for the run", fix) from None


def check_same(run: SimpleNamespace, now: dict, step: int, folder: Folder) -> None:
    """Raise an error unless a run is what is trained now; it may become longer."""
    then = run.config | run.about | {"steps": max(step, now["steps"])}
    for name, value in now.items():
        if value != then.get(name):
            expected = f"{then.get(name)} as in the run in {folder}"
            fix = "pass what it began with, or name another folder"
            raise wrong(ValueError, f"{name}: {value}", expected, fix)


def state(thing: object) -> Tensors:
    """Return the tensors that change in it during a run, under names; no copies."""
    if isinstance(thing, nn.Module):
        return thing.state_dict()
    if isinstance(thing, torch.Generator):
        return {"state": thing.get_state()}
    if isinstance(thing, Optimizer):
        states = thing.state_dict()["state"].items()
        return {f"{i}/{key}": v for i, kept in states for key, v in kept.items()}
    return {"images": thing.images, **state(thing.generator)}  # a pool


def set_state(thing: object, saved: Tensors) -> None:
    """Give it the tensors that ``state`` returned, where it is."""
    if isinstance(thing, nn.Module):
        thing.load_state_dict(saved)
    elif isinstance(thing, torch.Generator):
        thing.set_state(saved["state"])
    elif isinstance(thing, Optimizer):
        weights = [w for group in thing.param_groups for w in group["params"]]
        for name, values in saved.items():
            i, key = name.split("/")
            w = weights[int(i)]
            copy = values.to(w.device, copy=True)
            if key != "step":  # fused Adam relies on the strides of the weights
                copy = torch.empty_like(w).copy_(values)
            thing.state[w][key] = copy
    else:
        thing.images = saved["images"].to(thing.images.device, copy=True)
        set_state(thing.generator, saved)
