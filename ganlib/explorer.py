"""The explorer: sliders for the noise of a generator, its latent vector z."""

from collections.abc import Mapping

import torch
from ipywidgets import HTML, Button, Checkbox, HBox, Stack, ToggleButtons, VBox
from torch import Tensor, nn
from traitlets import link

from ganlib.checks import check_images, check_range, wrong
from ganlib.conditional import AskedFor
from ganlib.judge import judge_predictions
from ganlib.latent import draw, find_noise, principal_directions
from ganlib.plots import png_bytes
from ganlib.widgets import AUTO, PROSE, Panel, new_slider, noise_at, noise_rows, picture

CAPTION = "Small: the same z first, then the next 15 seeds, moved in the same way."
COPY = """<button class="jupyter-button widget-button" style="width: auto"
data-z="{z}" onclick="
(navigator.clipboard ? navigator.clipboard.writeText(this.dataset.z) : Promise.reject())
.then(() => this.textContent = 'copied', () => prompt('z', this.dataset.z))
">copy z</button>"""  # only the browser can reach the clipboard


def explore_latent(
    G: nn.Module,
    D: nn.Module | None = None,
    *,
    judge: nn.Module | None = None,
    images: Tensor | None = None,
    directions: Mapping[str, Tensor] | None = None,
    zoom: int = 10,
) -> "LatentExplorer":
    """Return sliders that move the noise z of G, with the images that it generates.

    Large: the z of ``seed``, or of a place on the ``walk`` along arcs through the next
    ten seeds, times ``noise scale``, moved along directions. Small: the same z among
    those of the next 15 seeds, which are scaled and moved in the same way. The
    directions are G's eight principal ones, with their fraction of the variance in the
    last hidden layer, the first eight numbers of z, and those given: vectors
    (latent_dim,) by name. A slider adds -4 to 4 times its vector.

    A G that can be asked for a label gets a row of buttons for it, and a slider that
    morphs its images toward those of another label, at the same z: it mixes their
    embeddings. The principal directions are then those of label 0.

    With D, the text below gives its probability of "real"; with a judge, it gives the
    digit and its confidence. With images (N, C, H, W) in [-1, 1], a checkbox shows the
    nearest of them. ``zoom`` is the width of a pixel of the large image on the screen.
    In code, ``explorer.z`` and ``explorer.image`` are what is shown, and can be set.

    Raises TypeError or ValueError for a G without ``latent_dim`` or ``image_shape``,
    and for images or directions that do not fit. Taught in notebook 05.
    """
    if not hasattr(G, "latent_dim") or not hasattr(G, "image_shape"):
        fix = "pass G first, or write G.latent_dim, G.image_shape = 100, (1, 28, 28)"
        raise wrong(TypeError, f"G is a {type(G).__name__}", "a generator", fix)
    if images is not None:
        check_images(images, G.image_shape)
        check_range(images)
    for name, vector in (directions or {}).items():
        if vector.shape != (G.latent_dim,):
            got = f"direction {name!r} has shape {tuple(vector.shape)}"
            raise wrong(ValueError, got, f"({G.latent_dim},)", "pass one row of z")
    if hasattr(G, "classes"):
        G = AskedFor(G, 0)
    vectors, shares = principal_directions(G, min(8, G.latent_dim))
    principal = {f"direction {i}": vector for i, vector in enumerate(vectors, 1)}
    axes = {f"z[{i}]": axis for i, axis in enumerate(torch.eye(G.latent_dim)[:8])}
    groups = {"own directions": directions} if directions else {}
    groups |= {"principal directions": principal, "single numbers of z": axes}
    explorer = LatentExplorer(G, D, judge, images, groups, zoom)
    for name, share in zip(principal, shares, strict=True):
        explorer.moves[name].description += f" · {share:.1%}"
    return explorer


class LatentExplorer(Panel):
    """Sliders for the noise of a generator; see ``explore_latent``.

    ``z`` (1, latent_dim) and ``image`` (1, C, H, W) are what is currently shown. Set
    ``z`` to show another one, and ``image`` to search for its z with ``find_noise``.
    Sliders: ``seed``, ``walk``, ``scale``, and ``moves`` by name, "direction 1" or
    "z[0]". With labels, there are also ``label``, ``toward`` and ``morph``.
    """

    def __init__(self, G, D, judge, images, groups, zoom):
        self.G, self.D, self.judge = G, D, judge
        self._zoom, self._small, self._given = zoom, max(1, round(zoom / 5)), None
        self.picture = picture(G.image_shape, zoom)
        self.grid = picture(G.image_shape, self._small, 16)
        self.real = picture(G.image_shape, self._small)
        rows = [*self._label_rows(), *noise_rows(self)]
        vectors = {name: v for group in groups.values() for name, v in group.items()}
        self.moves = {name: new_slider(name, 0.0, -4.0, 4.0, 0.1) for name in vectors}
        vectors = [vector.detach().float().cpu() for vector in vectors.values()]
        self._directions = torch.stack(vectors).nan_to_num()  # none where h is constant
        self.nearest = Checkbox(description="nearest real image", indent=False)
        self._follow(*self.moves.values(), self.nearest)
        kinds = ToggleButtons(options=list(groups))
        boxes = [VBox([self.moves[k] for k in group]) for group in groups.values()]
        stack = Stack(boxes, selected_index=0, layout={"flex_flow": "column"})
        link((kinds, "index"), (stack, "selected_index"))
        rows += [kinds, stack]
        if images is not None:
            rows.append(self.nearest)
            self.images = images.float().cpu()
            self._squares = self.images.flatten(1).square().sum(1)
        reset = Button(description="start again", layout=AUTO)
        reset.on_click(self.reset)
        width = {"width": self.picture.layout.width}
        self.copy, self.predictions = HTML(), HTML(layout=width)
        caption = HTML(PROSE.format("", CAPTION), layout=width)
        buttons = HBox([reset, self.copy], layout={"flex_flow": "row wrap"})
        pictures = [self.picture, self.predictions, caption]
        pictures.append(HBox([self.grid, self.real]))
        super().__init__(pictures, [*rows, buttons])

    def _label_rows(self) -> list:
        """Return the buttons ``label`` and ``toward`` and the slider ``morph``."""
        self.morph = new_slider("morph", 0.0, 0.0, 1.0, 0.05)
        if not isinstance(self.G, AskedFor):
            return []
        each = {"options": range(self.G.G.classes), "style": {"button_width": "3em"}}
        self.label = ToggleButtons(description="ask for", **each)
        self.toward = ToggleButtons(description="toward", **each)
        self._follow(self.label, self.toward, self.morph)
        return [self.label, self.toward, self.morph]

    @property
    def z(self) -> Tensor:
        return self._z.clone()

    @z.setter
    def z(self, z: Tensor) -> None:
        given = z.detach().float().cpu().reshape(1, self.G.latent_dim).clone()
        self.reset()
        self._given = given
        self._redraw()

    @property
    def image(self) -> Tensor:
        return self._image.clone()

    @image.setter
    def image(self, image: Tensor) -> None:
        self.z = find_noise(self.G, image)

    def reset(self, _button: Button | None = None) -> None:
        """Bring all sliders except the seed back to where they began."""
        self._given, self.scale.value = None, 1.0
        for slider in (self.walk, self.morph, *self.moves.values()):
            slider.value = 0.0
        self._redraw()

    def _redraw(self, change: dict | None = None) -> None:
        if change and change["owner"] in (self.seed, self.walk):
            self._given = None
        super()._redraw(change)

    def _draw(self) -> str:
        z, asked = self._noise(), self._ask()
        images = draw(self.G, z).float().cpu()
        z, image = z[:1], images[:1]
        predictions, nearest = self._predictions(image), self._show_nearest(image)
        self.picture.value = png_bytes(image, zoom=self._zoom)
        self.grid.value = png_bytes(images, zoom=self._small)
        self.predictions.value = predictions
        self.copy.value = COPY.format(z=f"z = torch.tensor({z.tolist()})")
        self._z, self._image = z, image
        return f"{asked}{self._place()} {nearest}".strip()

    def _ask(self) -> str:
        """Give G the mixture of labels that is asked for, and return it in words."""
        if not isinstance(self.G, AskedFor):
            return ""
        label, toward, share = self.label.value, self.toward.value, self.morph.value
        self.G.label = torch.zeros(self.G.G.classes)
        self.G.label[label] += 1 - share
        self.G.label[toward] += share
        way = f", {share:.0%} of the way to a {toward}" * (share > 0)
        return f"Asked for a {label}{way}. "

    def _noise(self) -> Tensor:
        """Return the z that is shown, and those of the next 15 seeds, all moved."""
        seed = self.seed.value
        places = [seed + self.walk.value, *range(seed + 1, seed + 16)]
        z = noise_at(places, self.G.latent_dim)
        if self._given is not None:
            z[:1] = self._given
        amounts = torch.tensor([slider.value for slider in self.moves.values()])
        return self.scale.value * z + amounts @ self._directions

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

    def _predictions(self, image: Tensor) -> str:
        words = ""
        if self.D is not None:
            with torch.no_grad():
                logit = self.D(image.to(next(self.D.parameters(), image)))
            words = f"D's probability of real: {logit.sigmoid().item():.0%}. "
        if self.judge is not None:
            digit, sure = judge_predictions(self.judge, image)
            words += f"The judge reads a {digit.item()}, {sure.item():.0%} sure."
        return words and PROSE.format('aria-live="polite"', words)

    def _show_nearest(self, image: Tensor) -> str:
        self.real.layout.display = None if self.nearest.value else "none"
        if not self.nearest.value:
            return ""
        # ‖x - r‖² = ‖x‖² - 2 x·r + ‖r‖²: one matrix product, fifteen times faster
        products = self.images.flatten(1) @ image.flatten()
        nearest = self.images[(self._squares - 2 * products).argmin()]
        self.real.value = png_bytes(nearest.unsqueeze(0), zoom=self._small)
        d = (image - nearest).norm().item()
        return f"Nearest real image: next to the small ones, at distance {d:.1f}."
