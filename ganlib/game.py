"""A game of two small networks in the plane, which the reader moves step by step."""

import io

import torch
from ipywidgets import Button, Dropdown, FloatLogSlider, HBox, IntSlider, Play
from PIL import Image, ImageDraw
from torch import Tensor

from ganlib.latent import stream
from ganlib.losses import d_loss, g_loss_non_saturating, r1_penalty
from ganlib.plots import FAKE, FIELD, REAL, probability_field
from ganlib.steps import d_step, g_step
from ganlib.toys import PointDiscriminator, PointGenerator
from ganlib.widgets import AUTO, LABEL, WRAP, Panel, new_slider, picture

SIZE, BATCH, SHOWN = 320, 256, 200  # pixels, points in a batch, points on the screen
NEAR = 0.1  # a real point is reached by a fake as near as this; the ring's radius is 1
MOVES = {"D": "D", "G": "G", "one round": "DG", "100 rounds": 100 * "DG"}


class Game(Panel):
    """Two players and what moves them; see ``play_game``.

    The state is ``G``, ``D``, ``steps`` of each player, and ``history``: (steps of G,
    fraction of real points reached, D's accuracy) at each drawing. ``fake`` (N, 2) are
    the fakes shown. Sliders, which count from the next step on: ``lr_d``, ``lr_g``,
    ``momentum``, ``gamma``; ``data`` and ``seed`` begin a new game.
    """

    def __init__(self, sets: dict[str, Tensor]):
        self.sets = sets
        self.data = Dropdown(options=list(sets), description="points", style=LABEL)
        self.seed = IntSlider(0, 0, 99, description="seed", style=LABEL, layout=AUTO)
        self.lr_d, self.lr_g = (rate_slider(f"learning rate of {p}") for p in "DG")
        self.momentum = new_slider("momentum", 0.0, 0.0, 0.9, 0.1)
        self.gamma = new_slider("γ of R₁", 0.0, 0.0, 1.0, 0.05)
        self.play = Play(max=100_000, interval=100)
        self.play.observe(self._play_on, names="value")
        self.buttons = {name: Button(description=name, layout=AUTO) for name in MOVES}
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.move(MOVES[name]))
        self.again = Button(description="start again", layout=AUTO)
        self.again.on_click(self.start)
        for setting in (self.data, self.seed):
            setting.observe(self.start, names="value")
        self.picture = picture((3, SIZE, SIZE), 1)
        self.curves = picture((3, SIZE // 4, SIZE), 1)
        self._new_game()
        row = HBox([*self.buttons.values(), self.play, self.again], layout=WRAP)
        sliders = [self.lr_d, self.lr_g, self.momentum, self.gamma]
        below = [row, *sliders, self.data, self.seed]
        super().__init__([self.picture, self.curves], below)

    def start(self, _change: object = None) -> None:
        """Begin a new game with the chosen points and seed; Play stops."""
        self.play.playing = False
        with self._turn:
            self._new_game()
            self._redraw()

    def _play_on(self, _change: dict) -> None:
        with self._turn:
            if self.play.playing:  # else a tick came late
                self.move(5 * "DG")

    def _new_game(self) -> None:
        seed, self.points = self.seed.value, self.sets[self.data.value]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.G, self.D = PointGenerator(), PointDiscriminator()
        networks = {"D": self.D, "G": self.G}
        self.opts = {p: torch.optim.Adam(n.parameters()) for p, n in networks.items()}
        self.order, self.noise = stream("order", seed), stream("noise", seed)
        self.steps, self.history = {"D": 0, "G": 0}, []
        self.reach = 1.3 * self.points.abs().max().item()

    def move(self, players: str) -> None:
        """Let the players take a step each, in this order, as in "DDG"."""
        with self._turn:
            for i, player in enumerate(players):
                if i and i % 20 == 0:
                    self._redraw()
                self._step(player)
            self._redraw()

    def _step(self, player: str) -> None:
        rates = {"D": self.lr_d, "G": self.lr_g}
        now = {"lr": rates[player].value, "betas": (self.momentum.value, 0.999)}
        self.opts[player].param_groups[0].update(now)
        fake = self.G(torch.randn(BATCH, 2, generator=self.noise))
        if player == "D":
            rows = torch.randint(len(self.points), (BATCH,), generator=self.order)
            real = self.points[rows]

            def loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
                penalty = self.gamma.value * r1_penalty(self.D, real)
                return d_loss(real_logits, fake_logits) + penalty

            d_step(self.D, self.opts["D"], real, fake, loss)
        else:
            g_step(self.D, self.opts["G"], fake)
        self.steps[player] += 1

    def _draw(self) -> str:
        z = torch.randn(SHOWN, 2, generator=stream("shown", 0))
        self.fake = self.G(z).detach().requires_grad_()
        logits, real = self.D(self.fake), self.points[:SHOWN]
        loss = g_loss_non_saturating(logits)
        self.push = -torch.autograd.grad(loss, self.fake)[0]
        self.fake = self.fake.detach()
        with torch.no_grad():
            right = torch.cat([self.D(real) > 0, logits < 0]).float().mean().item()
        near = torch.cdist(real, self.fake).min(1).values < NEAR
        reached = near.float().mean().item()
        self.history.append((self.steps["G"], reached, right))
        self.picture.value = paint(self)
        self.curves.value = paint_curves(self.history)
        steps = "{D} steps of D, {G} of G".format(**self.steps)
        numbers = f"fakes reach {reached:.0%} of the points, D is right in {right:.0%}"
        return f"{steps}: {numbers}. In the curves, these are orange and blue."


def paint(game: Game) -> bytes:
    """Return a PNG file: D's field, real points, fakes, and where G's loss sends them.

    By Pillow, since matplotlib would take longer than a round of the game.
    """
    field = FIELD(probability_field(game.D, game.reach, 50).flip(0).numpy(), bytes=True)
    image = Image.fromarray(field[..., :3]).resize((SIZE, SIZE), Image.BILINEAR)
    pen = ImageDraw.Draw(image)
    longest = game.push.norm(dim=1).max().clamp(min=1e-9)
    ends = game.fake + 0.2 * game.reach / longest * game.push
    starts = pixels(game.fake, game.reach)
    for start, end in zip(starts, pixels(ends, game.reach), strict=True):
        pen.line((*start, *end), fill=FAKE)
    for places, color in (
        (pixels(game.points[:SHOWN], game.reach), REAL),
        (starts, FAKE),
    ):
        for x, y in places:
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=color)
    return png(image)


def paint_curves(history: list[tuple]) -> bytes:
    """Return a PNG file: points reached (orange) and D's accuracy (blue), 0 to 1."""
    image, last = Image.new("RGB", (SIZE, SIZE // 4), "white"), max(1, history[-1][0])
    pen = ImageDraw.Draw(image)

    def curve(values: list[tuple], color: str, width: int = 1) -> None:
        places = [(x / last * SIZE, 5 + (1 - y) * (SIZE / 4 - 10)) for x, y in values]
        pen.line(places, fill=color, width=width)

    for y in (0.0, 0.5, 1.0):
        curve([(0, y), (last, y)], "lightgray")
    curve([(step, reached) for step, reached, _ in history], FAKE, 2)
    curve([(step, right) for step, _, right in history], REAL, 2)
    return png(image)


def pixels(points: Tensor, reach: float) -> list:
    flipped = points.clamp(-2 * reach, 2 * reach) * torch.tensor([1.0, -1.0])
    return ((flipped / reach + 1) * SIZE / 2).tolist()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def rate_slider(label: str) -> FloatLogSlider:
    limits = {"base": 10, "min": -5, "max": -1, "step": 0.25, "readout_format": ".1e"}
    return FloatLogSlider(1e-3, **limits, description=label, style=LABEL, layout=AUTO)


def play_game(sets: dict[str, Tensor]):
    """Return a game that you step with buttons: D, G, a round, a hundred, or Play.

    ``sets`` names points (N, 2) that G has to learn, such as ``{"ring": points}``; its
    first N ≤ 200 are shown. Used in notebook 07.
    """
    return Game(sets)
