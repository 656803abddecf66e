"""Numbers that judge samples, most of them in the features of the judge."""

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganlib.arguments import check_count, check_modes, wrong
from ganlib.checks import (
    check_enough,
    check_features,
    check_image_sets,
    check_network,
    check_points,
    check_shares,
)
from ganlib.data import Modes
from ganlib.judge import Judge, judge_features, judge_verdicts
from ganlib.latent import sample_images
from ganlib.parzen import parzen_log_likelihood

BLOCK = 1000  # rows of a distance matrix that are in memory at once


class KernelDistance(NamedTuple):
    """Mean over subsets, and their standard deviation."""

    mean: float
    std: float


class PrecisionRecall(NamedTuple):
    """Four shares; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


class ClassBalance(NamedTuple):
    """What the judge sees: shares (10,) of the digits, entropy and KL in nats."""

    shares: Tensor
    entropy: float
    kl_to_uniform: float
    confidence: float


class ModeCoverage(NamedTuple):
    """A count of modes, a share of the points, and a KL divergence in nats."""

    captured: int
    high_quality: float
    kl: float


class Memorization(NamedTuple):
    """Mean distances to the nearest training image, their ratio, and a share."""

    fake: float
    held_out: float
    ratio: float
    share_near: float


def frechet_distance(judge: Judge, real: Tensor, fake: Tensor) -> float:
    """Return the Fréchet distance of two sets of images (N, 1, 28, 28) in [-1, 1].

    With mean μ and covariance Σ of the judge's features in each set:
    ‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½). 0 for equal sets; what counts as good
    depends on the judge and on N, so compare only within one set-up.

    Raises TypeError or ValueError for what is no judge, for images that do not fit it
    or are not in [-1, 1], and for fewer than the judge has features.
    Source: Heusel et al. 2017. Taught in notebook 06.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # slow to import

    check_network(judge, "judge")
    check_image_sets(judge, real=real, fake=fake)
    purpose = f"a covariance of {judge.num_features} features"
    check_enough(real, judge.num_features + 1, "real images", purpose)
    check_enough(fake, judge.num_features + 1, "fake images", purpose)
    metric = FrechetInceptionDistance(
        feature=_Features(judge), normalize=True, input_img_size=(1, 28, 28)
    )
    return _compare(metric, real, fake).item()


def kernel_distance(
    judge: Judge, real: Tensor, fake: Tensor, *, subsets: int = 100, seed: int = 0
) -> KernelDistance:
    """Return the kernel distance of two sets of images (N, 1, 28, 28) in [-1, 1].

    The squared maximum mean discrepancy of the judge's features, without bias, with the
    kernel k(x, y) = (x · y / d + 1)³: mean k over pairs of different real images, plus
    the same for the fakes, minus 2 · mean k over pairs of a real and a fake one. It is
    computed on ``subsets`` of up to 1,000 images each, drawn with ``seed``; returned
    are their mean and standard deviation. Near 0, and as often below as above, for two
    sets from one source, whatever N is.

    Raises TypeError or ValueError for what is no judge, for images that do not fit it
    or are not in [-1, 1], fewer than 2, subsets below 1 and seeds below 0.
    Source: Bińkowski et al. 2018. Taught in notebook 06.
    """
    from torchmetrics.image.kid import KernelInceptionDistance  # slow to import

    check_network(judge, "judge")
    check_image_sets(judge, real=real, fake=fake)
    check_enough(real, 2, "real images", "pairs of different ones")
    check_enough(fake, 2, "fake images", "pairs of different ones")
    check_count(subsets, "subsets")
    check_count(seed, "seed", 0)
    size = min(1000, len(real), len(fake))
    with warnings.catch_warnings():  # it warns of 10,000 × 64 numbers in memory
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will")
        metric = KernelInceptionDistance(
            feature=_Features(judge), subsets=subsets, subset_size=size
        )
    with torch.random.fork_rng(devices=[]):  # it draws from the global generator
        torch.default_generator.manual_seed(seed)
        mean, std = _compare(metric, real, fake)
    return KernelDistance(mean.item(), std.item())


def precision_recall(
    real_features: Tensor, fake_features: Tensor, *, k: int = 5
) -> PrecisionRecall:
    """Return precision, recall, density and coverage of features (N, d) and (M, d).

    Around each feature lies a ball that reaches to its k-th neighbor in its own set.

    - precision: the share of fakes inside the ball of some real feature,
    - recall: the share of real features inside the ball of some fake,
    - density: of how many real balls a fake lies inside, on average, divided by k,
    - coverage: the share of real balls with a fake inside.

    The border belongs to the ball; otherwise sets of equal features would get 0. The
    largest matrix in memory has 1,000 × max(N, M) numbers.

    Raises TypeError or ValueError for what are no finite features of one size, for k
    below 1, and for k features or fewer.
    Source: Kynkäänniemi et al. 2019 (the first two, k = 3), Naeem et al. 2020 (k = 5).
    Taught in notebook 06.
    """
    check_features(real_features=real_features, fake_features=fake_features)
    check_count(k, "k")
    check_enough(real_features, k + 1, "real features", f"{k} neighbors of each")
    check_enough(fake_features, k + 1, "fake features", f"{k} neighbors of each")
    # Distances stay the same, and equal features become 0, which has no rounding error.
    first = real_features[0]
    real, fake = (real_features - first).float(), (fake_features - first).float()
    real_radius, fake_radius = neighbor_distance(real, k), neighbor_distance(fake, k)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    recalled = inside = covered = 0
    for some, radius in zip(real.split(BLOCK), real_radius.split(BLOCK), strict=True):
        distance = torch.cdist(some, fake)  # (BLOCK, M)
        in_real_ball = distance <= radius.unsqueeze(1)
        precise |= in_real_ball.amax(0)  # any(0), but ten times faster
        recalled += (distance <= fake_radius).amax(1).count_nonzero().item()
        inside += in_real_ball.count_nonzero().item()
        covered += in_real_ball.amax(1).count_nonzero().item()
    precision, recall = precise.count_nonzero().item() / len(fake), recalled / len(real)
    density, coverage = inside / (k * len(fake)), covered / len(real)
    return PrecisionRecall(precision, recall, density, coverage)


def neighbor_distance(features: Tensor, k: int) -> Tensor:
    """Return the distance (N,) of each of the features (N, d) to its k-th neighbor.

    Raises TypeError or ValueError for what are no finite features, for k below 1, and
    for k features or fewer. Taught in notebook 06.
    """
    check_features(features=features)
    check_count(k, "k")
    check_enough(features, k + 1, "features", f"{k} neighbors of each")
    found = []
    for some in features.float().split(BLOCK):
        distance = torch.cdist(some, features.float())  # (BLOCK, N)
        nearest = distance.topk(k + 1, largest=False).values  # the first is itself
        found.append(nearest[:, -1])
    return torch.cat(found)


def entropy(shares: Tensor) -> float:
    """Return the entropy -Σ pᵢ log pᵢ in nats of shares (K,) that sum to 1.

    Raises TypeError or ValueError for others. Taught in notebook 06.
    """
    check_shares(shares)
    return torch.special.entr(shares).sum().item()  # entr(p) = -p log p, 0 for p = 0


def kl_to_uniform(shares: Tensor) -> float:
    """Return Σ pᵢ log(pᵢ / (1 / K)) = log K - entropy, in nats, of shares (K,).

    0 where all are equal, log K where one is all there is.

    Raises TypeError or ValueError for shares that do not sum to 1.
    Taught in notebook 06.
    """
    check_shares(shares)
    return math.log(len(shares)) - entropy(shares)


def class_balance(judge: Judge, images: Tensor) -> ClassBalance:
    """Return which digits the judge sees in images (N, 1, 28, 28), and how surely.

    Raises TypeError or ValueError for what is no judge, or images that do not fit it.
    Taught in notebook 06.
    """
    digit, confidence = judge_verdicts(judge, images)
    shares = digit.bincount(minlength=10) / len(digit)
    return ClassBalance(
        shares, entropy(shares), kl_to_uniform(shares), confidence.mean().item()
    )


def mode_coverage(points: Tensor, modes: Modes) -> ModeCoverage:
    """Return how well points (N, 2) cover the ``modes`` of a toy set.

    - captured: how many modes have a point within 3 standard deviations,
    - high_quality: the share of points that lie so near to any mode; for perfect ones
      1 - exp(-9/2) = 0.989,
    - kl: of the shares that the modes have of all points, each point counted for the
      nearest mode, to equal shares, in nats.

    Published tables use 2,500 points. The first number can be had by spreading out, the
    second by sitting on one mode: only together they tell.

    Raises TypeError or ValueError for what are no finite points, or no modes.
    Source: Lin et al. 2018 (PacGAN), section 4.1. Taught in notebook 07.
    """
    check_modes(modes)
    check_points(points)
    check_features(points=points)
    distance, nearest = torch.cdist(points.float(), modes.centers).min(1)
    near = distance <= 3 * modes.sigma
    shares = nearest.bincount(minlength=len(modes.centers)) / len(points)
    captured = len(nearest[near].unique())
    return ModeCoverage(captured, near.float().mean().item(), kl_to_uniform(shares))


def nearest_distance(images: Tensor, train: Tensor) -> Tensor:
    """Return the distance (N,) of each image (N, C, H, W) to the nearest of ``train``.

    Euclidean, over all pixels, in [-1, 1].

    Raises TypeError or ValueError for images of other ranges, or that differ in size.
    Taught in notebook 06.
    """
    check_image_sets(train=train, images=images)
    images, train = images.flatten(1).float(), train.flatten(1).float()
    half_norms = train.square().sum(1) / 2
    found = []
    for some in images.split(500):
        # ½ ‖x - t‖² without ½ ‖x‖², which is the same for every t: one matrix product
        scores = torch.addmm(half_norms, some, train.T, alpha=-1)  # (500, M)
        found.append((some - train[scores.argmin(1)]).norm(dim=1))
    return torch.cat(found)


def memorization(fake: Tensor, train: Tensor, held_out: Tensor) -> Memorization:
    """Return how near fakes lie to training images, beside real images never seen.

    All are images (N, C, H, W) in [-1, 1]. The means of ``nearest_distance`` for fakes
    and for held-out images, the first divided by the second (about 1 for a perfect
    generator, 0 for copies), and the share of fakes that lie nearer than all but 1 % of
    the held-out images (so about 0.01 for a perfect generator). It sees copies of
    pixels only: an image shifted by one pixel is far from itself.

    Raises TypeError or ValueError for images of other ranges or sizes, and when the
    held-out images are among the training images.
    Source: Theis et al. 2016, section 3.3, on its limits. Taught in notebook 06.
    """
    check_image_sets(train=train, fake=fake, held_out=held_out)
    fake_distance = nearest_distance(fake, train)
    real_distance = nearest_distance(held_out, train)
    if real_distance.max() == 0:
        came, expected = "held_out are copies of train", "images that G never saw"
        mend = 'pass load_images("mnist", "test").images'
        raise wrong(ValueError, came, expected, mend)
    mean, real_mean = fake_distance.mean().item(), real_distance.mean().item()
    near = fake_distance < real_distance.quantile(0.01)
    return Memorization(mean, real_mean, mean / real_mean, near.float().mean().item())


class Row(NamedTuple):
    """One number of the table: of the samples, of real images, and which is better."""

    name: str
    value: float
    floor: float
    better: str  # "lower", "higher" or "as real"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All numbers of a set of samples; prints as a table, ``table["recall"]`` is a row.

    They depend on ``count``, the number of samples, and on the judge with this hash.
    """

    rows: tuple[Row, ...]
    shares: tuple[float, ...]  # of the digits 0 … 9, in the judge's eyes
    count: int
    judge_hash: str
    judge_accuracy: float

    def __getitem__(self, name: str) -> Row:
        found = {row.name: row for row in self.rows}
        if name not in found:
            came, expected = f"there is no row {name!r}", ", ".join(found)
            raise wrong(ValueError, came, f"one of {expected}", 'try "recall, k = 3"')
        return found[name]

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
    G: nn.Module,
    *,
    judge: Judge,
    train_images: Tensor,
    test_images: Tensor,
    seed: int = 0,
) -> Evaluation:
    """Return every number of this module for samples of G, beside those of real images.

    As many samples as there are test images are drawn with ``seed``, at most 10,000;
    ``evaluate_samples`` says what is done with them.

    Raises TypeError or ValueError when G is no generator, and where
    ``evaluate_samples`` does. Taught in notebook 06.
    """
    check_network(judge, "judge")
    check_image_sets(judge, train_images=train_images, test_images=test_images)
    samples = sample_images(G, min(10_000, len(test_images)), seed=seed)
    return evaluate_samples(
        samples.to(test_images.device),
        judge=judge,
        train_images=train_images,
        test_images=test_images,
    )


def evaluate_samples(
    samples: Tensor, *, judge: Judge, train_images: Tensor, test_images: Tensor
) -> Evaluation:
    """Return every number of this module for samples, beside those of real images.

    All are images (N, 1, 28, 28) in [-1, 1]. n is the number of samples or of test
    images, whichever is smaller, and at most 10,000. n samples are compared with n test
    images, and then, for the floor, n training images with the same test images. For
    the distance to training images 2,000 have to do, and test images give the floor.
    Where there are 60,000 training images, as in MNIST, 10,000 of them serve for the
    validation that the Parzen log-likelihood needs.

    Raises TypeError or ValueError for what is no judge, for images that do not fit it
    or are not in [-1, 1], for no more of them than the judge has features, and for
    fewer training than test images. Taught in notebook 06.
    """
    sets = {"train_images": train_images, "test_images": test_images}
    check_network(judge, "judge")
    check_image_sets(judge, samples=samples, **sets)
    count = min(10_000, len(samples), len(test_images))
    check_enough(train_images, count, "training images", f"a floor with {count} images")
    samples, test = samples[:count], test_images[:count]
    rows = _compare_rows(judge, samples, test, train_images)
    floor = _compare_rows(judge, train_images[:count], test, train_images)
    copies = memorization(samples[:2000], train_images, test[:2000])
    balance = class_balance(judge, samples)
    return Evaluation(
        (
            *(Row(n, v, floor[n][0], better) for n, (v, better) in rows.items()),
            Row("nearest training image", copies.fake, copies.held_out, "as real"),
            Row("nearer than 99% of real", copies.share_near, 0.01, "as real"),
        ),
        tuple(balance.shares.tolist()),
        count,
        judge.hash,
        judge.accuracy,
    )


def _compare_rows(
    judge: Judge, samples: Tensor, test: Tensor, train: Tensor
) -> dict[str, tuple[float, str]]:
    """Return values by name, those that samples and real images are both given."""
    features = [judge_features(judge, images) for images in (test, samples)]
    near, wide = precision_recall(*features, k=3), precision_recall(*features, k=5)
    balance = class_balance(judge, samples)
    found = {
        "Fréchet distance": (frechet_distance(judge, test, samples), "lower"),
        "kernel distance": (kernel_distance(judge, test, samples).mean, "lower"),
        "precision, k = 3": (near.precision, "higher"),
        "recall, k = 3": (near.recall, "higher"),
        "density, k = 5": (wide.density, "higher"),
        "coverage, k = 5": (wide.coverage, "higher"),
        "entropy of digits": (balance.entropy, "higher"),
        "KL to uniform": (balance.kl_to_uniform, "lower"),
        "confidence": (balance.confidence, "as real"),
    }
    if len(train) >= 60_000:
        likelihood = parzen_log_likelihood(samples, train[50_000:60_000], test)
        found["Parzen, nats"] = (likelihood.mean, "higher")
    return found


class _Features(nn.Module):
    """The judge as torchmetrics wants it: a network that returns features.

    They go to the CPU in double precision, which not every accelerator has.
    """

    def __init__(self, judge: Judge):
        super().__init__()
        self.judge, self.num_features = judge, judge.num_features

    def forward(self, images: Tensor) -> Tensor:
        return self.judge.features(images).cpu().double()


@torch.no_grad()
def _compare(metric: nn.Module, real: Tensor, fake: Tensor) -> Tensor | tuple:
    for is_real, images in ((True, real), (False, fake)):
        for part in images.split(BLOCK):
            metric.update(part, real=is_real)
    return metric.compute()
