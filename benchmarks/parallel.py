"""When do several processes pay? A cost model of a step, and its check on this machine.

A step of n processes takes the compute of one share of the batch, a fixed time plus one
per image, and an all-reduce of each player's gradients around a ring, 2 (n - 1)
messages of bytes / n each:

    fixed + per_image · batch / n + Σ 2 (n - 1) (latency + bytes / n / bandwidth)

One process alone and two that share each batch, on one thread each, take turns. Compute
is fitted to the steps of the one, latency and bandwidth to what the two exchange when
they compute nothing; then their steps are compared with the prediction: parallel.csv.

The same model then predicts steps on GPUs, from published figures and from assumptions,
which stand below. Nothing in parallel_predictions.csv is measured.

    python benchmarks/parallel.py    # six minutes; nothing else should run
"""

from bench import answer, options, save, say, show  # before torch: see there

# isort: split
import itertools
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import runs
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganlib.convolutional import ConvDiscriminator, ConvGenerator
from ganlib.models import Discriminator, Generator, new_networks
from ganlib.parallel import connect, joined, rank
from ganlib.training import TrainConfig, train

NETWORKS = {
    "dense": (Generator, Discriminator),
    "convolutional": (ConvGenerator, ConvDiscriminator),
}
BATCHES = (32, 64, 128, 256, 512, 1024)  # compute is fitted to these
CHECKED = (64, 256, 1024)  # and the steps of two processes are predicted for these
MEGABYTES = (0.001, 0.01, 0.1, 1, 2, 4, 8)  # of messages
ROUNDS, STEPS = 3, 20


@dataclass(frozen=True)
class Model:
    """What a step costs, in seconds and bytes a second."""

    fixed: float
    per_image: float
    messages: tuple[int, ...]  # bytes of D's gradients, and of G's
    latency: float
    bandwidth: float  # of one process, in each direction

    def step(self, batch: float, n: int) -> float:
        """Return the seconds of a step of n processes."""
        return self.fixed + self.per_image * batch / n + self.exchange(n)

    def exchange(self, n: int) -> float:
        """Return the seconds of its all-reduces, none for one process."""
        parts = [self.latency + size / n / self.bandwidth for size in self.messages]
        return 2 * (n - 1) * sum(parts)

    def pays_from(self, n: int) -> float:
        """Return the batch above which n processes are faster than one."""
        return self.exchange(n) / self.per_image * n / (n - 1)

    def half_from(self, n: int) -> float:
        """Return the batch above which they are n / 2 times as fast, or more."""
        return ((n - 2) * self.fixed + n * self.exchange(n)) / self.per_image


def line(points: dict[float, float]) -> tuple[float, float]:
    """Return a and b of y ≈ a + b x, with errors in percent of y.

    So a small message, which shows the latency, counts as much as a large one.
    """
    x, y = torch.tensor(list(points.items()), dtype=torch.double).T
    terms = torch.stack([1 / y, x / y], dim=1)
    a, b = torch.linalg.lstsq(terms, torch.ones(len(y), 1).double()).solution[:, 0]
    return a.item(), b.item()


def networks(name: str) -> tuple[nn.Module, nn.Module]:
    return new_networks(0, (1, 28, 28), *NETWORKS[name])


def messages(name: str) -> tuple[int, ...]:
    """Return the bytes of D's and G's gradients, and of G's statistics in BatchNorm."""
    G, D = networks(name)
    states = [
        [v for v in N.state_dict().values() if v.is_floating_point()] for N in (D, G)
    ]
    return tuple(4 * sum(values.numel() for values in state) for state in states)


def step_seconds(name: str, batch: int, images: Tensor) -> float:
    """Return the seconds of a step of ``train``, without the first ones."""
    every = STEPS // 5
    config = TrainConfig(STEPS, batch, record_every=every)
    times = [record.seconds for record in train(*networks(name), images, config)]
    return statistics.median(b - a for a, b in itertools.pairwise(times)) / every


def exchange_seconds(size: int, repeats: int = 50) -> float:
    """Return the seconds in which processes average gradients of ``size`` bytes."""
    network = nn.Linear(size // 4, 1, bias=False)
    network.weight.grad = torch.ones_like(network.weight)
    idle = torch.optim.SGD([torch.zeros(1)])  # moves nothing: the exchange remains
    connect(network, idle)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        idle.step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def child_main() -> None:
    """Time what this process does: alone, or with the others that torchrun started."""
    runs.one_thread()
    images = torch.rand(max(BATCHES), 1, 28, 28) * 2 - 1
    with joined("cpu"):
        several = dist.is_initialized()
        times = [
            (name, batch, step_seconds(name, batch, images))
            for name in NETWORKS
            for batch in (CHECKED if several else BATCHES)
        ]
        for megabytes in MEGABYTES if several else ():
            size = round(1e6 * megabytes)
            times.append(("exchange", size, exchange_seconds(size)))
        if rank() == 0:
            say(times=times)


def measure() -> dict[tuple[int, str, int], float]:
    """Return seconds by processes, what they do, and its size: medians over rounds."""
    found = {}
    for _, n in itertools.product(range(ROUNDS), (1, 2)):
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        launch = [*torchrun, f"--nproc-per-node={n}"] if n > 1 else []
        command = [sys.executable, *launch, __file__, "time"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for what, size, seconds in answer(process)["times"]:
            found.setdefault((n, what, size), []).append(seconds)
    return {key: statistics.median(times) for key, times in found.items()}


def compare(times: dict[tuple[int, str, int], float]) -> list[dict]:
    """Return a row for each step that was measured and is predicted."""

    def fit(n: int, what: str) -> tuple[float, float]:
        return line({size: s for key, size, s in known if key == (n, what)})

    known = [((n, what), size, s) for (n, what, size), s in times.items()]
    constant, slope = fit(2, "exchange")  # 2 (latency + bytes / 2 / bandwidth)
    ring, rows = (constant / 2, 1 / slope), []
    for name in NETWORKS:
        model = Model(*fit(1, name), messages(name), *ring)
        for n, batch in itertools.product((1, 2), CHECKED):
            predicted, measured = model.step(batch, n), times[n, name, batch]
            row = {"network": name, "processes": n, "batch": batch}
            row["exchange_ms"] = round(1000 * model.exchange(n), 2)
            row["predicted_ms"] = round(1000 * predicted, 2)
            row["measured_ms"] = round(1000 * measured, 2)
            row["ratio"] = round(measured / predicted, 2)
            row["speedup"] = round(times[1, name, batch] / measured, 2)
            rows.append(row)
    return rows


# What the predictions rest on. From NVIDIA's data sheet of the H100 (SXM): the peaks,
# for dense products without sparsity, and NVLink's 900 GB/s, half in each direction.
# Between boxes, each of the eight GPUs has a card of 400 Gbit/s, or 50 GB/s. Assumed:
# the part of the peak that is reached, far less for a small G; the time of a step
# whatever the batch, 100 kernels of 2 µs in a CUDA graph; and a message's latency.
PEAKS = {"float32": 67e12, "TF32": 494e12, "bfloat16": 989e12}  # operations a second
REACHED, FIXED = 0.4, 200e-6
CLUSTERS = {8: (3e-6, 450e9), 64: (6e-6, 50e9)}  # GPUs: latency, bandwidth
SCALES = (1, 10, 100)  # times the weights, and so the operations
SHOWN = (64, 1024, 16_384)  # images in a batch of all GPUs together


def predict() -> list[dict]:
    """Return a row for each network, size, precision and number of GPUs."""
    rows = []
    for name in NETWORKS:
        pair, sizes = networks(name), messages(name)
        weights = sum(w.numel() for network in pair for w in network.parameters())
        flops = runs.step_flops(*pair, 64) / 64
        for scale, precision, n in itertools.product(SCALES, PEAKS, CLUSTERS):
            per_image = scale * flops / PEAKS[precision] / REACHED
            scaled = tuple(scale * size for size in sizes)
            model = Model(FIXED, per_image, scaled, *CLUSTERS[n])
            row = {"network": name, "million_weights": round(scale * weights / 1e6, 1)}
            row |= {"precision": precision, "gpus": n}
            row["exchange_ms"] = round(1000 * model.exchange(n), 2)
            for batch in SHOWN:
                speedup = model.step(batch, 1) / model.step(batch, n)
                row[f"speedup_at_{batch}"] = round(speedup, 2)
            row["pays_from_batch"] = round(model.pays_from(n))
            row["half_from_batch"] = round(model.half_from(n))
            rows.append(row)
    return rows


def main():
    said = options(__doc__, "job", nargs="?", help="for child processes")
    if said.job:
        child_main()
        return
    rows, predictions = compare(measure()), predict()
    save("parallel", rows)
    save("parallel_predictions", predictions)
    show("Measured against predicted, on this machine", rows)
    show("Predicted for GPUs, not measured", predictions)


if __name__ == "__main__":
    main()
