"""Sliders that move z as they say, and pictures that follow."""

import io
import math
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ganlib.conditional import AskedFor, ConditionalGenerator
from ganlib.explorer import explore_latent
from ganlib.judge import Judge, judge_predictions
from ganlib.latent import draw, principal_directions, sample_noise, slerp
from ganlib.models import Discriminator
from ganlib.plots import png_bytes
from ganlib.training import Record
from ganlib.translation import BothWays, Translator
from ganlib.widgets import compare, flip, scrub, translate


@pytest.fixture
def G(tiny_networks):
    """A small generator whose BatchNorm has seen something, in train mode."""
    G, _ = tiny_networks()
    G(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    return G


@pytest.fixture
def explorer(G):
    return explore_latent(G)


assert_same = torch.testing.assert_close


def noise(place, count=1):
    """What the sliders seed and walk together stand for."""
    seed, t = math.floor(place), torch.tensor([place % 1])
    z = [sample_noise(1, 3, seed=seed + i)[0] for i in range(count + 1)]
    return torch.cat([slerp(z[i], z[i + 1], t) for i in range(count)])


def pixels(picture):
    return np.array(Image.open(io.BytesIO(picture.value))).astype(int)


def assert_shows(picture, images, zoom):
    assert picture.value == png_bytes(images, zoom=zoom)
    size = [f"{n}px" for n in pixels(picture).shape[:2]]
    assert [picture.layout.height, picture.layout.width] == size


# --- the explorer


def test_pictures_follow_all_sliders_through_a_burst_of_events(explorer, G):
    assert torch.equal(explorer.z, sample_noise(1, 3, seed=0))  # to the last bit
    sliders = [explorer.seed, explorer.walk, explorer.scale, *explorer.moves.values()]
    vectors = torch.cat([principal_directions(G, 3)[0], torch.eye(3)])
    order = torch.Generator().manual_seed(0)
    for slider in 5 * sliders:
        share = torch.rand((), generator=order).item()
        slider.value = type(slider.min)(slider.min + share * (slider.max - slider.min))
        seed, walk, scale = (slider.value for slider in sliders[:3])
        moved = torch.tensor([move.value for move in sliders[3:]]) @ vectors
        z = scale * torch.cat([noise(seed + walk), noise(seed + 1, 15)]) + moved
        assert_same(explorer.z, z[:1])
        images = draw(G, torch.cat([explorer.z, z[1:]]))
        assert_same(explorer.image, images[:1])
        assert_shows(explorer.picture, images[:1], 10)
        assert_shows(explorer.grid, images, 2)


def test_sliders_have_their_names_and_ranges(G):
    explorer = explore_latent(G, directions={"up": torch.ones(3)})
    _, shares = principal_directions(G, 3)
    named = [f"direction {i} · {share:.1%}" for i, share in enumerate(shares, 1)]
    found = [slider.description for slider in explorer.moves.values()]
    assert found == ["up", *named, "z[0]", "z[1]", "z[2]"]
    sliders = explorer.seed, explorer.walk, explorer.scale, explorer.moves["z[0]"]
    ranges = [(slider.min, slider.max, slider.step) for slider in sliders]
    assert ranges == [(0, 999, 1), (0, 10, 0.05), (0, 2, 0.05), (-4, 4, 0.1)]
    *_, kinds, stack, _, _ = explorer.children[0].children[1].children
    for index, name in enumerate(("up", "direction 1", "z[0]")):  # a button for each
        kinds.index = index
        assert explorer.moves[name] is stack.children[stack.selected_index].children[0]
    large = nn.Sequential(nn.Linear(12, 16), nn.Unflatten(1, (1, 4, 4)))
    large.latent_dim, large.image_shape = 12, (1, 4, 4)
    assert len(explore_latent(large).moves) == 8 + 8


def test_labels_are_asked_for_and_mixed():
    G = ConditionalGenerator(3, (1, 4, 4), classes=4, size=2).eval()
    explorer = explore_latent(G)
    z = sample_noise(1, 3, seed=0)
    assert_same(explorer.image, draw(AskedFor(G, 0), z))
    explorer.label.value, explorer.toward.value = 3, 1
    assert_same(explorer.image, draw(AskedFor(G, 3), z))
    assert ">Asked for a 3. Seed 0.<" in explorer.words.value
    explorer.morph.value = 0.25
    assert_same(explorer.z, z)
    mixture = torch.tensor([0.0, 0.25, 0.0, 0.75])
    rows = noise(0), *(sample_noise(1, 3, seed=i) for i in range(1, 16))
    images = draw(AskedFor(G, mixture), torch.cat(rows))
    assert_same(explorer.image, images[:1])
    assert_shows(explorer.grid, images, 2)
    assert ">Asked for a 3, 25% of the way to a 1. Seed 0.<" in explorer.words.value
    assert [*explorer.children[0].children[1].children[:3]] == [
        explorer.label,
        explorer.toward,
        explorer.morph,
    ]
    explorer.reset()
    assert_same(explorer.image, draw(AskedFor(G, 3), z))


def test_play_goes_along_the_walk(explorer):
    explorer.play.value = explorer.play.max // 8  # what the browser sends
    assert explorer.walk.value == 1.25
    explorer.walk.value = 2.51
    assert explorer.play.value == 50
    assert explorer.walk.value == 2.51  # Play does not pull it to a step of its own


def test_z_that_is_set_is_where_the_sliders_go_on(explorer):
    explorer.moves["z[0]"].value, explorer.scale.value = 1.0, 0.3
    z = torch.tensor([[0.5, -1.0, 2.0]])
    explorer.z = z
    assert torch.equal(explorer.z, z)
    assert ">The z that was set.<" in explorer.words.value
    moved = z + torch.tensor([1.5, 0, 0])
    for copy in (explorer.z, explorer.image):
        copy.zero_()
    assert torch.equal(explorer.z, z)
    assert explorer.image.any()
    z.zero_()
    explorer.moves["z[0]"].value = 1.5
    assert_same(explorer.z, moved)
    with pytest.raises(RuntimeError, match="invalid for input of size 4"):
        explorer.z = torch.zeros(1, 4)
    assert_same(explorer.z, moved)
    for slider in (explorer.walk, explorer.seed):
        explorer.z = torch.zeros(3)
        slider.value = 1
        assert_same(explorer.z, noise(1))


def test_image_that_is_set_is_found_in_z(explorer, G):
    target = draw(G, noise(5))
    explorer.image = target
    assert (explorer.image - target).norm() < 0.05 * target.norm()
    assert (G.training, G.net[1].num_batches_tracked) == (True, 1)  # as before


def test_button_starts_again(explorer):
    explorer.seed.value, explorer.walk.value, explorer.scale.value = 7, 0.5, 0.5
    explorer.moves["direction 2"].value = 3.0
    explorer.z = torch.zeros(3)
    again, _ = explorer.children[0].children[1].children[-2].children
    again.click()
    assert_same(explorer.z, noise(7))


def test_words_and_the_copied_line_say_what_is_shown(explorer):
    assert ' role="status">Seed 0.</p>' in explorer.words.value
    explorer.seed.value, explorer.walk.value, explorer.scale.value = 7, 1.3, 0.5
    explorer.moves["z[0]"].value, explorer.moves["direction 2"].value = 1.0, -2.0
    words = "Seed 8, 30% of the way to seed 9, times 0.5, moved along "
    assert f"{words}direction 2 by -2.0, z[0] by +1.0." in explorer.words.value
    found = {"torch": torch}
    exec(explorer.copy.value.split('data-z="')[1].split('"')[0], found)
    assert torch.equal(found["z"], explorer.z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_d_judge_and_nearest_image_follow_in_any_precision(G, dtype):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D = type(G)(3, (1, 28, 28)).to(dtype), Discriminator().double()
        judge = Judge().double()
    images = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(0)) - 0.5
    images = images.double()
    images[4] = explore_latent(G).image[0] + 0.01
    up = torch.ones(3, dtype=torch.double, requires_grad=True)
    explorer = explore_latent(G, D, judge=judge, images=images, directions={"up": up})
    assert explorer.image.dtype == torch.float32
    image = explorer.image.double()
    digit, sure = (value.item() for value in judge_predictions(judge, image))
    words = f"D's probability of real: {D(image).sigmoid().item():.0%}."
    words += f" The judge reads a {digit}, {sure:.0%} sure."
    assert f' aria-live="polite">{words}<' in explorer.predictions.value
    assert explorer.real.layout.display == "none"
    explorer.nearest.value = True
    assert explorer.real.layout.display is None
    assert_shows(explorer.real, images[4:5], 2)
    # 784 pixels, each 0.01 away
    assert "next to the small ones, at distance 0.3." in explorer.words.value
    explorer.nearest.value = False
    assert explorer.real.layout.display == "none"


def test_collapsed_g_alone_is_enough(G, unchanged_global_random_state):
    nn.init.zeros_(G.net[1].weight)  # the last hidden layer never changes
    explorer = explore_latent(G, zoom=1)
    assert_same(explorer.z, noise(0))
    assert not explorer.predictions.value
    assert explorer.nearest not in explorer.children[0].children[1].children
    assert_shows(explorer.grid, draw(G, torch.zeros(16, 3)), 1)


def test_error_reaches_whoever_moves_the_slider_and_is_said(explorer, G):
    def fail(*_):
        raise RuntimeError("no more <ink>")

    before, picture = explorer.z, explorer.picture.value
    explorer.play.playing = True
    hook = G.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no more <ink>"):
        explorer.seed.value = 2
    assert "could not be drawn: no more &lt;ink&gt;" in explorer.words.value
    assert not explorer.play.playing
    assert torch.equal(explorer.z, before)  # of the picture that is still there
    assert explorer.picture.value == picture
    hook.remove()
    explorer.reset()
    assert_same(explorer.z, noise(2))


REFUSED = [
    ({"G": Discriminator()}, "G is a Discriminator, expected a generator: pass G"),
    ({"images": torch.zeros(2, 1, 5, 5)}, r"\(2, 1, 5, 5\), expected \(N, 1, 4, 4"),
    ({"images": torch.rand(9, 1, 4, 4)}, r"looks like \[0, 1\]"),
    ({"directions": {"up": torch.ones(4)}}, r"'up' has shape \(4,\), expected \(3"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(G, options, words):
    with pytest.raises((TypeError, ValueError), match=f"^[^\n]*{words}[^\n]*$"):
        explore_latent(**{"G": G, **options})


# --- two generators, a run over time, frames


def test_comparison_sends_the_same_z_through_both(G, tiny_networks):
    pair = G, tiny_networks(1)[0]
    panel = compare(*pair, names=("a < b", "c"))
    panel.seed.value, panel.walk.value, panel.scale.value = 5, 0.5, 0.5
    assert_same(panel.z, 0.5 * noise(5.5, 16))
    for i, network in enumerate(pair):
        assert_same(panel.images[i], draw(network, panel.z))
        assert_shows(panel.pictures[i], panel.images[i], 3)
    assert "seeds 5.5 to 20.5, each times 0.5, row by row." in panel.words.value
    titled = panel.children[0].children[0].children[0].children
    assert [column.children[0].value for column in titled] == ["a &lt; b", "c"]


@pytest.fixture
def history(G):
    values = [(0.6, 0.8 + i / 10, 0.7, 0.2, 0.9, G) for i in range(4)]
    records = [Record(9 + i, 640 * i, 1.0, *rest) for i, rest in enumerate(values)]
    return [(record, torch.full((9, 1, 4, 4), record.g_loss)) for record in records]


def test_scrubber_shows_the_moment_that_is_chosen(history):
    panel = scrub(history)
    assert panel.moment.value == panel.play.value == panel.play.max == 3
    for moment, (record, images) in enumerate(history):
        panel.play.value = moment  # which moves the slider
        assert panel.frame is images
        assert_shows(panel.picture, images, 3)
        losses = f"Step {record.step}: loss of D 0.60, of G {record.g_loss:.2f}. "
        words = "D's mean probability of real: 70% for real images, 20% for fakes."
        assert f"{losses}{words} The black line" in panel.words.value
    record = Record(9, 99, 1.0, -2.5, 0.8, *[math.nan] * 3, None)  # no probabilities
    words = scrub([(record, images)]).words.value
    assert "loss of D -2.50, of G 0.80. The black line" in words


def test_marker_stands_where_the_curve_is(history):
    """D's loss is a line from the first record to the last, below the legend."""
    panel, shown = scrub(history), []
    for moment in range(4):
        panel.moment.value = moment
        shown.append(pixels(panel.curves[0]))
    plain = np.maximum(shown[0], shown[3])  # without markers
    lines = [((p == 0) & (plain > 0)).any(2).mean(0) > 0.7 for p in shown]
    middles = [np.flatnonzero(line).mean() for line in lines]
    np.testing.assert_allclose(np.diff(middles), np.diff(middles)[0], atol=1)
    lower = plain[len(plain) // 2 :]
    blue = (lower[..., 0] < 60) & (lower[..., 2] > 130)
    ends = np.flatnonzero(blue.any(0))[[0, -1]]
    np.testing.assert_allclose([middles[0], middles[3]], ends, atol=3)


def test_panel_draws_one_thing_at_a_time():
    """JupyterLab's kernel handles two events at once, in threads."""
    panel, inside = flip([torch.zeros(1, 1, 2, 2)], ["a"]), []

    def slow_draw():
        inside.append("in")
        time.sleep(0.02)
        inside.append("out")
        return ""

    panel._draw = slow_draw
    threads = [threading.Thread(target=panel._redraw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == ["in", "out"] * 2


def test_translation_goes_there_and_back_with_strength_and_noise():
    torch.manual_seed(0)
    G = BothWays(Translator((3, 8, 8), 2), Translator((3, 8, 8), 2))
    a, b = torch.rand(2, 5, 3, 8, 8) * 2 - 1
    panel = translate(G, a, b[:4], zoom=2)
    assert panel.number.max == 3
    panel.number.value, panel.strength.value, panel.noise.value = 2, 0.25, 0.5
    noise = 0.5 * sample_noise(1, 192, seed=0).view(1, 3, 8, 8)
    ways = (a, G.to_b, G.to_a), (b, G.to_a, G.to_b)
    errors = []
    for (images, there, back), strip, shown in zip(
        ways, panel.strips, panel.pictures, strict=True
    ):
        image = images[2:3]
        between = (0.75 * image + 0.25 * there(image) + noise).clamp(-1, 1)
        assert_same(strip, torch.cat([image, between, back(between)]))
        assert shown.value == png_bytes(strip, columns=3, zoom=2)
        assert pixels(shown).shape == (16, 52, 3)
        assert shown.layout.width == "52px"
        errors.append((strip[2] - strip[0]).abs().mean().item())
    assert "of the round trip: {:.3f} and {:.3f}".format(*errors) in panel.words.value
    panel.play.value = 10
    assert panel.strength.value == 0.5


def test_flip_book_shows_the_frame_that_is_chosen():
    frames = [torch.full((2, 3, 4, 6), gray) for gray in (-1.0, 0.0, 1.0)]
    book = flip(frames, ["a", "b", "c"], zoom=2)
    assert book.frame is frames[2]
    for i, name in enumerate("abc"):
        book.play.value = i
        assert book.frame is frames[i]
        assert_shows(book.picture, frames[i], 2)
        assert f"This frame: {name}." in book.words.value
