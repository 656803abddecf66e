"""The sliders."""

import ipywidgets
import torch
from ipywidgets import HTML, Button, FloatSlider, HBox, IntSlider, Layout, VBox
from torch import nn

from ganlib.checks import check_count, check_network
from ganlib.latent import draw, sample_noise, slerp
from ganlib.plots import png_bytes


class LatentExplorer(VBox):
    """Sliders for the noise of a generator; see ``explore_latent``.

    ``z`` (1, latent_dim) and ``image`` (1, C, H, W) are what is shown at the moment.
    """

    def __init__(self, G: nn.Module, zoom: int):
        check_network(G, "G")
        check_count(zoom, "zoom")
        self.G, self._zoom = G, zoom
        height, width = (zoom * size for size in G.image_shape[1:])
        fixed = Layout(width=f"{width}px", height=f"{height}px", flex="0 0 auto")
        self.picture = ipywidgets.Image(format="png", layout=fixed)
        self.words = HTML()
        self.seed = IntSlider(0, 0, 999, description="seed")
        self.walk = FloatSlider(0.0, min=0.0, max=1.0, step=0.01, description="walk")
        self.noise = [
            FloatSlider(0.0, min=-3.0, max=3.0, step=0.1, description=f"z[{i}]")
            for i in range(min(8, G.latent_dim))
        ]
        reset = Button(description="back to 0", tooltip="Set z[0] … to 0")
        reset.on_click(self._reset)
        for slider in (self.seed, self.walk, *self.noise):
            slider.observe(self._redraw, names="value")
        heading = HTML("Add to single numbers of z:")
        sliders = VBox([self.seed, self.walk, heading, *self.noise, reset])
        super().__init__([HBox([self.picture, sliders]), self.words])
        self._redraw()

    def _reset(self, _button: Button) -> None:
        for slider in self.noise:
            slider.value = 0.0

    def _redraw(self, _change: dict | None = None) -> None:
        try:
            self.z = self._noise_vector()
            self.image = draw(self.G, self.z).cpu()
            self.picture.value = png_bytes(self.image, zoom=self._zoom)
        except Exception as error:  # moved by hand, it would only reach Lab's log
            self._say(f"The picture could not be drawn: {error}")
            raise
        moved = [slider.description for slider in self.noise if slider.value]
        self._say(
            f"The picture for seed {self.seed.value}, {self.walk.value:.0%} of the way "
            f"to seed {self.seed.value + 1}"
            + (f", with {', '.join(moved)} moved." if moved else ".")
        )

    def _noise_vector(self) -> torch.Tensor:
        seeds = (self.seed.value, self.seed.value + 1)
        start, end = (sample_noise(1, self.G.latent_dim, seed=s)[0] for s in seeds)
        z = slerp(start, end, torch.tensor([self.walk.value]))
        for i, slider in enumerate(self.noise):
            z[0, i] += slider.value
        return z

    def _say(self, sentence: str) -> None:
        self.words.value = (
            f'<p role="status">{sentence}</p>'  # read out when it changes
        )


def explore_latent(G: nn.Module, *, zoom: int = 10) -> LatentExplorer:
    """Return sliders that move the noise z of G, with the picture that it draws.

    ``seed`` picks a z, ``walk`` goes along the arc to the z of the next seed, and eight
    sliders add to its first eight coordinates. Read the result as ``explorer.z`` and
    ``explorer.image``. ``zoom`` is the width of an image's pixel on the screen.

    Raises TypeError or ValueError when G is no generator, or zoom no count.
    Taught in notebook 05.
    """
    return LatentExplorer(G, zoom)
