"""The two networks, and ways to set their initial weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlib.checks import check_images, check_noise


def block(in_features: int, out_features: int, normalize: bool = True) -> list:
    """Return the layers Linear, BatchNorm (unless told not to) and LeakyReLU(0.2).

    Shapes: (N, in_features) → (N, out_features). Taught in notebook 02.
    """
    layers = [nn.Linear(in_features, out_features)]
    if normalize:
        layers.append(nn.BatchNorm1d(out_features))
    layers.append(nn.LeakyReLU(0.2))
    return layers


class Generator(nn.Module):
    """G: noise (N, latent_dim) → images (N, *image_shape), float32 in [-1, 1].

    Linear blocks of 128, 256, 512 and 1024 units, then Tanh: 1,510,032 parameters at
    the default sizes, as in the classic fully connected MNIST GAN (PyTorch-GAN,
    implementations/gan). In train mode, BatchNorm mixes the images of a batch; use
    ``.eval()`` to generate each image by itself.

    Raises TypeError or ValueError for z that are not floats (N, latent_dim).
    Taught in notebook 02.
    """

    def __init__(self, latent_dim: int = 100, image_shape: tuple = (1, 28, 28)):
        super().__init__()
        self.latent_dim = latent_dim
        self.image_shape = tuple(image_shape)
        self.net = nn.Sequential(
            *block(latent_dim, 128, normalize=False),
            *block(128, 256),
            *block(256, 512),
            *block(512, 1024),
            nn.Linear(1024, math.prod(image_shape)),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        check_noise(z, self.latent_dim)
        return self.net(z).view(-1, *self.image_shape)


class Discriminator(nn.Module):
    """D: images (N, *image_shape) → logits (N,); sigmoid(logit) = probability of real.

    Linear layers of 512, 256 and 1 units with LeakyReLU(0.2): 533,505 parameters at
    the default size.

    Raises TypeError or ValueError for images that are not floats (N, *image_shape).
    Taught in notebook 02.
    """

    def __init__(self, image_shape: tuple = (1, 28, 28)):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(image_shape), 512),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_shape)
        return self.net(images).squeeze(1)


# The initializers below are meant for ``network.apply(init_...)``. BatchNorm keeps its
# gain of 1 and shift of 0: a gain sampled from N(0, 0.02) would all but switch it off.

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # those that have weights


def init_normal_(module: nn.Module) -> None:
    """Sample the weights of a layer from N(0, 0.02), as DCGAN does; biases 0.

    Here, 0.02 is the standard deviation; elsewhere, N(0, ...) holds the variance.
    Source: Radford et al. 2016, section 4. Taught in notebook 03.
    """
    if isinstance(module, LAYERS):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)


def init_xavier_(module: nn.Module) -> None:
    """Sample a layer's weights from N(0, 2 / (fan_in + fan_out)); biases 0.

    Source: Glorot and Bengio 2010, equation 12. Taught in notebook 03.
    """
    if isinstance(module, LAYERS):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)


def init_kaiming_(module: nn.Module) -> None:
    """Sample a layer's weights from N(0, 2 / ((1 + 0.2²) fan_in)); biases 0.

    0.2 is the slope of the LeakyReLU that follows. For fan_in, torch takes the output's
    channels if the layer is a transposed convolution.
    Source: He et al. 2015, equation 15. Taught in notebook 03.
    """
    if isinstance(module, LAYERS):
        nn.init.kaiming_normal_(module.weight, a=0.2, nonlinearity="leaky_relu")
        nn.init.zeros_(module.bias)


def init_orthogonal_(module: nn.Module) -> None:
    """Make the rows or columns of a layer's weights orthonormal; biases 0.

    Source: Saxe et al. 2014. Taught in notebook 03.
    """
    if isinstance(module, LAYERS):
        nn.init.orthogonal_(module.weight)
        nn.init.zeros_(module.bias)


def init_orthogonal_leaky_(module: nn.Module) -> None:
    """Do as ``init_orthogonal_``, times √(2 / (1 + 0.2²)) = 1.387.

    LeakyReLU(0.2) divides the size of signals by this factor; with these weights, they
    keep it through many layers without BatchNorm. Taught in notebook 08.
    """
    if isinstance(module, LAYERS):
        gain = nn.init.calculate_gain("leaky_relu", 0.2)
        nn.init.orthogonal_(module.weight, gain)
        nn.init.zeros_(module.bias)


def new_networks(
    seed: int = 0,
    image_shape: tuple = (1, 28, 28),
    new_g: Callable[..., nn.Module] = Generator,
    new_d: Callable[..., nn.Module] = Discriminator,
    init_: Callable[[nn.Module], None] = init_orthogonal_,
) -> tuple[nn.Module, nn.Module]:
    """Return G and D with the initial weights of ``seed``, orthogonal by default.

    ``new_g(image_shape=...)`` and ``new_d(image_shape=...)`` make the networks. The
    global random state stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone, which is forked
        G = new_g(image_shape=image_shape).apply(init_)
        return G, new_d(image_shape=image_shape).apply(init_)
