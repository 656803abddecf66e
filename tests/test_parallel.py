"""Two real processes that train as one."""

import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ganlib.__main__ import main
from ganlib.storage import load_run

# Each process runs it, and leaves its weights after each of the runs in a file.
WORKER = """
import itertools
import sys
from functools import partial
from pathlib import Path
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from ganlib.conditional import ProjectionDiscriminator, train_conditional
from ganlib.models import Discriminator, Generator
from ganlib.parallel import joined, rank
from ganlib.steps import r1_update
from ganlib.toys import PointDiscriminator, PointGenerator
from ganlib.training import TrainConfig, train
from ganlib.translation import (
    BothWays, PatchDiscriminator, Translator, train_translation
)

torch.set_default_dtype(torch.float64)  # Adam's first step makes much of rounding
SHAPE = (1, 4, 4)
data = torch.Generator().manual_seed(0)
points = torch.randn(50, 2, generator=data)
images = torch.rand(50, *SHAPE, generator=data) * 2 - 1
r1 = partial(r1_update, gamma=0.3)

class Labeled(torch.nn.Module):  # without BatchNorm
    latent_dim, image_shape, classes = 5, SHAPE, 5

    def __init__(self):
        super().__init__()
        self.embedding, self.last = torch.nn.Embedding(5, 5), torch.nn.Linear(5, 16)

    def forward(self, z, labels):
        return self.last(z * self.embedding(labels)).tanh().view(-1, *SHAPE)

def keep(name, G, D, records):
    for record in records:
        pass
    networks = torch.nn.ModuleDict({"averaged": record.averaged, "G": G, "D": D})
    save_file(networks.state_dict(), Path(sys.argv[1]) / f"{name}-{rank()}.safetensors")

with joined("cpu"):
    torch.manual_seed(rank())  # process 0 decides
    for steps in (1, 50):
        config = TrainConfig(steps, 48, record_every=steps)
        G, D = PointGenerator(), PointDiscriminator()
        keep(f"points-{steps}", G, D, train(G, D, points, config))
        G, D = PointGenerator(), PointDiscriminator()
        keep(f"r1-{steps}", G, D, train(G, D, points, config, r1))
        G, D = Generator(5, SHAPE), Discriminator(SHAPE)
        keep(f"images-{steps}", G, D, train(G, D, images, config))
        G, D = Labeled(), ProjectionDiscriminator(SHAPE, 5)
        labels = torch.arange(50) % 5
        keep(f"labels-{steps}", G, D, train_conditional(G, D, images, labels, config))
        G = BothWays(Translator(SHAPE, 2), Translator(SHAPE, 2))
        D = torch.nn.ModuleList([PatchDiscriminator(SHAPE, 2) for _ in "ab"])
        both = images, -images.flip(0)
        keep(f"cycle-{steps}", G, D, train_translation(G, D, *both, config))
    run = Path(sys.argv[1]) / "run"
    for steps in (2, 1000):  # 1000: goes on after 2, and is left at 4
        G, D = PointGenerator(), PointDiscriminator()
        records = train(G, D, points, TrainConfig(steps, 48, record_every=2), run=run)
        keep(f"resumed-{steps}", G, D, itertools.islice(records, 1))
        if dist.is_initialized():
            dist.barrier()  # process 0 has saved
    G, D = Generator(5, SHAPE), Discriminator(SHAPE)
    try:
        next(train(G, D, images, TrainConfig(1, 15)))
    except ValueError as error:
        Path(sys.argv[1], f"error-{rank()}").write_text(str(error))
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
KINDS = ["points", "r1", "images", "labels", "cycle"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The weights after the same runs in one process and in each of two, by name."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    (folders[0] / "worker.py").write_text(WORKER)
    for start, folder in zip(([], TORCHRUN), folders, strict=True):
        command = [sys.executable, *start, folders[0] / "worker.py", folder]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    one, two = ({f.stem: f for f in folder.iterdir()} for folder in folders)
    return one, two


@pytest.mark.parametrize("kind", KINDS)
def test_first_step_is_that_of_one_process(runs, kind):
    one, two = (load_file(files[f"{kind}-1-0"]) for files in runs)
    far = torch.cat([(two[key] - one[key]).abs().flatten() for key in one])
    if kind != "images":
        assert far.max() < 1e-12
    else:  # with BatchNorm, each process normalizes its own 24 of the 48 fakes
        assert far.max() < 6e-3
        assert far.mean() < 6e-4  # Adam's first step moves a weight by 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_equal_bit_for_bit_in_both_processes(runs, kind):
    first, second = (load_file(runs[1][f"{kind}-50-{rank}"]) for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_run_goes_on_in_all_processes(runs):
    one, two = (load_file(files["resumed-1000-0"]) for files in runs)
    other = load_file(runs[1]["resumed-1000-1"])
    start = load_file(runs[1]["resumed-2-0"])
    assert all(torch.equal(two[key], other[key]) for key in two)
    assert max((two[key] - one[key]).abs().max() for key in one) < 1e-12
    assert not any(torch.equal(two[key], start[key]) for key in one if "weight" in key)


def test_batch_that_cannot_be_shared_is_refused(runs):
    sentence = runs[1]["error-1"].read_text()
    assert sentence == (
        "batch_size is 15, expected two or more for each of 2 processes: write 16."
    )


def test_killed_process_ends_the_run_and_another_number_goes_on(tmp_path, capsys):
    out, options = tmp_path / "run", ["--data", "digits", "--batch-size", "8"]
    command = ["train", *options, "--record-every", "5", "--steps", "100000"]
    command += ["--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, *TORCHRUN, "-m", "ganlib", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline, records = time.monotonic() + 60, out / "records.jsonl"
    try:
        while not records.exists() or len(records.read_text().splitlines()) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        psutil.Process(process.pid).children()[1].kill()
    except BaseException:
        process.terminate()  # torchrun takes its processes along
        raise
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ganlib: " in said
    assert "Signal 9 (SIGKILL) received" in said
    last = load_run(out).history[-1].step
    assert last >= 10
    assert main(f"train --resume --out {out} --steps {last + 10}".split()) == 0
    assert f"Going on after {last} of {last + 10}" in capsys.readouterr().out
    steps = [record.step for record in load_run(out).history]
    assert steps == list(range(5, last + 11, 5))
