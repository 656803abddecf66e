"""One table of all numbers for a generator, each next to that of real images."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from ganlib import metrics
from ganlib.checks import check_images, check_range, wrong
from ganlib.conditional import AskedFor
from ganlib.judge import Judge, judge_features, judge_predictions
from ganlib.latent import sample_images


class Row(NamedTuple):
    """One number, for the samples and for real images, and which way is better."""

    name: str
    value: float
    floor: float
    better: str  # "lower", "higher" or "as real"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All numbers for a set of samples, as a table; ``table["confidence"]`` is a row.

    They depend on ``count``, the number of samples, and on the judge with this hash.
    """

    rows: tuple[Row, ...]
    shares: tuple[float, ...]  # of the digits 0 … 9, in the judge's eyes
    count: int
    judge_hash: str
    judge_accuracy: float

    def __getitem__(self, name: str) -> Row:
        return {row.name: row for row in self.rows}[name]

    def __repr__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"{'':{width}}  {'samples':>8}  {'real':>8}  better"]
        for name, value, floor, better in self.rows:
            lines.append(f"{name:{width}}  {value:8.4g}  {floor:8.4g}  {better}")
        shares = " ".join(f"{share:.1%}" for share in self.shares)
        lines.append(f"digits 0 to 9: {shares}")
        judge = f"judge {self.judge_hash}, right on {self.judge_accuracy:.1%}"
        return "\n".join([*lines, f"{self.count:,} samples; {judge} of unseen images"])


def evaluate(
    G: Module, *, judge: Judge, train_images: Tensor, test_images: Tensor, seed: int = 0
) -> Evaluation:
    """Return every number of ``metrics`` for samples of G, and for real images.

    G generates as many samples as there are test images, at most 10,000, from the noise
    of ``seed``; ``evaluate_samples`` describes what is done with them. A conditional G
    is asked for all labels in turn; "as asked" is the fraction of samples in which the
    judge reads that label. Next to it is its accuracy on held-out real images.

    Raises what ``evaluate_samples`` raises. Taught in notebook 06.
    """
    check_images(test_images, (1, 28, 28), "test_images")
    count, batch, asks = min(10_000, len(test_images)), 1000, hasattr(G, "classes")
    if asks:  # whole rounds of labels in a batch
        G, batch = AskedFor(G), 1000 // G.classes * G.classes
    samples = sample_images(G, count, seed=seed, batch=batch)
    found = evaluate_samples(
        samples, judge=judge, train_images=train_images, test_images=test_images
    )
    if asks:
        read, _ = judge_predictions(judge, samples)
        share = (read.cpu() == G.labels(len(samples))).float().mean().item()
        row = Row("as asked", share, judge.accuracy, "as real")
        found = replace(found, rows=(row, *found.rows))
    return found


def evaluate_samples(
    samples: Tensor, *, judge: Judge, train_images: Tensor, test_images: Tensor
) -> Evaluation:
    """Return every number of ``metrics`` for samples, and for real images.

    All are images (N, 1, 28, 28) in [-1, 1]. n is the number of samples or of test
    images, whichever is smaller, and at most 10,000. n samples are compared with n test
    images, and then, for the floor, n training images with the same test images. For
    the distance to training images, 1,000 samples are enough, and test images give the
    floor. If there are 60,000 training images, as in MNIST, 10,000 of them are the
    validation set that the Parzen log-likelihood needs.

    Raises TypeError or ValueError for images of another shape or range, if there are
    not more of them than the judge has features, and if n exceeds the training images.
    Taught in notebook 06.
    """
    count = min(10_000, len(samples), len(test_images))
    check_sets(judge.num_features, count, samples, train_images, test_images)
    samples, train_images = samples.to(test_images), train_images.to(test_images)
    test, known = test_images[:count], train_images[:count]
    samples = samples[:count]
    real, fake, floor = (judge_features(judge, x) for x in (test, samples, known))
    values, floors = compare(judge, real, fake), compare(judge, real, floor)
    if len(train_images) >= 60_000:
        for found, images in ((values, samples), (floors, known)):
            nats = metrics.parzen_log_likelihood(images, train_images[50_000:], test)
            found["Parzen, nats"] = (nats.mean, "higher")
    copies = metrics.memorization(samples[:1000], train_images, test[:1000])
    rows = [Row(n, v, floors[n][0], better) for n, (v, better) in values.items()]
    rows.append(Row("nearest training image", copies.fake, copies.held_out, "as real"))
    rows.append(Row("closer than 99% of real", copies.share_near, 0.01, "as real"))
    shares = tuple(digit_shares(judge, fake).tolist())
    return Evaluation(tuple(rows), shares, count, judge.hash, judge.accuracy)


def check_sets(
    num_features: int, count: int, samples: Tensor, train: Tensor, test: Tensor
) -> None:
    """Raise an error unless the three sets of images can be compared."""
    sets = {"samples": samples, "train_images": train, "test_images": test}
    for name, images in sets.items():
        check_images(images, (1, 28, 28), name)
        check_range(images, name)
    if not num_features < count <= len(train):
        got = f"there are {count} images to compare, and {len(train)} training images"
        expected = f"more than {num_features} (the judge's features), and no fewer"
        raise wrong(ValueError, got, expected, "pass 1,000 or more of each")


def compare(judge: Judge, real: Tensor, fake: Tensor) -> dict[str, tuple[float, str]]:
    """Return the numbers for features (n, 64), by name, and which way is better."""
    balls = metrics.precision_recall(real, fake, k=5)
    shares = digit_shares(judge, fake)
    confidence = judge.head(fake).softmax(1).amax(1).mean().item()
    return {
        "Fréchet distance": (metrics.frechet_distance(real, fake), "lower"),
        "kernel distance": (metrics.kernel_distance(real, fake).mean, "lower"),
        "precision, k = 5": (balls.precision, "higher"),
        "recall, k = 5": (balls.recall, "higher"),
        "density, k = 5": (balls.density, "higher"),
        "coverage, k = 5": (balls.coverage, "higher"),
        "entropy of digits": (metrics.entropy(shares), "higher"),
        "KL to uniform": (metrics.kl_to_uniform(shares), "lower"),
        "confidence": (confidence, "as real"),
    }


def digit_shares(judge: Judge, features: Tensor) -> Tensor:
    """Return the fractions (10,) of the digits that the judge sees, from features."""
    digits = judge.head(features).argmax(1)
    return torch.bincount(digits, minlength=10).cpu() / len(digits)
