"""A game of two small networks in the plane, which the reader moves step by step."""

import torch
from ipywidgets import Button, Dropdown, FloatLogSlider, HBox, IntSlider, Play
from matplotlib.figure import Figure
from torch import Tensor

from ganlib.latent import stream
from ganlib.losses import d_loss, g_loss_non_saturating, r1_penalty
from ganlib.plots import FAKE, REAL, figure_image, png_bytes, show_field
from ganlib.steps import d_step, g_step
from ganlib.toys import PointDiscriminator, PointGenerator
from ganlib.widgets import AUTO, LABEL, WRAP, Panel, new_slider, picture

SIZE = (410, 320)  # pixels of the picture, its height and width
BATCH, SHOWN = 256, 200  # points in a batch, and on the screen
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
        self.picture = picture((3, *SIZE), 1)
        self._new_game()
        row = HBox([*self.buttons.values(), self.play, self.again], layout=WRAP)
        sliders = [self.lr_d, self.lr_g, self.momentum, self.gamma]
        below = [row, *sliders, self.data, self.seed]
        super().__init__([self.picture], below)

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
        self.picture.value = png_bytes(paint(self))
        steps = "{D} steps of D, {G} of G".format(**self.steps)
        numbers = f"fakes reach {reached:.0%} of the points, D is right in {right:.0%}"
        return f"{steps}: {numbers}. In the curves, these are orange and blue."


def paint(game: Game) -> Tensor:
    """Return an image (1, 3, *SIZE): the game in the plane, and its curves.

    The plane shows D's field, real points, fakes, and where G's loss sends these.
    """
    figure = Figure(figsize=(SIZE[1] / 100, SIZE[0] / 100), dpi=100)
    plane = show_field(game.D, game.reach, figure.add_axes((0, 0.22, 1, 0.78)))
    longest = game.push.norm(dim=1).max().clamp(min=1e-9).item()
    arrows = {"angles": "xy", "scale_units": "xy", "width": 0.004, "color": FAKE}
    scale = longest / (0.2 * game.reach)
    plane.quiver(*game.fake.T, *game.push.T, scale=scale, **arrows)
    plane.plot(*game.points[:SHOWN].T, ".", color=REAL)
    plane.plot(*game.fake.T, ".", color=FAKE)
    plane.set(xlim=(-game.reach, game.reach), ylim=(-game.reach, game.reach))
    steps, reached, right = zip(*game.history, strict=True)
    curves = figure.add_axes((0.12, 0.03, 0.86, 0.16))
    curves.plot(steps, reached, color=FAKE)
    curves.plot(steps, right, color=REAL)
    curves.set(ylim=(-0.05, 1.05), xticks=[], yticks=[0, 0.5, 1])
    curves.grid(axis="y")
    return figure_image(figure)


def rate_slider(label: str) -> FloatLogSlider:
    limits = {"base": 10, "min": -5, "max": -1, "step": 0.25, "readout_format": ".1e"}
    return FloatLogSlider(1e-3, **limits, description=label, style=LABEL, layout=AUTO)


def play_game(sets: dict[str, Tensor]):
    """Return a game that you step with buttons: D, G, a round, a hundred, or Play.

    ``sets`` names points (N, 2) that G has to learn, such as ``{"ring": points}``; its
    first N ≤ 200 are shown. Used in notebook 07.
    """
    return Game(sets)
