"""Networks that get a label, and their training.

Two more ways for D to ask about it, which notebook 10 compares, are in
``benchmarks/conditional.py``.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlib.checks import check_images, check_noise, wrong
from ganlib.latent import new_noise, stream
from ganlib.models import Discriminator, Generator
from ganlib.parallel import own_rows
from ganlib.steps import Moved, constant_rate, d_step, g_step
from ganlib.storage import Folder, KeptRun
from ganlib.training import Record, TrainConfig, check_start, endless_batches, loop


class ConditionalGenerator(nn.Module):
    """G: noise (N, latent_dim) and labels (N,) → images (N, *image_shape) in [-1, 1].

    Each class has a learned vector, its *embedding*, which joins z at the input of the
    generator of notebook 02. In place of labels, floats (N, classes) mix the embeddings
    of several classes.

    Raises TypeError or ValueError for z that are not floats (N, latent_dim), IndexError
    for a label that is not in 0 … classes - 1.
    Source: Mirza and Osindero 2014. Taught in notebook 10.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        image_shape: tuple = (1, 28, 28),
        classes: int = 10,
        size: int = 32,
    ):
        super().__init__()
        self.latent_dim, self.image_shape = latent_dim, tuple(image_shape)
        self.classes = classes
        self.embedding = nn.Embedding(classes, size)
        self.inner = Generator(latent_dim + size, image_shape)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        check_noise(z, self.latent_dim)
        if labels.is_floating_point():
            code = labels @ self.embedding.weight
        else:
            code = self.embedding(labels)
        return self.inner(torch.cat([z, code], 1))


class ProjectionDiscriminator(Discriminator):
    """D that compares image and label: logit = ψ(φ(x)) + ⟨embedding(y), φ(x)⟩.

    φ(x) (N, 256) is the last hidden layer of notebook 02's D, and ψ its last layer.
    Source: Miyato and Koyama 2018, equation 3. Taught in notebook 10.
    """

    def __init__(self, image_shape: tuple = (1, 28, 28), classes: int = 10):
        super().__init__(image_shape)
        self.embedding = nn.Embedding(classes, self.net[-1].in_features)
        nn.init.zeros_(self.embedding.weight)  # at first, labels make no difference

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        check_images(images, self.image_shape)
        features = self.net[:-1](images)
        match = (self.embedding(labels) * features).sum(1)
        return self.net[-1](features).squeeze(1) + match


def conditional_update(
    D: nn.Module,
    opt_d: Optimizer,
    opt_g: Optimizer,
    real: Tensor,
    real_labels: Tensor,
    fake: Tensor,
    fake_labels: Tensor,
    progress: float,
) -> Moved:
    """Move both players with the losses of notebook 04, on pairs of image and label.

    Source: Mirza and Osindero 2014. Taught in notebook 10.
    """
    both = torch.cat([real_labels, fake_labels])
    moved = d_step(partial(D, labels=both), opt_d, real, fake)
    return moved, g_step(partial(D, labels=fake_labels), opt_g, fake)


def train_conditional(
    G: nn.Module,
    D: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    update: Callable = conditional_update,
    rate: Callable[[float], float] = constant_rate,
    run: Folder | None = None,
) -> Iterator[Record]:
    """Train G(z, labels) and D on images (N, C, H, W) and labels (N,); yield records.

    Fakes get labels sampled from ``labels``, so that a class is as frequent among them
    as among the images. For all else, see ``train``, whose loop this is.

    Raises ValueError for labels that do not fit, and what ``train`` raises. Used in
    notebook 10.
    """
    check_start(G, D, images, config)
    check_labels(labels, len(images), G.classes)
    labels = labels.to(images.device)  # else another order
    noise = stream("noise", config.seed, images.device)
    asked = stream("labels", config.seed, labels.device)
    data, parts = (images, labels), {"G": G, "D": D, "noise": noise, "labels": asked}
    saved = KeptRun(run, config, [update, rate], data, parts=parts)
    batches, named = (  # the same seed, and so the same order
        endless_batches(x, config.batch_size, config.seed, saved.step) for x in data
    )

    def move(opt_d: Optimizer, opt_g: Optimizer, progress: float) -> Moved:
        real, real_labels = own_rows(next(batches)), own_rows(next(named))
        chosen = torch.randint(
            len(labels), (config.batch_size,), generator=asked, device=labels.device
        )
        fake_labels = own_rows(labels[chosen])
        z = own_rows(new_noise(config.batch_size, G.latent_dim, noise))
        fake = G(z, fake_labels)
        return update(D, opt_d, opt_g, real, real_labels, fake, fake_labels, progress)

    return loop(G, D, config, move, rate, saved)


def check_labels(labels: Tensor, count: int, classes: int) -> None:
    """Raise an error unless there is one label from 0 to classes - 1 for each image."""
    if labels.shape != (count,) or labels.dtype != torch.int64:
        got = f"labels are {labels.dtype} {tuple(labels.shape)}"
        fix = "write labels = data.labels"
        raise wrong(ValueError, got, f"torch.int64 ({count},)", fix)
    low, high = labels.aminmax()
    if low < 0 or high >= classes:
        got, fix = f"labels reach from {low} to {high}", f"pass classes={high + 1} to G"
        raise wrong(ValueError, got, f"0 to {classes - 1}", fix)


class AskedFor(nn.Module):
    """G with its labels chosen: noise → images, so that all tools for a G work with it.

    Row i of a batch z gets label i % classes, or always ``label`` if there is one: a
    number, or a mixture, floats (classes,). Taught in notebook 10.
    """

    def __init__(self, G: ConditionalGenerator, label: int | Tensor | None = None):
        super().__init__()
        self.G, self.label = G, label
        self.latent_dim, self.image_shape = G.latent_dim, G.image_shape

    def labels(self, count: int) -> Tensor:
        """Return the labels (count,), or mixtures (count, classes), of so many rows."""
        if self.label is None:
            return torch.arange(count) % self.G.classes
        label = torch.as_tensor(self.label)
        return label.expand(count, *label.shape)

    def forward(self, z: Tensor) -> Tensor:
        return self.G(z, self.labels(len(z)).to(z.device))
