"""The classic MNIST GAN, trained as most tutorials train it: the baseline.

Networks, loss, optimizer and loop follow PyTorch-GAN (implementations/gan/gan.py): a
torchvision dataset behind a DataLoader that turns every image into a Pillow image
and back, Sigmoid and BCELoss, Adam 2e-4 with betas (0.5, 0.999), batch 64, PyTorch's
own initialization, G first, and both losses printed at every step. The one setting
is the ``eps`` of BatchNorm: 0.8 there by mistake, 1e-5 when it is fixed.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from ganlib.data import data_folder
from ganlib.models import Discriminator, Generator

PUBLISHED_EPS, RIGHT_EPS = 0.8, 1e-5


def networks(eps):
    """Return G and D with a Sigmoid, with the weights that PyTorch gives them."""
    G, D = Generator(), nn.Sequential(Discriminator(), nn.Sigmoid())
    for layer in G.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.eps = eps
    return G, D


def loader(batch_size=64):
    """Return the DataLoader: batches of images (N, 1, 28, 28) and labels (N,)."""
    steps = [
        transforms.Resize(28),
        transforms.ToTensor(),
        transforms.Normalize([0.5], [0.5]),
    ]
    images = datasets.MNIST(data_folder(), transform=transforms.Compose(steps))
    return DataLoader(images, batch_size=batch_size, shuffle=True)


def train(G, D, batches):
    """Train on batches of (images, labels); yield the number of images after each."""
    adversarial_loss = nn.BCELoss()
    optimizer_G = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_D = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
    seen = 0
    for images, _ in batches:
        valid, fake = torch.ones(len(images)), torch.zeros(len(images))

        optimizer_G.zero_grad()
        z = torch.randn(len(images), 100)
        generated = G(z)
        g_loss = adversarial_loss(D(generated), valid)
        g_loss.backward()
        optimizer_G.step()

        optimizer_D.zero_grad()
        real_loss = adversarial_loss(D(images), valid)
        fake_loss = adversarial_loss(D(generated.detach()), fake)
        d_loss = (real_loss + fake_loss) / 2
        d_loss.backward()
        optimizer_D.step()

        seen += len(images)
        print(f"[D loss: {d_loss.item():f}] [G loss: {g_loss.item():f}]")
        yield seen
