"""What things cost: importing, checking, judging, and each notebook.

python benchmarks/costs.py             # about 16 minutes; nothing else should run
"""

from bench import FOLDER, save, show  # before torch: see there

# isort: split
import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import nbclient
import nbformat
import torch

from ganlib import losses, models
from ganlib.checkpoint import new_networks
from ganlib.data import load_images
from ganlib.evaluation import frechet_distance
from ganlib.judge import train_judge
from ganlib.training import TrainConfig, d_step, g_step

NOTEBOOKS = sorted((FOLDER.parent / "notebooks").glob("[0-9]*.ipynb"))
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def import_seconds(module):
    """Return the median time that ``import module`` takes in a new process."""
    code = (
        "import time; t = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - t)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], stdout=-1, text=True).stdout)
        for _ in range(5)
    ]
    return statistics.median(times)


def step_ms(steps=200):
    """Return the times of a training step with its checks, and without them."""
    config = TrainConfig()
    G, D = new_networks(config)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), 1e-3, fused=True) for n in (G, D))
    real = torch.rand(config.batch_size, 1, 28, 28) * 2 - 1

    def time_steps():
        started = time.perf_counter()
        for _ in range(steps):
            fake = G(torch.randn(config.batch_size, G.latent_dim))
            d_step(D, opt_d, real, fake)
            g_step(D, opt_g, fake)
        return 1000 * (time.perf_counter() - started) / steps

    time_steps()
    pairs = []
    for _ in range(7):
        checked = time_steps()
        with contextlib.ExitStack() as stack:
            for module in (models, losses, sys.modules["ganlib.training"]):
                for name in vars(module):
                    if name.startswith("check_"):
                        stack.enter_context(mock.patch.object(module, name, _nothing))
            pairs.append((checked, time_steps()))
    return [statistics.median(times) for times in zip(*pairs, strict=True)]


def _nothing(*_arguments, **_named):
    pass


def judge_costs(images, labels, test):
    """Return rows: seconds to train the judge, and to judge 10,000 images."""
    started = time.perf_counter()
    judge = train_judge(images, labels)
    trained = time.perf_counter() - started
    frechet_distance(judge, test, images[: len(test)])  # imports torchmetrics
    started = time.perf_counter()
    frechet_distance(judge, test, images[: len(test)])
    judged = time.perf_counter() - started
    return [
        ("train the judge", f"{trained:.1f} s"),
        ("the judge is right on", f"{judge.accuracy:.1%} of images it never saw"),
        ("one Fréchet distance, 10,000 images each", f"{judged:.1f} s"),
    ]


def notebook_costs(path: Path):
    """Execute a notebook from a copy; return its seconds and its peak memory in GB."""
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    client = nbclient.NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}
    )
    started = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - started
    peak = int(notebook.cells[-1].outputs[0].text)
    return seconds, peak / (1e9 if sys.platform == "darwin" else 1e6)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    os.environ["GANLIB_OFFLINE"] = "1"
    found = [
        (f"import {module}", f"{import_seconds(module):.2f} s")
        for module in ("ganlib", "torch", "ganlib.training")
    ]
    checked, unchecked = step_ms()
    found.append(("a training step", f"{checked:.2f} ms"))
    found.append(("the same without its checks", f"{unchecked:.2f} ms"))
    train, test = load_images("mnist"), load_images("mnist", "test")
    found += judge_costs(train.images, train.labels, test.images)
    for path in NOTEBOOKS:
        seconds, memory = notebook_costs(path)
        found.append((f"notebook {path.stem}", f"{seconds:.0f} s, {memory:.1f} GB"))
    rows = [{"what": what, "cost": cost} for what, cost in found]
    save("costs", rows)
    show("Costs", rows)


if __name__ == "__main__":
    main()
