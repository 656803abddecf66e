"""How long the table of all numbers takes, for 10,000 samples, and each of its parts.

python benchmarks/evaluation.py   # half a minute; three if a generator must be trained
"""

from bench import options, peak_memory, save, show  # before torch: see there

# isort: split
import time
from collections.abc import Callable, Iterator

from ganlib.checkpoint import load_or_train, load_or_train_judge
from ganlib.data import load_images
from ganlib.evaluation import evaluate
from ganlib.judge import judge_features
from ganlib.latent import sample_images
from ganlib.metrics import (
    frechet_distance,
    kernel_distance,
    memorization,
    parzen_log_likelihood,
    precision_recall,
)
from ganlib.training import TrainConfig


def parts(samples, judge, train, test) -> Iterator[tuple[str, Callable]]:
    """Yield the name of each number, and the call that computes it once."""
    yield "judge's features, of 10,000", lambda: judge_features(judge, test)
    real, fake = (judge_features(judge, images) for images in (test, samples))
    yield "Fréchet distance", lambda: frechet_distance(real, fake)
    yield "kernel distance", lambda: kernel_distance(real, fake)
    yield "precision, recall, density, coverage", lambda: precision_recall(real, fake)
    few = samples[:1000], train, test[:1000]
    yield "nearest training images, of 1,000", lambda: memorization(*few)
    if len(train) >= 60_000:
        windows = samples, train[50_000:], test
        yield "Parzen log-likelihood", lambda: parzen_log_likelihood(*windows)


def seconds(call: Callable) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main():
    options(__doc__)
    data, test = load_images("mnist"), load_images("mnist", "test")
    G, _ = load_or_train(TrainConfig(), data.images)
    judge = load_or_train_judge(data.images, data.labels)
    before = peak_memory()
    started = time.perf_counter()
    table = evaluate(G, judge=judge, train_images=data.images, test_images=test.images)
    found = [("the whole table", time.perf_counter() - started)]
    memory = peak_memory() - before
    samples = sample_images(G, table.count, seed=0)
    for name, call in parts(samples, judge, data.images, test.images):
        found.append((name, seconds(call)))
    rows = [
        {"what": what, "samples": table.count, "seconds": round(taken, 1)}
        for what, taken in found
    ]
    save("evaluation", rows)
    print(table)
    print(f"\nThe table needed {memory:.1f} GB besides the images.")
    show("Numbers that judge samples; the table computes most of them twice", rows)


if __name__ == "__main__":
    main()
