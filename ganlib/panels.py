"""What the sliders of ``widgets`` move: panels of pictures, and how they are drawn."""

import html
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ipywidgets
import torch
from ipywidgets import HTML, FloatSlider, HBox, IntSlider, Play, VBox
from matplotlib.figure import Figure
from torch import Tensor
from traitlets import link

from ganlib.latent import draw, sample_noise, slerp
from ganlib.plots import figure_image, png_bytes, show_curves
from ganlib.records import Record

WALK = 20  # steps from one seed to the next; Play takes ten a second
LABEL = {"description_width": "10em"}
AUTO = {"width": "auto"}  # as wide as its column, or its words
PROSE = '<p style="line-height: 1.5; margin: 0.5em 0" {}>{}</p>'
WRAP = {"flex_flow": "row wrap", "grid_gap": "0 2em"}
SLIDERS = {"flex": "1 1 36em", "max_width": "44em"}  # beside the pictures, or below


class Panel(VBox):
    """Pictures, the sliders that move them, and a sentence that says what is shown."""

    def __init__(self, pictures: Sequence, sliders: Sequence):
        self.words, self._waiting = HTML(), 0
        beside = VBox([*sliders, self.words], layout=SLIDERS)
        super().__init__([HBox([VBox(pictures), beside], layout=WRAP)])
        self._redraw()

    def _follow(self, *sliders: ipywidgets.Widget) -> None:
        for slider in sliders:
            slider.observe(self._redraw, names="value")

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Let several sliders move, then draw once."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
        self._redraw()

    def _redraw(self, _change: dict | None = None) -> None:
        if self._waiting:
            return
        try:
            self._say(self._draw())
        except Exception as error:  # moved by hand, it would only reach Lab's log
            self.play.playing = False
            self._say(f"The picture could not be drawn: {error}")
            raise

    def _say(self, sentence: str) -> None:
        text = html.escape(sentence, quote=False)
        self.words.value = PROSE.format('role="status"', text)  # read out aloud

    def _draw(self) -> str:
        """Set the pictures, and return the sentence that describes them."""
        raise NotImplementedError


class Comparison(Panel):
    """The same 16 z through two generators; see ``compare``.

    ``z`` (16, latent_dim) and ``images``, a pair of (16, C, H, W), are what is shown.
    """

    def __init__(self, G1, G2, names, zoom):
        self.G1, self.G2, self._zoom = G1, G2, zoom
        self.pictures = [picture_widget(G.image_shape, zoom, 16) for G in (G1, G2)]
        self.seed, self.walk, self.play, self.scale = noise_sliders()
        self._follow(self.seed, self.walk, self.scale)
        titled = [
            VBox([HTML(html.escape(name)), picture])
            for name, picture in zip(names, self.pictures, strict=True)
        ]
        super().__init__([HBox(titled, layout=WRAP)], noise_rows(self))

    def _draw(self) -> str:
        place = self.seed.value + self.walk.value
        z = [on_walk(place + i, self.G1.latent_dim) for i in range(16)]
        z = self.scale.value * torch.cat(z)
        images = draw(self.G1, z).cpu(), draw(self.G2, z).cpu()
        for picture, drawn in zip(self.pictures, images, strict=True):
            picture.value = png_bytes(drawn, zoom=self._zoom)
        self.z, self.images = z, images
        shares = f"{place:g} to {place + 15:g}, each times {self.scale.value:g}"
        return f"Both: the z of seeds {shares}, row by row."


class TimeScrubber(Panel):
    """A slider over the time of a training; see ``scrub``.

    ``record`` and ``images`` are those of the moment that is shown.
    """

    def __init__(self, history, zoom):
        self.history, self._zoom = history, zoom
        self._curves, self._places = _curves([record for record, _ in history])
        steps = [(f"step {record.step}", i) for i, (record, _) in enumerate(history)]
        self.moment, self.play = _moments(steps)
        self._follow(self.moment)
        images = history[0][1]
        self.picture = picture_widget(images.shape[1:], zoom, len(images))
        self.curves = picture_widget(self._curves.shape[1:], 1)
        moment = with_play(self.moment, self.play)
        super().__init__([self.picture], [self.curves, moment])

    def _draw(self) -> str:
        self.record, self.images = self.history[self.moment.value]
        self.picture.value = png_bytes(self.images, zoom=self._zoom)
        marked = self._curves.clone()
        marked[(..., *self._places[self.moment.value])] = -1  # black
        self.curves.value = png_bytes(marked)
        r = self.record
        return (
            f"Step {r.step}: loss of D {r.d_loss:.2f}, of G {r.g_loss:.2f}. On average "
            f"D gives real images {r.d_real:.0%} and fakes {r.d_fake:.0%}. The black "
            "line marks this moment in the curves."
        )


class FlipBook(Panel):
    """A slider over frames; see ``flip``. ``frame`` is the one that is shown."""

    def __init__(self, frames, captions, zoom):
        self.frames, self.captions, self._zoom = frames, captions, zoom
        options = [(caption, i) for i, caption in enumerate(captions)]
        self.moment, self.play = _moments(options)
        self._follow(self.moment)
        self.picture = picture_widget(frames[0].shape[1:], zoom, len(frames[0]))
        super().__init__([self.picture], [with_play(self.moment, self.play)])

    def _draw(self) -> str:
        self.frame = self.frames[self.moment.value]
        self.picture.value = png_bytes(self.frame, zoom=self._zoom)
        return f"The picture of {self.captions[self.moment.value]}."


def noise_sliders() -> tuple[IntSlider, FloatSlider, Play, FloatSlider]:
    seed = IntSlider(0, 0, 999, description="seed", style=LABEL, layout=AUTO)
    walk = float_slider("walk (seeds)", 0.0, 0.0, 10.0, 1 / WALK)
    play = Play(max=10 * WALK, interval=100)
    there, back = (lambda n: n / WALK), (lambda share: round(share * WALK))
    link((play, "value"), (walk, "value"), transform=(there, back))
    return seed, walk, play, float_slider("noise scale", 1.0, 0.0, 2.0, 0.05)


def noise_rows(panel: Panel) -> list[ipywidgets.Widget]:
    how = HTML("Click a slider, then use the arrow keys, or drag it.")
    return [how, panel.seed, with_play(panel.walk, panel.play), panel.scale]


def _moments(options: Sequence[tuple[str, int]]) -> tuple:
    """Return a slider over these moments, which begins at the last, and its Play."""
    last = len(options) - 1
    slider = ipywidgets.SelectionSlider(
        options=options, value=last, description="time", layout=AUTO
    )
    play = Play(value=last, max=last, interval=200)
    link((play, "value"), (slider, "value"))
    return slider, play


def with_play(slider: ipywidgets.Widget, play: Play) -> HBox:
    slider.layout.flex = "1 1 20em"
    return HBox([slider, play], layout={"flex_flow": "row wrap"})


def float_slider(label: str, value: float, low: float, high: float, step: float):
    limits = {"min": low, "max": high, "step": step}
    return FloatSlider(value, **limits, description=label, style=LABEL, layout=AUTO)


def on_walk(place: float, latent_dim: int) -> Tensor:
    """Return z (1, latent_dim) at a place on the arcs from seed to seed."""
    seed, share = math.floor(place), place % 1
    start = sample_noise(1, latent_dim, seed=seed)
    if not share:
        return start
    end = sample_noise(1, latent_dim, seed=seed + 1)
    return slerp(start[0], end[0], torch.tensor([share]))


def picture_widget(image_shape: Sequence[int], zoom: int, count: int = 1):
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = image_shape[1:]
    width = zoom * (columns * (width + 1) - 1)
    height = zoom * (rows * (height + 1) - 1)
    fixed = {"width": f"{width}px", "height": f"{height}px", "flex": "0 0 auto"}
    fixed["object_fit"] = "contain"  # in a narrow window smaller, not squeezed
    return ipywidgets.Image(format="png", layout=fixed)


def _curves(records: Sequence[Record]) -> tuple[Tensor, list[tuple]]:
    """Return the curves as an image, and where in it each record's line is.

    Drawn once: a figure takes 35 ms, a line in its pixels nearly nothing.
    """
    figure = Figure(figsize=(4.5, 3), layout="constrained")
    ax = show_curves(records, figure.subplots())
    image = figure_image(figure)  # (1, 3, H, W)
    seen = [(record.images_seen / 1000, 0) for record in records]
    columns = ax.transData.transform(seen)[:, 0].round().astype(int).tolist()
    height = image.shape[2]
    rows = slice(round(height - ax.bbox.y1), round(height - ax.bbox.y0))
    return image, [(rows, slice(column - 1, column + 1)) for column in columns]
