"""What things cost: importing, checking, judging, and each notebook.

python benchmarks/costs.py             # about 16 minutes; nothing else should run
"""

from bench import FOLDER, options, save, show  # before torch: see there

# isort: split
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

from ganlib import models
from ganlib.data import load_images
from ganlib.judge import judge_features, train_judge
from ganlib.metrics import frechet_distance
from ganlib.steps import d_step, g_step
from ganlib.training import TrainConfig

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
    """Return the time of a training step with the networks' checks, and without."""
    batch_size = TrainConfig().batch_size
    G, D = models.new_networks()
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), 1e-3, fused=True) for n in (G, D))
    real = torch.rand(batch_size, 1, 28, 28) * 2 - 1

    def time_steps():
        started = time.perf_counter()
        for _ in range(steps):
            fake = G(torch.randn(batch_size, G.latent_dim))
            d_step(D, opt_d, real, fake)
            g_step(D, opt_g, fake)
        return 1000 * (time.perf_counter() - started) / steps

    time_steps()
    pairs = []
    for _ in range(7):
        checked = time_steps()
        checks = {name: (lambda *_: None) for name in ("check_images", "check_noise")}
        with mock.patch.multiple(models, **checks):
            pairs.append((checked, time_steps()))
    return [statistics.median(times) for times in zip(*pairs, strict=True)]


def judge_costs(images, labels, test):
    """Return rows: seconds to train the judge, and to judge 10,000 images."""
    started = time.perf_counter()
    judge = train_judge(images, labels)
    trained = time.perf_counter() - started
    started = time.perf_counter()
    real, fake = (judge_features(judge, x) for x in (test, images[: len(test)]))
    frechet_distance(real, fake)
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
    options(__doc__)
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
