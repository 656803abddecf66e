"""The GAN paper's own networks and own measure, redone: Parzen windows on MNIST.

python benchmarks/paper.py --epochs 60 # about 20 minutes, stored at the end
python benchmarks/paper.py --epochs 5  # to try it
"""

from bench import options, save, show  # before torch: see there

# isort: split
import math
import time
from collections.abc import Iterator

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganlib.checkpoint import load_or_train
from ganlib.data import load_images
from ganlib.latent import sample_images
from ganlib.metrics import parzen_log_likelihood
from ganlib.training import TrainConfig

SHOWN_AFTER = (1, 5, 10, 25, 50, 100, 250)  # epochs


class Maxout(nn.Module):
    """Each unit is the largest of ``pieces`` linear functions (Goodfellow 2013)."""

    def __init__(self, inputs: int, units: int = 240, pieces: int = 5):
        super().__init__()
        self.pieces, self.linear = pieces, nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


def networks(pixel_means: Tensor) -> tuple[nn.Sequential, nn.Sequential]:
    """Return G and D of the authors' mnist.yaml, with its initial weights.

    G's last bias is the logit of the mean of each pixel. Both return logits.
    """
    G = nn.Sequential(
        *(nn.Linear(100, 1200), nn.ReLU(), nn.Linear(1200, 1200), nn.ReLU()),
        nn.Linear(1200, 784),
    )
    D = nn.Sequential(
        *(nn.Dropout(0.2), Maxout(784), nn.Dropout(0.5), Maxout(240)),
        *(nn.Dropout(0.5), nn.Linear(240, 1)),
    )
    for network, reach in ((G, 0.05), (D, 0.005)):
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -reach, reach)
                nn.init.zeros_(layer.bias)
    means = pixel_means.clamp(1e-7, 1 - 1e-7)
    G[-1].bias.data.copy_(means.logit())
    return G, D


def paper_noise(count: int) -> Tensor:
    """Return z (count, 100), uniform with variance 1."""
    return (2 * torch.rand(count, 100) - 1) * math.sqrt(3)


@torch.no_grad()
def samples(G: nn.Module, count: int) -> Tensor:
    """Return images (count, 1, 28, 28) in [-1, 1]."""
    return G(paper_noise(count)).sigmoid().view(-1, 1, 28, 28) * 2 - 1


def train(images: Tensor, epochs: int) -> Iterator[tuple[int, nn.Module]]:
    """Train on images (N, 784) in [0, 1] as the authors' code does; yield every epoch.

    Both players move at once, on the same fakes, with the gradients of one pass: D
    lowers half the cross-entropy, G's loss is the non-saturating one. The learning rate
    falls with every batch; the momentum rises from the second epoch to the 250th.
    """
    G, D = networks(images.mean(0))
    optimizers = [torch.optim.SGD(n.parameters(), 0.1, fused=True) for n in (G, D)]
    rate = 0.1
    for epoch in range(1, epochs + 1):
        momentum = 0.5 + 0.2 * min(1, (epoch - 1) / 249)
        for indices in torch.randperm(len(images)).split(100):
            for optimizer in optimizers:
                optimizer.param_groups[0].update(lr=rate, momentum=momentum)
            step(G, D, optimizers, images[indices])
            rate = max(rate / 1.000004, 1e-6)
        yield epoch, G


def step(G: nn.Module, D: nn.Module, optimizers: list, real: Tensor) -> None:
    fake = G(paper_noise(len(real))).sigmoid()
    real_logits, fake_logits = D(torch.cat([real, fake]))[:, 0].split(len(real))
    d_loss = (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2
    g_loss = softplus(-fake_logits).mean()
    weights = [list(network.parameters()) for network in (G, D)]
    d_gradients = torch.autograd.grad(d_loss, weights[1], retain_graph=True)
    g_gradients = torch.autograd.grad(g_loss, weights[0])
    for mine, gradients, optimizer in zip(
        weights, (g_gradients, d_gradients), optimizers, strict=True
    ):
        for weight, gradient in zip(mine, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()


def k_means(images: Tensor, count: int) -> Tensor:
    """Return the centers (count, 1, 28, 28) of clusters of images."""
    known = MiniBatchKMeans(count, batch_size=10_000, n_init=1, max_iter=20)
    known.set_params(random_state=0).fit(images.flatten(1).numpy())
    return torch.from_numpy(known.cluster_centers_).float().view(-1, 1, 28, 28)


def main():
    epochs = options(__doc__, "--epochs", type=int, default=60).epochs
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    mnist, test = load_images("mnist"), load_images("mnist", "test").images
    used, validation = mnist.images.split([50_000, 10_000])
    rows = []

    def report(name: str, centers: Tensor, seconds: float) -> None:
        found = parzen_log_likelihood(centers.clamp(-1, 1), validation, test)
        rows.append(
            {
                "centers": name,
                "count": len(centers),
                "nats": round(found.mean, 1),
                "standard_error": round(found.standard_error, 1),
                "sigma": round(found.sigma, 3),
                "training_seconds": round(seconds),
            }
        )
        print(*rows[-1].values(), flush=True)

    started = time.perf_counter()
    report("k-means centers", k_means(used, 1000), time.perf_counter() - started)
    for count in (1000, 10_000):
        report("real training images", used[:count], 0)
    G, _ = load_or_train(TrainConfig(), mnist.images)
    report("generator of notebook 04", sample_images(G, 10_000, seed=0), 0)
    started = time.perf_counter()
    for epoch, G in train((used.flatten(1) + 1) / 2, epochs):
        if epoch in SHOWN_AFTER or epoch == epochs:
            seconds = time.perf_counter() - started
            report(f"the paper's G, {epoch} epochs", samples(G, 10_000), seconds)
    save("paper", rows)
    show("Parzen log-likelihood of 10,000 test images", rows)


if __name__ == "__main__":
    main()
