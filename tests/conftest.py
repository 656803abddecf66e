"""What all tests share: a sealed-off environment, small networks, and the data."""

import os

# Both count only when they are set before torch and matplotlib are loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
os.environ["MPLBACKEND"] = "Agg"

import math
import socket
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import nn

from ganlib.data import load_images
from ganlib.judge import train_judge

# The learner's own data set, if there is one: remembered here, hidden from the tests.
OWN_DATA = os.environ.get("GANLIB_DATA")

settings.register_profile("course", deadline=None, derandomize=True, database=None)
settings.load_profile("course")


@pytest.fixture(scope="session", autouse=True)
def sealed_environment(tmp_path_factory):
    """Keep every test away from the network and from the learner's own files."""
    connect = socket.socket.connect

    def connect_here(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1"), f"a test called {address}"
        return connect(self, address)

    empty = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANLIB_CACHE", str(empty / "cache"))
        patch.setenv("GANLIB_DATA", str(empty / "data"))
        patch.setenv("GANLIB_OFFLINE", "1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(socket.socket, "connect", connect_here)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from threads, which only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def denormal_numbers():
    """Undo what ``train`` does to the process: hypothesis wants its tiny numbers."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def unchanged_global_random_state():
    torch.rand(1)  # away from where a test before may have left it
    generators = [torch.default_generator, *torch.cuda.default_generators]
    before = [generator.get_state() for generator in generators]
    yield
    for generator, state in zip(generators, before, strict=True):
        assert torch.equal(generator.get_state(), state), (
            "the global random state moved"
        )


@pytest.fixture(scope="session")
def digits():
    return load_images("digits")


@pytest.fixture(scope="session")
def unseen():
    return load_images("digits", "test")


@pytest.fixture(scope="session")
def judge(digits):
    return train_judge(digits.images, digits.labels)


@pytest.fixture(scope="session")
def mnist_root():
    """Where the real MNIST lies; without it the test is skipped."""
    if not OWN_DATA or not (Path(OWN_DATA) / "MNIST" / "raw").is_dir():
        pytest.skip("GANLIB_DATA does not lead to the real MNIST")
    return Path(OWN_DATA)


class TinyGenerator(nn.Module):
    """As small as a generator with BatchNorm can be."""

    def __init__(self, latent_dim=3, image_shape=(1, 4, 4)):
        super().__init__()
        self.latent_dim, self.image_shape = latent_dim, image_shape
        self.net = nn.Sequential(
            nn.Linear(latent_dim, 8),
            nn.BatchNorm1d(8),
            nn.LeakyReLU(0.2),
            nn.Linear(8, math.prod(image_shape)),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.net(z).view(-1, *self.image_shape)


class TinyDiscriminator(nn.Module):
    """Linear layers only; ``calls`` counts its forward passes, two in each step."""

    def __init__(self, image_shape=(1, 4, 4)):
        super().__init__()
        self.image_shape, self.calls = image_shape, 0
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(image_shape), 8),
            nn.LeakyReLU(0.2),
            nn.Linear(8, 1),
        )

    def forward(self, images):
        self.calls += 1
        return self.net(images).squeeze(1)


@pytest.fixture
def tiny_networks():
    """A function of a seed that returns a small G and D, the same for the same seed."""

    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TinyGenerator(), TinyDiscriminator()

    return make


@pytest.fixture
def tiny_images():
    """Fifty images (50, 1, 4, 4) in [-1, 1]."""
    return torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(7)) * 2 - 1
