"""Three ways to ask for a digit, and three places for the label in G, on MNIST.

All train for the seconds below. These are seconds on two cores that nothing else uses:
the script first times the steps of the variants in turn. The runs themselves go two at
a time, on one thread each. Runs that are in the CSV already are left out. For the row
"training images", real images take the place of the samples.

    python benchmarks/conditional.py [--only NAME ...]    # half an hour
"""

from bench import options, save, show  # before torch: see there

# isort: split
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import runs
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim import Optimizer

from ganlib.checks import check_images
from ganlib.conditional import (
    AskedFor,
    ConditionalGenerator,
    ProjectionDiscriminator,
    conditional_update,
    train_conditional,
)
from ganlib.judge import judge_features, judge_predictions, train_judge
from ganlib.latent import sample_images
from ganlib.losses import d_loss, g_loss_non_saturating
from ganlib.metrics import frechet_distance, precision_recall
from ganlib.models import Discriminator, init_orthogonal_
from ganlib.steps import Moved, take_step
from ganlib.training import TrainConfig

SECONDS = 60
SEEDS = 3
REAL = "training images"


class MultiplyingGenerator(ConditionalGenerator):
    """z is multiplied with the embedding of the label, number by number."""

    def __init__(self):
        super().__init__(size=0)
        self.embedding = nn.Embedding(self.classes, self.latent_dim)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.inner(z * self.embedding(labels))


class NormalizingGenerator(ConditionalGenerator):
    """Each class has its own scale and shift in each BatchNorm; z is all of the input.

    Source: Miyato and Koyama 2018, section 5.
    """

    def __init__(self):
        super().__init__(size=0)
        self.embedding = None
        for i, layer in enumerate(self.inner.net):
            if isinstance(layer, nn.BatchNorm1d):
                self.inner.net[i] = ClassNorm(layer.num_features, self.classes)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        for layer in self.inner.net:
            z = layer(z, labels) if isinstance(layer, ClassNorm) else layer(z)
        return z.view(len(z), *self.image_shape)


class ClassNorm(nn.Module):
    """BatchNorm whose scale and shift depend on the label."""

    def __init__(self, features: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(features, affine=False)
        self.scale = nn.Embedding(classes, features)
        self.shift = nn.Embedding(classes, features)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.scale(labels) * self.norm(x) + self.shift(labels)


class JoinedDiscriminator(Discriminator):
    """D that gets the label as one more input: images, labels (N,) → logits (N,).

    Source: Mirza and Osindero 2014. Taught in notebook 10.
    """

    def __init__(self, image_shape: tuple = (1, 28, 28), classes: int = 10):
        super().__init__(image_shape)
        self.classes = classes
        inputs = self.net[1].in_features + classes
        self.net[1] = nn.Linear(inputs, self.net[1].out_features)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        check_images(images, self.image_shape)
        code = one_hot(labels, self.classes).to(images)
        return self.net(torch.cat([images.flatten(1), code], 1)).squeeze(1)


class ClassifyingDiscriminator(Discriminator):
    """D with a second head: images → logits (N,) and class logits (N, classes).

    Source: Odena et al. 2017 (AC-GAN). Taught in notebook 10.
    """

    def __init__(self, image_shape: tuple = (1, 28, 28), classes: int = 10):
        super().__init__(image_shape)
        self.head = nn.Linear(self.net[-1].in_features, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        check_images(images, self.image_shape)
        features = self.net[:-1](images)
        return self.net[-1](features).squeeze(1), self.head(features)


def classifier_update(
    D: nn.Module,
    opt_d: Optimizer,
    opt_g: Optimizer,
    real: Tensor,
    real_labels: Tensor,
    fake: Tensor,
    fake_labels: Tensor,
    progress: float,
    *,
    weight: float = 1.0,
) -> Moved:
    """Move both players as AC-GAN does: D also learns the labels, and G to show them.

    ``weight`` is that of the cross-entropy of the labels in both losses.

    Source: Odena et al. 2017, section 3, where it is 1. Taught in notebook 10.
    """
    labels = torch.cat([real_labels, fake_labels])
    logits, classes = D(torch.cat([real, fake.detach()]))
    real_logits, fake_logits = logits.split([len(real), len(fake)])
    loss = d_loss(real_logits, fake_logits)
    take_step(opt_d, loss + weight * cross_entropy(classes, labels))
    logits, classes = D(fake)
    g_loss = g_loss_non_saturating(logits)
    take_step(opt_g, g_loss + weight * cross_entropy(classes, fake_labels))
    moved = loss.detach(), real_logits.detach(), fake_logits.detach()
    return moved, g_loss.detach()


@dataclass(frozen=True)
class Variant:
    """Two networks, and what moves them."""

    G: Callable = ConditionalGenerator
    D: Callable = ProjectionDiscriminator
    update: Callable = conditional_update


VARIANTS = {
    "label beside the image": Variant(D=JoinedDiscriminator),
    "classifier": Variant(D=ClassifyingDiscriminator, update=classifier_update),
    "classifier, weight 0.05": Variant(
        D=ClassifyingDiscriminator, update=partial(classifier_update, weight=0.05)
    ),
    "projection": Variant(),
    "projection, label multiplies z": Variant(MultiplyingGenerator),
    "projection, label in BatchNorm": Variant(NormalizingGenerator),
}


def networks(name: str, seed: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(seed)
    variant = VARIANTS[name]
    return variant.G().apply(init_orthogonal_), variant.D().apply(init_orthogonal_)


def records(name: str, images: Tensor, labels: Tensor, steps: int, seed: int):
    config = TrainConfig(steps, record_every=steps, seed=seed)
    update = VARIANTS[name].update
    return train_conditional(*networks(name, seed), images, labels, config, update)


def run(job: tuple[str, int, float]) -> dict:
    """Train a variant with one seed; return its row."""
    name, seed, ms = job
    steps = round(1000 * SECONDS / ms) if ms else 0
    row = {"variant": name, "seed": seed, "ms_a_step": round(ms, 1), "steps": steps}
    if name == REAL:
        chosen = torch.cat([(runs.labels == k).nonzero()[:1000] for k in range(10)], 1)
        row |= describe(runs.images[chosen.flatten()])  # 0, 1, … 9, 0, 1, …
    else:
        *_, last = records(name, runs.images, runs.labels, steps, seed)
        row |= describe(sample_images(AskedFor(last.averaged), 10_000, seed=1234))
    print(*row.values(), flush=True)
    return row


def describe(samples: Tensor) -> dict[str, float]:
    """Return numbers for samples (N, 1, 28, 28), of which row i should be an i % 10."""
    asked = torch.arange(len(samples)) % 10
    found = judge_features(runs.judge, samples)
    read = runs.judge.head(found).argmax(1)
    pairs = [
        (runs.features[runs.test.labels == k], found[asked == k]) for k in range(10)
    ]
    recall = [precision_recall(real, fake, k=5).recall for real, fake in pairs]
    distances = [frechet_distance(real, fake) for real, fake in pairs]
    student = train_judge(samples, asked)
    right = judge_predictions(student, runs.test.images)[0] == runs.test.labels
    means = torch.stack([samples[asked == k].mean(0) for k in range(10)])
    numbers = {
        "as_asked": (read == asked).float().mean().item(),
        "distance": frechet_distance(runs.features, found),
        "distance_of_a_digit": sum(distances) / 10,
        "recall_in_a_digit": sum(recall) / 10,
        "lowest_recall": min(recall),
        "due_to_label": (
            means.var(0, correction=0).sum() / samples.var(0).sum()
        ).item(),
        "student_on_test": right.float().mean().item(),
    }
    return {key: round(value, 4) for key, value in numbers.items()}


def main():
    names = [*VARIANTS, REAL]
    chosen = options(__doc__, "--only", nargs="+", default=names).only
    rows = runs.stored("conditional")
    done = {(row["variant"], row["seed"]) for row in rows}
    seeds = {name: 1 if name == REAL else SEEDS for name in names}
    jobs = [(name, seed) for name in chosen for seed in range(seeds[name])]
    jobs = [job for job in jobs if job not in done]
    images, few = torch.rand(1000, 1, 28, 28) * 2 - 1, torch.arange(1000) % 10
    starts = {
        name: partial(records, name, images, few, seed=0)
        for name in dict(jobs)
        if name != REAL
    }
    ms = runs.step_ms(starts) | {REAL: 0.0}
    for row in runs.two_at_a_time(run, [(*job, ms[job[0]]) for job in jobs]):
        rows.append(row)
        rows.sort(key=lambda row: (names.index(row["variant"]), row["seed"]))
        save("conditional", rows)
    save("conditional", rows)  # if there was nothing left to run
    show("Labels for the same seconds", rows)


if __name__ == "__main__":
    main()
