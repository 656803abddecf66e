"""The judge: a small classifier whose features and answers stand in for our eyes."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganlib.checks import check_images
from ganlib.data import batch_indices, fingerprint


class Judge(nn.Module):
    """A small classifier: images (N, 1, 28, 28) in [-1, 1] → logits (N, 10).

    ``features`` gives the 64 numbers before the last layer. ``accuracy`` is its
    accuracy on held-out images, on which it was not trained. ``hash`` is its name: a
    number in its features means something only together with the name of the judge.

    Raises TypeError or ValueError for images that are not floats (N, 1, 28, 28).
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
        self.eval()

    @property
    def hash(self) -> str:
        """The first 12 hex digits of the SHA-256 of all weights."""
        return fingerprint(*self.state_dict().values())[:12]

    def features(self, images: Tensor) -> Tensor:
        check_images(images, (1, 28, 28))
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def train_judge(
    images: Tensor, labels: Tensor, *, epochs: int = 2, seed: int = 0
) -> Judge:
    """Train a judge on images (N, 1, 28, 28) in [-1, 1] with labels (N,) in 0 … 9.

    A tenth of the images is held out for ``judge.accuracy``. Small sets get smaller
    batches and more epochs, so that there are at least 400 steps. It works on the
    device of the images; the judge is returned frozen.
    """
    order = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(images), generator=order)
    held_out, used = shuffled.tensor_split([len(images) // 10])
    batch_size = max(32, min(256, len(used) // 200))
    epochs = max(epochs, math.ceil(400 * batch_size / len(used)))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone, which is forked
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
    judge.requires_grad_(False)
    right = judge(images[held_out]).argmax(1) == labels[held_out]
    judge.accuracy = right.float().mean().item()
    return judge


@torch.no_grad()
def judge_features(judge: Judge, images: Tensor) -> Tensor:
    """Return the judge's features (N, 64) of images (N, 1, 28, 28) in [-1, 1].

    They are computed where the judge is, in its precision, wherever the images are.
    """
    like = next(judge.parameters())
    return torch.cat([judge.features(part.to(like)) for part in images.split(1000)])


@torch.no_grad()
def judge_predictions(judge: Judge, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the digit (N,) that the judge sees in each image, and its confidence (N,).

    The confidence is the largest softmax probability, in [0.1, 1].
    """
    confidence, digit = judge.head(judge_features(judge, images)).softmax(1).max(1)
    return digit, confidence
