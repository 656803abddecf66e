"""Networks with convolutions, for images of 28, 32, 64 or 128 pixels."""

import itertools
import math

from torch import Tensor, nn

from ganlib.checks import check_images, check_noise, wrong
from ganlib.models import block


def size_ladder(size: int) -> list[int]:
    """Return the sizes that double up to ``size``: 28 → [7, 14, 28].

    The first is the only one below 8. Raises ValueError unless there are three or more.
    Taught in notebook 09.
    """
    sizes = [size]
    while sizes[0] > 7 and sizes[0] % 2 == 0:
        sizes.insert(0, sizes[0] // 2)
    if sizes[0] > 7 or len(sizes) < 3:
        expected = "a number below 8, doubled two times or more"
        fix = "resize to 28, 32, 64 or 128"
        raise wrong(ValueError, f"the size of an image is {size}", expected, fix)
    return sizes


class ConvGenerator(nn.Module):
    """G: noise (N, latent_dim) → images (N, *image_shape), float32 in [-1, 1].

    Three dense layers make a small map of features, ``size_ladder(H)[0]`` pixels wide.
    Each transposed convolution (4×4, stride 2) doubles its size and halves its number
    of channels, of which the last map has ``channels``. Images are square.

    Raises TypeError or ValueError for z that are not floats (N, latent_dim).
    Taught in notebook 09.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        image_shape: tuple = (1, 28, 28),
        channels: int = 32,
    ):
        super().__init__()
        self.latent_dim = latent_dim
        self.image_shape = tuple(image_shape)
        colors, size, _ = image_shape
        sizes = size_ladder(size)
        widths = [channels * 2**i for i in range(len(sizes) - 1)][::-1]
        first = (widths[0], sizes[0], sizes[0])
        layers = [*block(latent_dim, 256, normalize=False), *block(256, 512)]
        layers += [*block(512, math.prod(first)), nn.Unflatten(1, first)]
        for before, after in itertools.pairwise(widths):
            layers.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1))
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        layers.append(nn.ConvTranspose2d(channels, colors, 4, stride=2, padding=1))
        self.net = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        check_noise(z, self.latent_dim)
        return self.net(z)


class ConvDiscriminator(nn.Module):
    """D: images (N, *image_shape) → logits (N,), one for each image by itself.

    Convolutions (4×4, stride 2) halve the size and double the channels, from
    ``channels`` on; then come two dense layers, of 256 units and 1. Images are square.

    Raises TypeError or ValueError for images that are not floats (N, *image_shape).
    Taught in notebook 09.
    """

    def __init__(self, image_shape: tuple = (1, 28, 28), channels: int = 32):
        super().__init__()
        self.image_shape = tuple(image_shape)
        before, size, _ = image_shape
        sizes, layers = size_ladder(size), []
        for i in range(len(sizes) - 1):
            after = channels * 2**i
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1)]
            layers += [nn.LeakyReLU(0.2)]
            before = after
        layers += [nn.Flatten(), nn.Linear(before * sizes[0] ** 2, 256)]
        self.net = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Linear(256, 1))

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_shape)
        return self.net(images).squeeze(1)
