"""The explorer of ``widgets.explore_latent``: sliders for the noise of a generator."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import ipywidgets
import torch
from ipywidgets import HTML, Button, HBox, VBox
from torch import Tensor

from ganlib.arguments import wrong
from ganlib.checks import check_images, check_noise
from ganlib.judge import judge_verdicts
from ganlib.latent import draw, find_noise, sample_noise
from ganlib.panels import (
    AUTO,
    PROSE,
    Panel,
    float_slider,
    noise_rows,
    noise_sliders,
    on_walk,
    picture_widget,
)
from ganlib.plots import png_bytes

CAPTION = "Small: the same z first, then those of the next 15 seeds, moved alike."
COPY = """<button class="jupyter-button widget-button" style="width: auto"
data-z="{z}" onclick="
(navigator.clipboard ? navigator.clipboard.writeText(this.dataset.z) : Promise.reject())
.then(() => this.textContent = 'copied', () => prompt('z', this.dataset.z))
">copy z</button>"""  # only the browser can reach the clipboard


class LatentExplorer(Panel):
    """Sliders for the noise of a generator; see ``explore_latent``.

    ``z`` (1, latent_dim) and ``image`` (1, C, H, W) are what is shown at the moment.
    Set ``z`` to show another one, and ``image`` to look for its z with ``find_noise``.
    Sliders: ``seed``, ``walk``, ``scale``, and ``moves`` by name, "direction 1" or
    "z[0]".
    """

    def __init__(self, G, D, judge, images, groups, zoom):
        self.G, self.D, self.judge = G, D, judge
        self._zoom, self._given = zoom, None
        self.picture = picture_widget(G.image_shape, zoom)
        self.grid = picture_widget(G.image_shape, _small(zoom), 16)
        self.real = picture_widget(G.image_shape, _small(zoom))
        self.seed, self.walk, self.play, self.scale = noise_sliders()
        self.nearest = ipywidgets.Checkbox(indent=False)
        self.nearest.description = "nearest real image"
        self.moves = {
            name: float_slider(label, 0.0, -4.0, 4.0, 0.1)
            for group in groups.values()
            for name, (label, _) in group.items()
        }
        vectors = [v for group in groups.values() for _, v in group.values()]
        self._directions = torch.stack(vectors).float()
        for slider in (self.seed, self.walk):
            slider.observe(self._leave_given, names="value")
        self._follow(self.seed, self.walk, self.scale, *self.moves.values())
        self._follow(self.nearest)
        boxes = {k: VBox([self.moves[name] for name in g]) for k, g in groups.items()}
        self.copy = HTML()
        sliders = [*noise_rows(self), _choice(boxes), *boxes.values()]
        if images is not None:
            sliders.append(self.nearest)
            self.images = images.cpu()
            self._squares = self.images.flatten(1).square().sum(1)
        small = HBox([self.grid, self.real])
        width = {"width": self.picture.layout.width}
        self.verdict = HTML(layout=width)
        caption = HTML(PROSE.format("", CAPTION), layout=width)
        pictures = [self.picture, self.verdict, caption, small]
        super().__init__(pictures, [*sliders, self._buttons()])

    @property
    def z(self) -> Tensor:
        return self._z.clone()

    @z.setter
    def z(self, z: Tensor) -> None:
        check_noise(z, self.G.latent_dim)
        _check_one(z, "z")
        with self._together():
            self.reset()
            self._given = z.detach().cpu().float().clone()

    @property
    def image(self) -> Tensor:
        return self._image.clone()

    @image.setter
    def image(self, image: Tensor) -> None:
        check_images(image, self.G.image_shape, self.G, "image")
        _check_one(image, "image")
        self.z = find_noise(self.G, image)

    def reset(self, _button: Button | None = None) -> None:
        """Bring all sliders but the seed back to where they began."""
        with self._together():
            self.walk.value, self.scale.value, self._given = 0.0, 1.0, None
            for slider in self.moves.values():
                slider.value = 0.0

    def save_picture(self, _button: Button | None = None) -> Path:
        """Write the large picture into the notebook's folder, under a new name."""
        for number in itertools.count(1):
            path = Path(f"explorer_seed_{self.seed.value}_{number}.png")
            try:
                with path.open("xb") as file:
                    file.write(self.picture.value)
            except FileExistsError:
                continue
            except OSError as error:
                self._say(f"The picture could not be saved: {error}")
                raise
            self._say(f"Saved as {path} in the folder of this notebook.")
            return path

    def _leave_given(self, _change: dict) -> None:
        self._given = None

    def _buttons(self) -> HBox:
        reset = Button(description="start again", layout=AUTO)
        save = Button(description="save picture", layout=AUTO)
        reset.on_click(self.reset)
        save.on_click(self.save_picture)
        return HBox([reset, save, self.copy], layout={"flex_flow": "row wrap"})

    def _draw(self) -> str:
        z = self._noise()
        images = draw(self.G, z).cpu()
        z, image = z[:1], images[:1]
        verdict = " ".join(self._verdicts(image))
        sentences = [self._place(), *self._show_nearest(image)]
        self.picture.value = png_bytes(image, zoom=self._zoom)
        self.grid.value = png_bytes(images, zoom=_small(self._zoom))
        spoken = PROSE.format('aria-live="polite"', verdict)
        self.verdict.value = spoken if verdict else ""
        numbers = ", ".join(f"{number:.7g}" for number in z[0].tolist())
        self.copy.value = COPY.format(z=f"z = torch.tensor([[{numbers}]])")
        self._z, self._image = z, image
        return " ".join(sentences)

    def _noise(self) -> Tensor:
        """Return the z that is shown, and those of the next 15 seeds, all moved."""
        start = self._given
        if start is None:
            start = on_walk(self.seed.value + self.walk.value, self.G.latent_dim)
        next_seeds = range(self.seed.value + 1, self.seed.value + 16)
        others = [sample_noise(1, self.G.latent_dim, seed=seed) for seed in next_seeds]
        amounts = torch.tensor([slider.value for slider in self.moves.values()])
        scaled = self.scale.value * torch.cat([start, *others])
        return scaled + amounts @ self._directions

    def _place(self) -> str:
        place = "The z that was set"
        if self._given is None:
            seed, share = divmod(self.seed.value + self.walk.value, 1)
            place = f"Seed {seed:.0f}"
            if share:
                place += f", {share:.0%} of the way to seed {seed + 1:.0f}"
        if self.scale.value != 1:
            place += f", times {self.scale.value:g}"
        moved = [f"{k} by {s.value:+.1f}" for k, s in self.moves.items() if s.value]
        return f"{place}, moved along {', '.join(moved)}." if moved else f"{place}."

    def _verdicts(self, image: Tensor) -> Iterator[str]:
        if self.D is not None:
            with torch.no_grad():
                real = self.D(image.to(next(self.D.parameters()))).sigmoid().item()
            yield f"D: real with {real:.0%}."
        if self.judge is not None:
            digit, confidence = judge_verdicts(self.judge, image)
            yield f"The judge reads a {digit.item()}, {confidence.item():.0%} sure."

    def _show_nearest(self, image: Tensor) -> Iterator[str]:
        self.real.layout.display = None if self.nearest.value else "none"
        if self.nearest.value:
            # ‖x - r‖² = ‖x‖² - 2 x·r + ‖r‖²: one matrix product, fifteen times faster
            products = self.images.flatten(1) @ image.flatten()
            nearest = self.images[(self._squares - 2 * products).argmin()]
            self.real.value = png_bytes(nearest.unsqueeze(0), zoom=_small(self._zoom))
            distance = (image - nearest).norm().item()
            place = "beside the small ones, at distance"
            yield f"Nearest real image: {place} {distance:.1f}."


def _choice(boxes: Mapping[str, VBox]) -> ipywidgets.ToggleButtons:
    """Return buttons that show one of the boxes at a time."""
    buttons = ipywidgets.ToggleButtons(options=list(boxes))

    def show(_change: dict | None = None) -> None:
        for name, box in boxes.items():
            box.layout.display = None if name == buttons.value else "none"

    buttons.observe(show, names="value")
    show()
    return buttons


def _small(zoom: int) -> int:
    return max(1, round(zoom / 5))


def _check_one(batch: Tensor, name: str) -> None:
    if len(batch) != 1:
        came = f"{name} holds {len(batch)}"
        raise wrong(ValueError, came, "one", f"write {name}[:1]")
