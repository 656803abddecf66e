"""Sliders: two generators side by side, a run over time, frames; and their parts."""

import html
import math
import threading
from collections.abc import Sequence

import ipywidgets
import torch
from ipywidgets import HTML, FloatSlider, HBox, IntSlider, Play, SelectionSlider, VBox
from matplotlib.figure import Figure
from torch import Tensor, nn
from traitlets import link

from ganlib.latent import draw, sample_noise, slerp
from ganlib.plots import figure_image, png_bytes, show_curves, tile_images
from ganlib.training import Record

LABEL = {"description_width": "10em"}
AUTO = {"width": "auto"}  # as wide as its column, or its words
PROSE = '<p style="line-height: 1.5; margin: 0.5em 0" {}>{}</p>'
WRAP = {"flex_flow": "row wrap", "grid_gap": "0 2em"}
SLIDERS = {"flex": "1 1 36em", "max_width": "44em"}  # next to the images, or below


class Panel(VBox):
    """Images, the sliders that change them, and a sentence on what is shown."""

    def __init__(self, pictures: Sequence, sliders: Sequence):
        self.words = HTML()
        self._turn = threading.RLock()  # the kernel may handle two events at once
        right = VBox([*sliders, self.words], layout=SLIDERS)
        super().__init__([HBox([VBox(pictures), right], layout=WRAP)])
        self._redraw()

    def _follow(self, *sliders: ipywidgets.Widget) -> None:
        for slider in sliders:
            slider.observe(self._redraw, names="value")

    def _redraw(self, _change: dict | None = None) -> None:
        try:
            with self._turn:
                self._say(self._draw())
        except Exception as error:  # moved by hand, it would only reach Lab's log
            self.play.playing = False
            self._say(f"The image could not be drawn: {error}")
            raise

    def _say(self, sentence: str) -> None:
        text = html.escape(sentence, quote=False)
        self.words.value = PROSE.format('role="status"', text)  # read aloud

    def _draw(self) -> str:
        """Set the images, and return the sentence that describes them."""
        raise NotImplementedError


class Comparison(Panel):
    """The same 16 z through two generators; see ``compare``.

    ``z`` (16, latent_dim) and ``images``, a pair of (16, C, H, W), are what is shown.
    """

    def __init__(self, G1, G2, names, zoom):
        self.G1, self.G2, self._zoom = G1, G2, zoom
        self.pictures = [picture(G.image_shape, zoom, 16) for G in (G1, G2)]
        super().__init__([_side_by_side(names, self.pictures)], noise_rows(self))

    def _draw(self) -> str:
        places = [self.seed.value + self.walk.value + i for i in range(16)]
        self.z = self.scale.value * noise_at(places, self.G1.latent_dim)
        self.images = [draw(G, self.z).float().cpu() for G in (self.G1, self.G2)]
        for shown, images in zip(self.pictures, self.images, strict=True):
            shown.value = png_bytes(images, zoom=self._zoom)
        seeds = f"{places[0]:g} to {places[-1]:g}, each times {self.scale.value:g}"
        return f"Both use the z of seeds {seeds}, row by row."


class FlipBook(Panel):
    """A slider over the frames of a film or of a run; see ``flip`` and ``scrub``.

    ``frame`` is the one that is shown. ``plot``, if there is one, returns what is shown
    beside it at a moment, an image (1, 3, H, W), shown by the one widget in ``curves``.
    """

    def __init__(self, frames, captions, sentences, zoom, plot=None):
        self.frames, self._sentences, self._zoom = frames, sentences, zoom
        self._plot, last = plot, len(frames) - 1
        options = [(caption, i) for i, caption in enumerate(captions)]
        words = {"description": "time", "layout": AUTO}
        self.moment = SelectionSlider(options=options, value=last, **words)
        self.play = Play(value=last, max=last, interval=200)
        link((self.play, "value"), (self.moment, "value"))
        self._follow(self.moment)
        self.picture = picture(frames[0].shape[1:], zoom, len(frames[0]))
        self.curves = [picture(plot(last).shape[1:], 1)] if plot else []
        row = _with_play(self.moment, self.play)
        super().__init__([self.picture], [*self.curves, row])

    def _draw(self) -> str:
        moment = self.moment.value
        self.frame = self.frames[moment]
        self.picture.value = png_bytes(self.frame, zoom=self._zoom)
        for shown in self.curves:
            shown.value = png_bytes(self._plot(moment))
        return self._sentences[moment]


class Translation(Panel):
    """An image of each domain, there and back; see ``translate``.

    ``strips``, a pair of (3, C, H, W), is what is shown: image, translation, image
    again. Sliders: ``number``, ``strength`` with ``play``, and ``noise``.
    """

    def __init__(self, G, images_a, images_b, zoom):
        self.G, self.domains, self._zoom = G, (images_a, images_b), zoom
        shape, last = images_a.shape[1:], min(map(len, self.domains)) - 1
        self._noise = sample_noise(1, math.prod(shape), seed=0).view(1, *shape)
        self.pictures = [picture(shape, zoom, 3, columns=3) for _ in self.domains]
        self.number = IntSlider(0, 0, last, description="image", style=LABEL)
        self.number.layout = AUTO
        self.strength = new_slider("strength", 1.0, 0.0, 1.0, 0.05)
        self.noise = new_slider("noise between", 0.0, 0.0, 0.5, 0.02)
        self._follow(self.number, self.strength, self.noise)
        played = _play(self, self.strength)
        titled = _side_by_side(("A → B → A", "B → A → B"), self.pictures)
        super().__init__([titled], [self.number, played, self.noise])

    @torch.no_grad()
    def _draw(self) -> str:
        ways, self.strips, errors = [self.G.to_b, self.G.to_a], [], []
        both = zip(self.domains, self.pictures, ways, ways[::-1], strict=True)
        for images, shown, there, back in both:
            image = images[self.number.value : self.number.value + 1]
            between = torch.lerp(image, there(image), self.strength.value)
            between = (between + self.noise.value * self._noise).clamp(-1, 1)
            strip = torch.cat([image, between, back(between)])
            errors.append((strip[2] - strip[0]).abs().mean().item())
            shown.value = png_bytes(strip, columns=3, zoom=self._zoom)
            self.strips.append(strip)
        return "Mean error of the round trip: {:.3f} and {:.3f}.".format(*errors)


def compare(G1: nn.Module, G2: nn.Module, *, names=("first", "second"), zoom: int = 3):
    """Return sliders that send the same 16 z through two generators, side by side.

    The generators have the same latent_dim. Used in notebook 03.
    """
    return Comparison(G1, G2, names, zoom)


def translate(G: nn.Module, images_a: Tensor, images_b: Tensor, *, zoom: int = 4):
    """Return sliders that translate one image of each domain, and back.

    G has two translators, ``to_b`` and ``to_a``. ``strength`` mixes an image with its
    translation, pixel by pixel, and ``noise between`` is the standard deviation of
    noise that is added before the way back. Used in notebook 11.
    """
    return Translation(G, images_a, images_b, zoom)


def scrub(history: Sequence[tuple[Record, Tensor]], *, zoom: int = 3):
    """Return a slider over a run: images of the same noise, and the curves.

    ``history`` is a list of (record, images), as collected in the loop around
    ``train``: images (N, C, H, W) in [-1, 1], generated from the same z each time. Used
    in notebook 04.
    """
    records, frames = zip(*history, strict=True)
    seen = [record.images_seen / 1000 for record in records]
    figure = Figure(figsize=(4.5, 3))  # its layout is fixed, which is faster
    ax = show_curves(records, figure.add_axes((0.14, 0.17, 0.84, 0.8)))
    line = ax.axvline(seen[-1], color="black")

    def curves(moment: int) -> Tensor:
        line.set_xdata([seen[moment]])
        return figure_image(figure)

    steps = [f"step {record.step}" for record in records]
    sentences = [_sentence(record) for record in records]
    return FlipBook(frames, steps, sentences, zoom, curves)


def flip(frames: Sequence[Tensor], captions: Sequence[str], *, zoom: int = 1):
    """Return a slider, with Play, over frames: batches of images (N, C, H, W).

    Each frame is one grid, as in ``film``; ``figure_image`` makes a frame of a figure.
    ``captions`` names each frame, and all names differ. Used in notebook 00.
    """
    sentences = [f"This frame: {caption}." for caption in captions]
    return FlipBook(frames, captions, sentences, zoom)


def noise_rows(panel: Panel) -> list[ipywidgets.Widget]:
    """Give a panel the sliders ``seed``, ``walk`` with ``play``, and ``scale``."""
    how = HTML("Click a slider, then use the arrow keys, or drag it.")
    panel.seed = IntSlider(0, 0, 999, description="seed", style=LABEL, layout=AUTO)
    panel.walk = new_slider("walk (seeds)", 0.0, 0.0, 10.0, 0.05)
    played = _play(panel, panel.walk)
    panel.scale = new_slider("noise scale", 1.0, 0.0, 2.0, 0.05)
    panel._follow(panel.seed, panel.walk, panel.scale)
    return [how, panel.seed, played, panel.scale]


def _side_by_side(names: Sequence[str], pictures: Sequence) -> HBox:
    pairs = zip(names, pictures, strict=True)
    titled = [VBox([HTML(html.escape(name)), shown]) for name, shown in pairs]
    return HBox(titled, layout=WRAP)


def _play(panel: Panel, slider: FloatSlider) -> HBox:
    """Give a panel ``play``, which moves a slider ten steps a second; return both."""
    steps = round(1 / slider.step)  # from 0 to 1
    now, last = round(steps * slider.value), round(steps * slider.max)
    panel.play = Play(value=now, max=last, interval=100)
    there, back = (lambda n: n / steps), (lambda value: round(value * steps))
    link((panel.play, "value"), (slider, "value"), transform=(there, back))
    return _with_play(slider, panel.play)


def _with_play(slider: ipywidgets.Widget, play: Play) -> HBox:
    slider.layout.flex = "1 1 20em"
    return HBox([slider, play], layout={"flex_flow": "row wrap"})


def new_slider(label: str, value: float, low: float, high: float, step: float):
    limits = {"min": low, "max": high, "step": step}
    return FloatSlider(value, **limits, description=label, style=LABEL, layout=AUTO)


def noise_at(places: Sequence[float], latent_dim: int) -> Tensor:
    """Return z (N, latent_dim) at N places on the arcs from seed to seed."""
    rows = []
    for place in places:
        seed, share = math.floor(place), place % 1
        start, end = (sample_noise(1, latent_dim, seed=seed + i) for i in (0, 1))
        rows.append(slerp(start[0], end[0], torch.tensor([share])) if share else start)
    return torch.cat(rows)


def picture(image_shape: Sequence[int], zoom: int, count: int = 1, columns: int = 0):
    """Return a widget as large as ``png_bytes`` of ``count`` images of this shape."""
    height, width = tile_images(torch.zeros(count, *image_shape), columns).shape[:2]
    fixed = {"width": f"{zoom * width}px", "height": f"{zoom * height}px"}
    fixed |= {"flex": "0 0 auto", "object_fit": "contain"}  # smaller in a narrow window
    return ipywidgets.Image(format="png", layout=fixed)


def _sentence(r: Record) -> str:
    words = f"Step {r.step}: loss of D {r.d_loss:.2f}, of G {r.g_loss:.2f}."
    if math.isfinite(r.d_real):
        real, fake = f"{r.d_real:.0%} for real images", f"{r.d_fake:.0%} for fakes"
        words += f" D's mean probability of real: {real}, {fake}."
    return f"{words} The black line marks this moment in the curves."
