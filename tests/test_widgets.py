"""Sliders that move z as they say, and pictures that follow."""

import gc
import io
import itertools
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ganlib.explorer import LatentExplorer
from ganlib.judge import Judge, judge_verdicts
from ganlib.latent import draw, principal_directions, sample_noise, slerp
from ganlib.models import Discriminator, Generator
from ganlib.plots import png_bytes, tile_images
from ganlib.training import Record
from ganlib.widgets import compare, explore_latent, flip, scrub


@pytest.fixture
def G(tiny_networks):
    """A small generator whose BatchNorm has seen something, in train mode."""
    G, _ = tiny_networks()
    G(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    return G


@pytest.fixture
def explorer(G):
    return explore_latent(G, zoom=3)


@pytest.fixture
def break_G():
    """A function that lets the next drawing of a network fail."""

    def spoil(network):
        def fail(*_):
            raise RuntimeError("no more <ink>")

        return network.register_forward_pre_hook(fail)

    return spoil


def noise(seed, latent_dim=3):
    return sample_noise(1, latent_dim, seed=seed)


def shown(picture):
    """The pixels of a PNG, as the browser gets them."""
    return np.array(Image.open(io.BytesIO(picture.value)))


def drawn_by(G, z):
    """The pixels that G gives for z in eval mode, before the zoom."""
    return (tile_images(draw(G, z)) * 255).round().byte().numpy()


def assert_shows(picture, pixels, zoom):
    expected = pixels.repeat(zoom, 0).repeat(zoom, 1)
    np.testing.assert_array_equal(shown(picture), expected)


# --- the explorer: which z, and which picture


def test_explorer_is_a_widget(explorer):
    assert isinstance(explorer, LatentExplorer)
    assert explorer.picture.format == "png"


def test_explorer_begins_with_the_noise_of_seed_0(explorer):
    torch.testing.assert_close(explorer.z, noise(0))


def test_large_picture_holds_the_pixels_of_g(explorer, G):
    assert_shows(explorer.picture, drawn_by(G, explorer.z), 3)


def test_small_pictures_are_this_z_and_the_next_15_seeds_moved_alike(explorer, G):
    explorer.seed.value, explorer.scale.value = 4, 0.5
    explorer.moves["z[1]"].value = 2.0
    z = 0.5 * torch.cat([noise(seed) for seed in range(4, 20)])
    assert_shows(explorer.grid, drawn_by(G, z + torch.tensor([0, 2.0, 0])), 1)


def test_pictures_have_the_size_that_the_page_reserves(explorer):
    for picture in (explorer.picture, explorer.grid):
        height, width = shown(picture).shape
        assert (picture.layout.width, picture.layout.height) == (
            f"{width}px",
            f"{height}px",
        )


def test_image_is_what_is_shown(explorer, G):
    assert explorer.image.shape == (1, 1, 4, 4)
    torch.testing.assert_close(explorer.image, G.eval()(explorer.z).detach())


def test_seed_picks_the_noise(explorer):
    explorer.seed.value = 7
    torch.testing.assert_close(explorer.z, noise(7))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.95])
@pytest.mark.parametrize("seeds", [0, 3])
def test_walk_goes_along_the_arcs_from_seed_to_seed(explorer, seeds, share):
    explorer.seed.value = 7
    explorer.walk.value = seeds + share
    ends = noise(7 + seeds)[0], noise(8 + seeds)[0]
    expected = slerp(*ends, torch.tensor([share]))
    torch.testing.assert_close(explorer.z, expected)


def test_walk_ends_ten_seeds_on(explorer):
    explorer.seed.value, explorer.walk.value = 7, 10.0
    torch.testing.assert_close(explorer.z, noise(17))


def test_play_goes_on_along_the_walk(explorer):
    explorer.play.value = 25  # what the browser sends while it plays
    assert explorer.walk.value == 1.25
    expected = slerp(noise(1)[0], noise(2)[0], torch.tensor([0.25]))
    torch.testing.assert_close(explorer.z, expected)


def test_play_starts_from_where_the_walk_was_moved_to(explorer):
    explorer.walk.value = 1.25
    assert explorer.play.value == 25
    explorer.walk.value = 1.26  # between two steps of Play: it must not jump
    assert explorer.walk.value == 1.26


def test_scale_multiplies_the_noise_and_not_the_moves(explorer):
    explorer.scale.value = 0.5
    explorer.moves["z[2]"].value = -1.5
    torch.testing.assert_close(explorer.z, noise(0) / 2 + torch.tensor([0, 0, -1.5]))


def test_slider_of_a_direction_moves_along_it(explorer, G):
    vectors, _ = principal_directions(G, 3)
    explorer.moves["direction 2"].value = 1.5
    torch.testing.assert_close(explorer.z, noise(0) + 1.5 * vectors[1])


def test_slider_of_a_direction_shows_its_share_of_the_variance(explorer, G):
    _, shares = principal_directions(G, 3)
    found = [explorer.moves[f"direction {i}"].description for i in (1, 2, 3)]
    assert found == [f"direction {i} · {s:.1%}" for i, s in enumerate(shares, 1)]


def test_own_direction_gets_a_slider(G):
    up = torch.tensor([1.0, 2.0, 3.0])
    explorer = explore_latent(G, directions={"up": up})
    explorer.moves["up"].value = 2.0
    torch.testing.assert_close(explorer.z, noise(0) + 2 * up)


@pytest.mark.parametrize("name", ["direction 1", "z[0]"])
def test_slider_that_goes_back_leaves_no_trace(explorer, name):
    explorer.moves[name].value = 2.0
    assert not torch.equal(explorer.z, noise(0))
    explorer.moves[name].value = 0.0
    torch.testing.assert_close(explorer.z, noise(0))


def test_there_are_eight_sliders_of_each_kind_where_z_is_long_enough():
    names = list(explore_latent(Generator(20, (1, 4, 4))).moves)
    expected = [f"direction {i}" for i in range(1, 9)] + [f"z[{i}]" for i in range(8)]
    assert names == expected


def test_there_are_as_many_sliders_as_numbers_otherwise(explorer):
    assert len(explorer.moves) == 6


def test_buttons_show_one_kind_of_slider_and_keep_the_moves_of_the_other(explorer):
    choice, *boxes = explorer.children[0].children[1].children[4:7]
    assert choice.options == ("principal directions", "single numbers of z")
    explorer.moves["direction 1"].value = 1.0
    before = explorer.z
    assert [box.layout.display for box in boxes] == [None, "none"]
    choice.value = "single numbers of z"
    assert [box.layout.display for box in boxes] == ["none", None]
    torch.testing.assert_close(explorer.z, before)


def every_slider(explorer):
    return [explorer.seed, explorer.walk, explorer.scale, *explorer.moves.values()]


def test_every_slider_changes_the_picture(explorer, G):
    for slider in every_slider(explorer):
        before = shown(explorer.picture)
        slider.value += 1 if slider is explorer.seed else 0.7
        assert not np.array_equal(before, shown(explorer.picture)), slider.description
        assert_shows(explorer.picture, drawn_by(G, explorer.z), 3)


def test_a_burst_of_events_ends_in_the_right_picture(explorer, G):
    order = torch.Generator().manual_seed(0)
    sliders = every_slider(explorer)
    for _ in range(300):
        slider = sliders[torch.randint(len(sliders), (), generator=order)]
        share = torch.rand((), generator=order).item()
        value = slider.min + share * (slider.max - slider.min)
        slider.value = int(value) if slider is explorer.seed else value
    place, moves = explorer.seed.value + explorer.walk.value, explorer.moves
    ends = noise(int(place))[0], noise(int(place) + 1)[0]
    vectors = torch.cat([principal_directions(G, 3)[0], torch.eye(3)])
    amounts = torch.tensor([slider.value for slider in moves.values()])
    start = slerp(*ends, torch.tensor([place % 1]))
    expected = explorer.scale.value * start + amounts @ vectors
    torch.testing.assert_close(explorer.z, expected)
    assert_shows(explorer.picture, drawn_by(G, expected), 3)


# --- what code sets


def test_z_that_is_set_is_shown(explorer, G):
    explorer.moves["z[0]"].value, explorer.scale.value = 1.0, 0.3
    z = torch.tensor([[0.5, -1.0, 2.0]])
    explorer.z = z
    torch.testing.assert_close(explorer.z, z)
    assert_shows(explorer.picture, drawn_by(G, z), 3)
    assert "The z that was set." in explorer.words.value


def test_sliders_go_on_from_a_z_that_was_set(explorer):
    explorer.z = torch.tensor([[0.5, -1.0, 2.0]])
    explorer.moves["z[0]"].value = 1.0
    torch.testing.assert_close(explorer.z, torch.tensor([[1.5, -1.0, 2.0]]))


@pytest.mark.parametrize("slider", ["seed", "walk"])
def test_seed_and_walk_leave_a_z_that_was_set(explorer, slider):
    explorer.z = torch.zeros(1, 3)
    getattr(explorer, slider).value = 1
    torch.testing.assert_close(explorer.z, noise(1))


def test_what_is_read_is_a_copy(explorer):
    explorer.z.zero_()
    explorer.image.zero_()
    torch.testing.assert_close(explorer.z, noise(0))
    assert explorer.image.abs().sum() > 0


def test_what_was_set_may_change_afterwards(explorer):
    z = torch.ones(1, 3)
    explorer.z = z
    z.zero_()
    explorer.scale.value = 0.5
    torch.testing.assert_close(explorer.z, torch.full((1, 3), 0.5))


def test_image_that_is_set_is_found_in_z(G):
    explorer = explore_latent(G)
    target = draw(G, noise(5))
    explorer.image = target
    assert (explorer.image - target).norm() < 0.05 * target.norm()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(2, 3), r"z holds 2, expected one: write z\[:1\]"),
        (torch.zeros(1, 4), r"\(1, 4\), expected \(N, 3\)"),
        (torch.zeros(3), r"write z\.unsqueeze\(0\)"),
        ([0.0, 0.0, 0.0], r"torch\.as_tensor\(z\)"),
    ],
)
def test_wrong_z_is_refused_and_loses_nothing(explorer, value, words):
    explorer.moves["z[0]"].value = 1.0
    before = explorer.z
    with pytest.raises((TypeError, ValueError), match=words):
        explorer.z = value
    torch.testing.assert_close(explorer.z, before)
    assert explorer.moves["z[0]"].value == 1.0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(2, 1, 4, 4), r"image holds 2, expected one"),
        (torch.zeros(1, 1, 5, 5), "5×5 pixels"),
        (torch.zeros(1, 1, 4, 4) + 3, "reach from 3 to 3"),
    ],
)
def test_wrong_image_is_refused(explorer, value, words):
    with pytest.raises(ValueError, match=words):
        explorer.image = value


# --- buttons


def test_start_again_moves_all_but_the_seed_back(explorer):
    explorer.seed.value = 7
    for slider in every_slider(explorer)[1:]:
        slider.value = 0.5
    buttons = explorer.children[0].children[1].children[-2].children
    buttons[0].click()
    assert explorer.seed.value == 7
    assert explorer.scale.value == 1
    assert explorer.walk.value == 0
    assert not any(slider.value for slider in explorer.moves.values())
    torch.testing.assert_close(explorer.z, noise(7))


def test_pictures_are_saved_under_new_names(explorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explorer.seed.value = 7
    names = [str(explorer.save_picture()) for _ in range(2)]
    assert names == ["explorer_seed_7_1.png", "explorer_seed_7_2.png"]
    assert "Saved as explorer_seed_7_2.png" in explorer.words.value
    for name in names:
        np.testing.assert_array_equal(
            np.array(Image.open(tmp_path / name)), shown(explorer.picture)
        )


def test_picture_that_cannot_be_saved_is_told(explorer, tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    os.rmdir(folder)
    with pytest.raises(OSError, match="explorer_seed_0_1"):
        explorer.save_picture()
    assert "The picture could not be saved" in explorer.words.value


def test_copied_z_is_python_for_the_same_z(explorer):
    explorer.walk.value, explorer.moves["direction 1"].value = 0.3, 1.7
    text = explorer.copy.value.split('data-z="')[1].split('"')[0]
    found = {}
    exec(text, {"torch": torch}, found)
    torch.testing.assert_close(found["z"], explorer.z, atol=1e-6, rtol=1e-6)


# --- what it says


def test_words_say_what_is_shown(explorer):
    assert 'role="status"' in explorer.words.value
    assert ">Seed 0.<" in explorer.words.value
    explorer.seed.value, explorer.walk.value = 7, 1.3
    explorer.scale.value = 0.5
    explorer.moves["z[0]"].value, explorer.moves["direction 2"].value = 1.0, -2.0
    expected = (
        "Seed 8, 30% of the way to seed 9, times 0.5, "
        "moved along direction 2 by -2.0, z[0] by +1.0."
    )
    assert expected in explorer.words.value


@pytest.fixture(scope="module")
def full_size():
    """Untrained networks and a judge for images of 28 by 28 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D, judge = Generator(5), Discriminator(), Judge()
    return G, D, judge.requires_grad_(False).eval()


def test_words_hold_the_verdicts_of_d_and_of_the_judge(full_size):
    G, D, judge = full_size
    explorer = explore_latent(G, D, judge=judge)
    explorer.seed.value = 3
    real = D(explorer.image).sigmoid().item()
    digit, confidence = judge_verdicts(judge, explorer.image)
    assert f"D: real with {real:.0%}." in explorer.verdict.value
    expected = f"The judge reads a {digit.item()}, {confidence.item():.0%} sure."
    assert expected in explorer.verdict.value


def test_nearest_real_image_is_shown_when_asked_for(full_size):
    G, _, _ = full_size
    start = explore_latent(G)
    images = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(0)) - 0.5
    images[4] = start.image[0] + 0.01
    explorer = explore_latent(G, images=images)
    assert explorer.real.layout.display == "none"
    assert "Nearest" not in explorer.words.value
    explorer.nearest.value = True
    assert explorer.real.layout.display is None
    assert explorer.real.value == png_bytes(images[4:5], zoom=2)
    # 784 pixels, each 0.01 away
    assert "beside the small ones, at distance 0.3." in explorer.words.value
    explorer.nearest.value = False
    assert explorer.real.layout.display == "none"


def test_images_are_needed_for_the_nearest_one(explorer):
    sliders = explorer.children[0].children[1].children
    assert explorer.nearest not in sliders


# --- what must not happen


@pytest.mark.parametrize("training", [True, False])
def test_g_keeps_its_mode_and_its_statistics(G, training):
    G.train(training)
    explorer = explore_latent(G)
    explorer.seed.value = 3
    explorer.image = torch.zeros(1, 1, 4, 4)
    assert G.training == training
    assert G.net[1].num_batches_tracked == 1
    assert all(p.grad is None for p in G.parameters())


def test_moving_sliders_leaves_the_global_random_state_alone(
    G, unchanged_global_random_state
):
    explorer = explore_latent(G)
    explorer.seed.value = 3


@pytest.mark.parametrize("slider", ["seed", "walk", "scale"])
def test_error_reaches_whoever_moves_the_slider_and_is_said(
    explorer, G, break_G, slider
):
    before, picture = explorer.z, explorer.picture.value
    explorer.play.playing = True
    hook = break_G(G)
    with pytest.raises(RuntimeError, match="no more <ink>"):
        getattr(explorer, slider).value = 2
    expected = "The picture could not be drawn: no more &lt;ink&gt;"
    assert expected in explorer.words.value
    assert not explorer.play.playing
    torch.testing.assert_close(explorer.z, before)  # of the picture that is still there
    assert explorer.picture.value == picture
    hook.remove()
    explorer.seed.value = 3
    assert "could not" not in explorer.words.value


def test_a_thousand_events_leave_nothing_behind(explorer):
    def move(count):
        for i in range(count):
            explorer.walk.value = (i % 100) / 100
            explorer.seed.value = i % 500
            explorer.moves["direction 1"].value = (i % 40) / 10
            explorer.z = torch.full((1, 3), float(i % 7))
        gc.collect()
        kinds = [type(thing) for thing in gc.get_objects()]
        return sys.getallocatedblocks(), kinds.count(torch.Tensor)

    blocks, tensors = zip(move(100), *(move(250) for _ in range(4)), strict=True)
    assert len(set(tensors)) == 1
    # Each picture that is kept, of a thousand, is one block at least. Caches elsewhere
    # in the process may grow once; what is kept grows every time.
    growth = [after - before for before, after in itertools.pairwise(blocks)]
    assert min(growth) < 250, growth


def test_g_without_layers_is_refused():
    class Plain(nn.Module):
        latent_dim, image_shape = 3, (1, 4, 4)

        def forward(self, z):
            return z.new_zeros(len(z), 1, 4, 4)

    with pytest.raises(TypeError, match="G has no layer with weights"):
        explore_latent(Plain())


def test_own_direction_needs_a_name_of_its_own(G):
    with pytest.raises(ValueError, match=r"'z\[0\]' holds 3 numbers, .* of its own"):
        explore_latent(G, directions={"z[0]": torch.ones(3)})


# --- two generators side by side


@pytest.fixture
def pair(G, tiny_networks):
    return G, tiny_networks(1)[0]


def test_comparison_sends_the_same_z_through_both(pair):
    panel = compare(*pair, zoom=2)
    panel.seed.value, panel.scale.value = 5, 0.5
    z = 0.5 * torch.cat([noise(seed) for seed in range(5, 21)])
    torch.testing.assert_close(panel.z, z)
    for picture, images, G in zip(panel.pictures, panel.images, pair, strict=True):
        assert_shows(picture, drawn_by(G, z), 2)
        torch.testing.assert_close(images, draw(G, z))
    assert not np.array_equal(*map(shown, panel.pictures))


def test_comparison_walks(pair):
    panel = compare(*pair)
    panel.walk.value = 0.5
    half = torch.tensor([0.5])
    expected = [slerp(noise(i)[0], noise(i + 1)[0], half) for i in range(16)]
    torch.testing.assert_close(panel.z, torch.cat(expected))


def test_comparison_says_what_it_shows_and_names_both(pair):
    panel = compare(*pair, names=("a < b", "c"))
    panel.seed.value = 5
    assert "the z of seeds 5 to 20, each times 1, row by row." in panel.words.value
    titles = [
        column.children[0].value
        for column in panel.children[0].children[0].children[0].children
    ]
    assert titles == ["a &lt; b", "c"]


def test_error_in_one_of_two_generators_is_said(pair, break_G):
    panel = compare(*pair)
    break_G(pair[1])
    with pytest.raises(RuntimeError, match="ink"):
        panel.seed.value = 1
    assert "could not be drawn" in panel.words.value


# --- a training over time


@pytest.fixture
def history(G):
    made = torch.Generator().manual_seed(0)
    return [
        (
            Record(step, 64 * step, 1.0, 0.6, 0.8 + step / 1000, 0.7, 0.2, 0.9, G),
            torch.rand(9, 1, 4, 4, generator=made) * 2 - 1,
        )
        for step in (100, 200, 300, 400)
    ]


def test_scrubber_begins_at_the_end(history):
    panel = scrub(history)
    assert panel.record.step == 400
    assert panel.picture.value == png_bytes(history[-1][1], zoom=3)


@pytest.mark.parametrize("moment", range(4))
def test_scrubber_shows_the_moment_that_is_chosen(history, moment):
    panel = scrub(history)
    panel.moment.value = moment
    record, images = history[moment]
    assert panel.record is record
    assert panel.images is images
    assert panel.picture.value == png_bytes(images, zoom=3)
    expected = (
        f"Step {record.step}: loss of D 0.60, of G {record.g_loss:.2f}. "
        "On average D gives real images 70% and fakes 20%."
    )
    assert expected in panel.words.value


def test_scrubber_plays(history):
    panel = scrub(history)
    panel.play.value = 1
    assert panel.moment.value == 1
    assert panel.record.step == 200


def test_marker_stands_where_the_curve_is(history):
    """G's loss is a line from the first record to the last, above the legend."""
    panel = scrub(history)
    pixels = []
    for moment in range(4):
        panel.moment.value = moment
        pixels.append(shown(panel.curves).astype(int))
    black = [np.flatnonzero((p == 0).all(2).mean(0) > 0.7) for p in pixels]
    frame = np.intersect1d(black[0], black[3])  # the sides of the axes
    middles = [np.setdiff1d(columns, frame).mean() for columns in black]
    np.testing.assert_allclose(np.diff(middles), np.diff(middles)[0], atol=1)
    plain = np.maximum(pixels[0], pixels[3])[: len(pixels[0]) // 2]  # without markers
    orange = (plain[..., 0] > 180) & (plain[..., 1] < 130) & (plain[..., 2] < 60)
    across = np.flatnonzero(orange.any(0))
    assert abs(middles[0] - across[0]) <= 3
    assert abs(middles[3] - across[-1]) <= 3


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda h: [], TypeError, r"write \[\(record, sample_images"),
        (lambda h: [record for record, _ in h], TypeError, "list of pairs"),
        (lambda h: iter(h), TypeError, "list_iterator, expected a list of pairs"),
        (lambda h: [*h, (h[0][0], h[0][1][:4])], ValueError, r"\(9, 1, 4, 4\), as in"),
        (lambda h: [(h[0][0], h[0][1].numpy())], TypeError, "as_tensor"),
    ],
)
def test_wrong_history_is_refused(history, spoil, error, words):
    with pytest.raises(error, match=words):
        scrub(spoil(history))


# --- frames


@pytest.fixture
def frames():
    made = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, 4, 6, generator=made) * 2 - 1 for _ in range(3)]


def test_flip_book_shows_the_frame_that_is_chosen(frames):
    book = flip(frames, ["a", "b", "c"], zoom=2)
    assert book.frame is frames[2]
    for i, name in enumerate("abc"):
        book.moment.value = i
        assert book.frame is frames[i]
        assert book.picture.value == png_bytes(frames[i], zoom=2)
        assert f"The picture of {name}." in book.words.value
    book.play.value = 1
    assert book.frame is frames[1]
    height, width, _ = shown(book.picture).shape
    assert book.picture.layout.width == f"{width}px"
    assert book.picture.layout.height == f"{height}px"
