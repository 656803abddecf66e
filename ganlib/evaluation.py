"""Numbers that judge samples, in the features of a small network: the judge."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganlib.checks import check_count, check_images, check_network, check_range, wrong
from ganlib.data import batch_indices


class Judge(nn.Module):
    """A small classifier: images (N, 1, 28, 28) in [-1, 1] → logits (N, 10).

    ``features`` gives the 64 numbers before the last layer. ``accuracy`` is its share
    of right answers on images that it was not trained on.

    Raises TypeError or ValueError when the images have a wrong dtype, shape or device.
    """

    num_features = 64

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, 10)
        self.accuracy = float("nan")

    def features(self, images: Tensor) -> Tensor:
        check_images(images, (1, 28, 28), self)
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def train_judge(
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int = 2,
    seed: int = 0,
) -> Judge:
    """Train a judge on images (N, 1, 28, 28) in [-1, 1] with labels (N,) in 0 … 9.

    A tenth of the images is kept back for ``judge.accuracy``. Small sets are cut into
    smaller batches and gone through more often, so that there are at least 400 steps.

    Raises TypeError or ValueError for images, labels, epochs or seeds that do not fit.
    """
    check_images(images)  # the judge looks at their size
    check_range(images)
    check_count(epochs, "epochs")
    check_count(seed, "seed", 0)
    _check_labels(labels, images)
    if len(images) < 20:
        raise ValueError(
            f"there are {len(images)} images, too few to train and to test a judge: "
            "use at least 1,000."
        )
    order = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(images), generator=order)
    held_out, used = shuffled.tensor_split([len(images) // 10])
    batch_size = max(32, min(256, len(used) // 200))
    epochs = max(epochs, math.ceil(400 * batch_size / len(used)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge().to(images.device)
    optimizer = torch.optim.Adam(judge.parameters(), 4e-3, fused=True)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - epoch / epochs)
        for batch in batch_indices(len(used), batch_size, generator=order):
            chosen = used[batch]
            loss = cross_entropy(judge(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    judge.requires_grad_(False).eval()
    right = judge(images[held_out]).argmax(1) == labels[held_out]
    judge.accuracy = right.float().mean().item()
    return judge


def judge_verdicts(judge: Judge, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the digit (N,) that the judge sees in each image, and its confidence (N,).

    The confidence is the largest softmax probability, in [0.1, 1].

    Raises TypeError or ValueError for what is no judge, or images that do not fit it.
    """
    check_network(judge, "judge")
    check_images(images, (1, 28, 28), judge)
    check_range(images)
    with torch.no_grad():
        logits = torch.cat([judge(part) for part in images.split(1000)])
    confidence, digit = logits.softmax(1).max(1)
    return digit, confidence


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
    for name, images in (("real", real), ("fake", fake)):
        check_images(images, (1, 28, 28), judge, name)
        if len(images) <= judge.num_features:
            raise ValueError(
                f"there are {len(images)} {name} images, too few for a covariance of "
                f"{judge.num_features} features: use at least 1,000."
            )
        check_range(images, name)
    metric = FrechetInceptionDistance(
        feature=_Features(judge), normalize=True, input_img_size=(1, 28, 28)
    ).to(real.device)
    with torch.no_grad():
        for is_real, images in ((True, real), (False, fake)):
            for part in images.split(1000):
                metric.update(part, real=is_real)
        return metric.compute().item()


class _Features(nn.Module):
    """The judge as torchmetrics wants it: a network that returns features."""

    num_features = Judge.num_features

    def __init__(self, judge: Judge):
        super().__init__()
        self.judge = judge

    def forward(self, images: Tensor) -> Tensor:
        return self.judge.features(images)


def _check_labels(labels: Tensor, images: Tensor) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        came = f"labels came as {getattr(labels, 'dtype', type(labels).__name__)}"
        mend = "write torch.as_tensor(labels).long()"
        raise wrong(TypeError, came, "an int64 tensor of digits in 0 … 9", mend)
    if labels.shape != (len(images),) or labels.device != images.device:
        came = f"labels have shape {tuple(labels.shape)} on {labels.device}"
        expected = f"({len(images)},) on {images.device}, one digit for each image"
        mend = 'load both together with load_images("digits")'
        raise wrong(ValueError, came, expected, mend)
    if labels.min() < 0 or labels.max() > 9:
        came = f"labels reach from {labels.min()} to {labels.max()}"
        mend = "write labels - labels.min()"
        raise wrong(ValueError, came, "int64 in 0 … 9", mend)
