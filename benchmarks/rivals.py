"""Where do GANs stand? A GAN, a variational autoencoder and a flow, on MNIST.

All have about as many weights, and train for the seconds below. These are seconds on
two cores that nothing else uses: the script first times the steps of the models in
turn, and how long one of the cores takes to draw 10,000 samples. The runs themselves go
two at a time, on one thread each; those that are in the CSV already are left out. The
first seed of each model also leaves a picture of twenty samples.

    python benchmarks/rivals.py    # half an hour
"""

from bench import RESULTS, options, save, show  # before torch: see there

# isort: split
import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import runs
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    leaky_relu,
    mse_loss,
)

from ganlib.latent import new_noise, sample_images, stream
from ganlib.models import (
    Discriminator,
    Generator,
    init_orthogonal_,
    init_orthogonal_leaky_,
    new_networks,
)
from ganlib.plots import png_bytes
from ganlib.steps import take_step
from ganlib.training import (
    TrainConfig,
    endless_batches,
    move_average,
    train,
)

SECONDS = 120
SEEDS = 3


class Autoencoder(nn.Module):
    """A variational autoencoder: D's layers as encoder, G as decoder of a short z.

    A pixel is the chance of white, as in the paper: its log-likelihood is the negative
    cross-entropy. Samples are the means that the decoder gives for z from the prior.
    Source: Kingma and Welling 2014.
    """

    def __init__(self, latent_dim: int = 10):
        super().__init__()
        self.encoder = Discriminator().net
        self.encoder[-1] = nn.Linear(256, 2 * latent_dim)
        self.decoder = Generator(latent_dim)
        self.apply(init_orthogonal_)

    def loss(self, real: Tensor, noise: torch.Generator) -> Tensor:
        """Return the negative evidence lower bound, in nats."""
        mean, log_variance = self.encoder(real).chunk(2, dim=1)
        deviation = (log_variance / 2).exp()
        z = mean + deviation * new_noise(*mean.shape, noise)
        logits = 2 * self.decoder.net[:-1](z)  # tanh(x) = 2 sigmoid(2 x) - 1
        white = (real.flatten(1) + 1) / 2
        error = binary_cross_entropy_with_logits(logits, white, reduction="sum")
        divergence = (mean**2 + deviation**2 - 1 - log_variance).sum() / 2
        return (error + divergence) / len(real)


class Flow(nn.Module):
    """Points (N, 784) on their way from noise to images, at times t (N, 1): velocity.

    On a straight way, x_t = (1 - t) noise + t image, the velocity is image - noise, or
    (image - x_t) / (1 - t). The layers predict the image, and so the velocity.
    Sources: Lipman et al. 2023, Liu et al. 2023; Li and He 2025 on predicting images.
    """

    def __init__(self, width: int = 768, waves: int = 32):
        super().__init__()
        self.first = nn.Linear(784 + 2 * waves, width)
        self.second = nn.Linear(width + 2 * waves, width)
        self.last = nn.Linear(width, 784)
        self.rates = torch.logspace(0, 2, waves)  # of the sines of t
        self.apply(init_orthogonal_leaky_)
        # Of what it never saw, it shall say nothing: else a gray ground turns white.
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        times = torch.cat([(t * self.rates).sin(), (t * self.rates).cos()], dim=1)
        h = x
        for layer in (self.first, self.second):
            h = leaky_relu(layer(torch.cat([h, times], dim=1)), 0.2)
        return (self.last(h) - x) / (1 - t).clamp(min=0.05)  # as late as in training

    def loss(self, real: Tensor, noise: torch.Generator) -> Tensor:
        """Return the mean squared error of the velocity, at times that favor noise."""
        image, start = real.flatten(1), new_noise(len(real), 784, noise)
        t = (new_noise(len(real), 1, noise) - 1.8).sigmoid().clamp(max=0.95)
        return mse_loss(self((1 - t) * start + t * image, t), image - start)


class Euler(nn.Module):
    """A flow that is followed from noise to images (N, 1, 28, 28), in so many steps."""

    latent_dim = 784

    def __init__(self, flow: Flow, steps: int):
        super().__init__()
        self.flow, self.steps = flow, steps

    def forward(self, z: Tensor) -> Tensor:
        for step in range(self.steps):
            t = torch.full((len(z), 1), step / self.steps)
            z = z + self.flow(z, t) / self.steps
        return z.clamp(-1, 1).view(-1, 1, 28, 28)


def fit(model: nn.Module, images: Tensor, config: TrainConfig) -> Iterator:
    """Train a model by its own loss, at a falling rate; yield its running average."""
    torch.set_flush_denormal(True)  # as ``train`` does
    opt = torch.optim.Adam(model.parameters(), config.lr_g, config.betas, fused=True)
    averaged = copy.deepcopy(model).requires_grad_(False).eval()
    batches = endless_batches(images, config.batch_size, config.seed)
    noise, started = stream("noise", config.seed), time.perf_counter()
    for step in range(config.steps):
        falling = (1 + math.cos(math.pi * step / config.steps)) / 2
        opt.param_groups[0]["lr"] = config.lr_g * falling
        take_step(opt, model.loss(next(batches), noise))
        move_average(averaged, model, config.ema_share * step)
    seconds = time.perf_counter() - started
    yield SimpleNamespace(seconds=seconds, averaged=averaged)


def new_model(kind: type, seed: int) -> tuple[nn.Module]:
    torch.manual_seed(seed)
    return (kind(),)


@dataclass(frozen=True)
class Model:
    """What is trained, by what, and what draws after so many passes through it."""

    new: Callable  # seed → networks
    train: Callable
    samplers: dict[int, Callable]
    settings: dict = field(default_factory=dict)  # that differ from notebook 04


ALONE = {"lr_g": 2e-3, "betas": (0.9, 0.999)}
MODELS = {
    "GAN": Model(new_networks, train, {1: lambda G: G}),
    "autoencoder": Model(
        partial(new_model, Autoencoder), fit, {1: lambda model: model.decoder}, ALONE
    ),
    "flow": Model(
        partial(new_model, Flow),
        fit,
        {steps: partial(Euler, steps=steps) for steps in (10, 50)},
        ALONE | {"batch_size": 256, "lr_g": 3e-3},
    ),
}


def records(name: str, images: Tensor, steps: int, seed: int = 0) -> Iterator:
    model = MODELS[name]
    config = TrainConfig(steps, record_every=steps, seed=seed, **model.settings)
    return model.train(*model.new(seed), images, config)


def draw_seconds(name: str, images: Tensor) -> dict[int, float]:
    """Return the seconds to draw SAMPLES images on one thread, by passes."""
    runs.one_thread()
    *_, last = records(name, images, 1)
    seconds = {}
    for passes, sampler in MODELS[name].samplers.items():
        started = time.process_time()  # what others use does not count
        sample_images(sampler(last.averaged), runs.SAMPLES, seed=0)
        seconds[passes] = time.process_time() - started
    return seconds


def run(job: tuple[str, int, float, dict[int, float]]) -> list[dict]:
    """Train a model with one seed; return a row for each of its samplers."""
    name, seed, ms, draw = job
    steps = round(1000 * SECONDS / ms)
    weights = sum(w.numel() for n in MODELS[name].new(seed) for w in n.parameters())
    facts = {"weights": weights, "ms_a_step": round(ms, 1), "steps": steps}
    *_, last = records(name, runs.images, steps, seed)
    rows = []
    for passes, sampler in MODELS[name].samplers.items():
        row = {"model": name, "passes": passes, "seed": seed, **facts}
        row["seconds_to_draw"] = round(draw[passes], 2)
        G = sampler(last.averaged)
        rows.append(row | runs.describe(G))
        print(*rows[-1].values(), flush=True)
        if seed == 0:
            picture = png_bytes(sample_images(G, 20, seed=0), columns=10)
            (RESULTS / f"rivals_{name}_{passes}.png").write_bytes(picture)
    return rows


def main():
    options(__doc__)
    rows, order = runs.stored("rivals"), list(MODELS)
    done = {(row["model"], row["seed"]) for row in rows}
    jobs = [(name, seed) for name in MODELS for seed in range(SEEDS)]
    jobs = [job for job in jobs if job not in done]
    images = torch.rand(1000, 1, 28, 28) * 2 - 1
    ms = runs.step_ms({name: partial(records, name, images) for name in dict(jobs)})
    draw = {name: draw_seconds(name, images) for name in dict(jobs)}
    jobs = [(name, seed, ms[name], draw[name]) for name, seed in jobs]
    for found in runs.two_at_a_time(run, jobs):
        rows += found
        rows.sort(key=lambda r: (order.index(r["model"]), r["passes"], r["seed"]))
        save("rivals", rows)
    save("rivals", rows)  # if there was nothing left to run
    show("Rivals for the same seconds", rows)


if __name__ == "__main__":
    main()
