"""Drawings say what the steps and the networks do."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

from ganlib.convolutional import ConvDiscriminator, ConvGenerator
from ganlib.drawings import draw_game, draw_network, layers_of
from ganlib.models import Generator
from ganlib.plots import FAKE, REAL


@pytest.fixture
def ax():
    yield plt.figure().subplots()
    plt.close("all")


@pytest.mark.parametrize(
    ("moving", "color", "ways"),
    [
        ("D", REAL, {("loss", "D")}),
        ("G", FAKE, {("loss", "D"), ("D", "fake"), ("fake", "G")}),
    ],
)
def test_gradient_reaches_the_moving_player_and_no_other(ax, moving, color, ways):
    draw_game(ax, moving)
    names = {
        text.get_position(): text.get_text() for text in ax.texts if text.get_text()
    }
    found = set()
    for text in ax.texts:
        arrow = getattr(text, "arrow_patch", None)
        if arrow and not text.get_text() and arrow.get_linestyle() != "solid":
            found.add((names[text.get_position()], names[text.xy]))
            assert to_hex(arrow.get_edgecolor()) == color.lower()
    assert found == ways
    assert ("detach" in names.values()) == (moving == "D")


def test_labels_lead_to_both_players(ax):
    draw_game(ax, labels=True)
    starts = [
        t.xy for t in ax.texts if hasattr(t, "xy") and t.get_position() == (2, 1.9)
    ]
    assert starts == [(1, 1), (3, 0.5)]


def test_layers_are_those_of_the_network():
    G = Generator()
    before = {name: value.clone() for name, value in G.state_dict().items()}
    sizes = [100, 128, 256, 512, 1024, 784]
    found = layers_of(G, torch.randn(1, 100))  # BatchNorm could not train with one
    assert [shape for _, shape, _ in found] == [*((n,) for n in sizes), (1, 28, 28)]
    assert sum(count for _, _, count in found) == sum(w.numel() for w in G.parameters())
    assert all(
        torch.equal(value, before[name]) for name, value in G.state_dict().items()
    )
    assert G.training
    convolutional = layers_of(ConvDiscriminator(), torch.zeros(2, 1, 28, 28))
    assert [shape for _, shape, _ in convolutional][1:3] == [(32, 14, 14), (64, 7, 7)]


def test_heights_are_to_scale(ax):
    draw_network(ConvGenerator(), torch.randn(2, 100), ax)
    heights = [bar.get_height() for bar in ax.patches if hasattr(bar, "get_height")]
    assert heights == [10, 16, pytest.approx(512**0.5), 56, 7, 14, 28]
