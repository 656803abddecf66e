"""What all benchmarks that train share: two runs at a time, data, judge, distance."""

import bench  # before torch: see there

# isort: split
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ganlib.data import load_images
from ganlib.judge import judge_features, train_judge
from ganlib.latent import sample_images
from ganlib.metrics import frechet_distance, precision_recall
from ganlib.models import new_networks
from ganlib.results import read_results
from ganlib.steps import classic_update
from ganlib.training import TrainConfig, train

SAMPLES = 10_000  # of a generator that is judged
SPLITS = ("train", "test")


def stored(name: str) -> list[dict]:
    """Return the rows of results/name.csv, or none if there is no such file yet."""
    try:
        return read_results(name, bench.RESULTS)
    except FileNotFoundError:
        return []


def one_thread() -> None:
    """Prepare a process for runs on data that it makes itself."""
    torch.set_num_threads(1)


def prepare(threads: int = 1) -> None:
    """Prepare a process for runs on MNIST: the threads, the data, the judge."""
    global images, labels, test, judge, features
    torch.set_num_threads(threads)
    data, test = (load_images("mnist", split, offline=True) for split in SPLITS)
    images, labels, judge = (
        data.images,
        data.labels,
        train_judge(data.images, data.labels),
    )
    features = judge_features(judge, test.images)


def features_of(G: nn.Module) -> Tensor:
    """Return the judge's features (N, 64) of SAMPLES samples of G."""
    return judge_features(judge, sample_images(G, SAMPLES, seed=1234))


def describe(G: nn.Module) -> dict[str, float]:
    """Return what the judge says of SAMPLES samples of G, for a row of a table."""
    found = features_of(G)
    balls = precision_recall(features, found, k=5)
    digits = judge.head(found).argmax(1).bincount(minlength=10) / SAMPLES
    numbers = {
        "distance": frechet_distance(features, found),
        "precision": balls.precision,
        "recall": balls.recall,
        "coverage": balls.coverage,
        "rarest": digits.min().item(),
        "most": digits.max().item(),
    }
    return {name: round(value, 3) for name, value in numbers.items()}


def distance(G: nn.Module) -> float:
    """Return the Fréchet distance between samples of G and the test images."""
    return round(frechet_distance(features, features_of(G)), 2)


def two_at_a_time(
    work: Callable, jobs: Iterable, start: Callable = prepare
) -> Iterator[dict]:
    """Yield ``work(job)`` for each job from two processes, in the order they finish."""
    with multiprocessing.get_context("spawn").Pool(2, start) as pool:
        yield from pool.imap_unordered(work, jobs, chunksize=1)


def step_ms(
    starts: dict[str, Callable], rounds: int = 5, steps: int = 40
) -> dict[str, float]:
    """Return the median milliseconds of a step of each run, by name, on all cores.

    ``starts[name](steps=40)`` yields the records of a run. The runs take turns.
    """
    times = {name: [] for name in starts}
    for _ in range(rounds):
        for name, start in starts.items():
            *_, last = start(steps=steps)
            times[name].append(1000 * last.seconds / steps)
    return {name: statistics.median(found) for name, found in times.items()}


def time_train(
    images: Tensor, config: TrainConfig, warm_up: float, seconds: float
) -> float:
    """Return the seconds of a step of ``train``, a mean over this many seconds."""
    first = None
    for record in train(*new_networks(config.seed), images, config):
        if first is None and record.seconds > warm_up:
            first = record
        if first and record.seconds - first.seconds > seconds:
            return (record.seconds - first.seconds) / (record.step - first.step)


def update_ms(
    updates: dict[str, Callable], G: nn.Module, D: nn.Module, real: Tensor, rounds: int
) -> dict[str, float]:
    """Return the median milliseconds of one update of both players, by name.

    The updates take turns, on one thread.
    """
    one_thread()
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), fused=True) for n in (G, D))
    times = {name: [] for name in updates}
    for _ in range(rounds):
        for name, update in updates.items():
            started = time.perf_counter()
            update(D, opt_d, opt_g, real, G(torch.randn(len(real), G.latent_dim)), 0.0)
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in times.items()}


def step_flops(G: nn.Module, D: nn.Module, batch: int) -> int:
    """Return the operations of one update with the classic losses, and make it."""
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), fused=True) for n in (G, D))
    where = next(G.parameters()).device
    real = torch.rand(batch, *G.image_shape, device=where) * 2 - 1
    z = torch.randn(batch, G.latent_dim, device=where)
    with FlopCounterMode(display=False) as counter:
        classic_update(D, opt_d, opt_g, real, G(z), 0.0)
    return counter.get_total_flops()
