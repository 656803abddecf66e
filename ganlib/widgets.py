"""The sliders."""

import ipywidgets
import torch
from ipywidgets import HTML, FloatSlider, HBox, IntSlider, VBox
from torch import nn

from ganlib.latent import draw, sample_noise, slerp
from ganlib.plots import png_bytes


class LatentExplorer(VBox):
    """Sliders for the noise of a generator; see ``explore_latent``.

    ``z`` (1, latent_dim) and ``image`` (1, C, H, W) are what is shown at the moment.
    """

    def __init__(self, G: nn.Module, zoom: int):
        self.G, self._zoom = G, zoom
        self.picture = ipywidgets.Image(format="png")
        self.words = HTML()
        self.seed = IntSlider(0, 0, 999, description="seed")
        self.walk = FloatSlider(0.0, min=0.0, max=1.0, step=0.01, description="walk")
        self.noise = [
            FloatSlider(0.0, min=-3.0, max=3.0, step=0.1, description=f"z[{i}] +")
            for i in range(min(8, G.latent_dim))
        ]
        for slider in (self.seed, self.walk, *self.noise):
            slider.observe(self._redraw, names="value")
        sliders = VBox([self.seed, self.walk, *self.noise])
        super().__init__([HBox([self.picture, sliders]), self.words])
        self._redraw()

    def _redraw(self, _change: dict | None = None) -> None:
        seeds = (self.seed.value, self.seed.value + 1)
        start, end = (sample_noise(1, self.G.latent_dim, seed=s)[0] for s in seeds)
        self.z = slerp(start, end, torch.tensor([self.walk.value]))
        for i, slider in enumerate(self.noise):
            self.z[0, i] += slider.value
        self.image = draw(self.G, self.z).cpu()
        self.picture.value = png_bytes(self.image, zoom=self._zoom)
        moved = [s.description[:-2] for s in self.noise if s.value]
        self.words.value = (
            f"The picture for seed {self.seed.value}, {self.walk.value:.0%} of the way "
            f"to seed {self.seed.value + 1}"
            + (f", with {', '.join(moved)} moved." if moved else ".")
        )


def explore_latent(G: nn.Module, *, zoom: int = 10) -> LatentExplorer:
    """Return sliders that move the noise z of G, with the picture that it draws.

    ``seed`` picks a z, ``walk`` goes along the arc to the z of the next seed, and eight
    sliders add to its first eight coordinates. Read the result as ``explorer.z`` and
    ``explorer.image``. Taught in notebook 05.
    """
    return LatentExplorer(G, zoom)
