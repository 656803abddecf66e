"""Pictures pixel by pixel, and axes that come back."""

import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from torch import nn

from ganlib.plots import (
    figure_image,
    png_bytes,
    save_animation,
    show_curves,
    show_images,
    tile_images,
)
from ganlib.training import Record


def plain(*grays, size=(2, 3)):
    """Images (N, 1, *size), each of one value in [-1, 1]."""
    return torch.tensor(grays).view(-1, 1, 1, 1).expand(-1, 1, *size)


def test_no_images_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match="there are no images at all"):
        tile_images(torch.zeros(0, 1, 28, 28))


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def record(step, d_loss=0.5, g_loss=1.5):
    return Record(step, 32 * step, 0.1, d_loss, g_loss, 0.6, 0.4, 0.7, nn.Identity())


# --- the grid


def test_grid_has_the_right_pixels_everywhere():
    picture = tile_images(plain(-1.0, 0.0, 0.5), columns=2)
    black, gray, light, white = 0.0, 0.5, 0.75, 1.0
    above = [black] * 3 + [white] + [gray] * 3
    below = [light] * 3 + [white] * 4  # the fourth place stays empty
    expected = torch.tensor([above, above, [white] * 7, below, below])
    assert torch.equal(picture, expected)


def test_grid_keeps_every_image_as_it_is():
    images = torch.rand(6, 1, 4, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture = tile_images(images, columns=3)
    for i, image in enumerate(images):
        top, left = 5 * (i // 3), 6 * (i % 3)
        part = picture[top : top + 4, left : left + 5]
        torch.testing.assert_close(part, (image[0] + 1) / 2)


@pytest.mark.parametrize(
    ("count", "columns", "shape"),
    [
        (1, None, (28, 28)),
        (16, None, (4 * 29 - 1, 4 * 29 - 1)),
        (10, None, (3 * 29 - 1, 4 * 29 - 1)),
        (10, 10, (28, 10 * 29 - 1)),
        (10, 1, (10 * 29 - 1, 28)),
        (2, 5, (28, 5 * 29 - 1)),
    ],
)
def test_grid_is_about_as_wide_as_high_unless_told(count, columns, shape):
    assert tile_images(torch.zeros(count, 1, 28, 28), columns).shape == shape


def test_grid_of_color_images_keeps_its_colors():
    red = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    picture = tile_images(red, columns=2)
    assert picture.shape == (2, 5, 3)
    assert picture[0, 0].tolist() == [1, 0, 0]
    assert picture[0, 2].tolist() == [1, 1, 1]  # between the two


def test_grid_is_cut_to_what_can_be_shown():
    assert tile_images(plain(-3.0, 5.0), columns=2)[0, [0, 4]].tolist() == [0, 1]


def test_grid_needs_no_detaching():
    assert not tile_images(torch.zeros(2, 1, 4, 4, requires_grad=True)).requires_grad


def test_grid_refuses_what_is_no_batch_of_images():
    with pytest.raises(ValueError, match=r"images.unsqueeze\(1\)"):
        tile_images(torch.zeros(2, 28, 28))


# --- axes


def test_images_are_drawn_into_the_given_axes(ax):
    assert show_images(plain(-1.0, 1.0), ax=ax) is ax
    assert len(ax.images) == 1


def test_images_are_drawn_as_they_are(ax):
    images = plain(-0.5, 0.5)
    drawn = show_images(images, columns=2, ax=ax).images[0]
    np.testing.assert_array_equal(drawn.get_array(), tile_images(images, 2))
    assert drawn.get_clim() == (0, 1)  # no stretching of what has little contrast
    assert drawn.get_cmap().name == "gray"


def test_images_have_no_axes_around_them(ax):
    assert not show_images(plain(0.0), ax=ax).axison


def test_images_get_their_title(ax):
    assert show_images(plain(0.0), title="fakes", ax=ax).get_title() == "fakes"


def test_images_get_axes_of_their_own_where_none_are_given(ax):
    own = show_images(plain(0.0))
    assert own is not ax
    assert len(own.images) == 1


def test_curves_are_drawn_into_the_given_axes(ax):
    assert show_curves([record(100), record(200)], ax) is ax


def test_curves_get_axes_of_their_own_where_none_are_given(ax):
    assert show_curves([record(100)]) is not ax


def test_curves_show_both_losses_over_the_images_seen(ax):
    show_curves([record(100, 0.5, 1.5), record(200, 0.6, 1.2)], ax)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["loss of D"].get_xdata() == pytest.approx([3.2, 6.4])  # thousands
    assert lines["loss of D"].get_ydata() == pytest.approx([0.5, 0.6])
    assert lines["loss of G"].get_ydata() == pytest.approx([1.5, 1.2])


def test_curves_have_a_line_at_log_2(ax):
    show_curves([record(100)], ax)
    heights = [line.get_ydata() for line in ax.lines]
    assert [math.log(2)] * 2 in [list(height) for height in heights]
    assert "log 2" in [text.get_text() for text in ax.texts]


def test_curves_start_at_zero_and_say_what_they_are(ax):
    show_curves([record(100, 3.0, 4.0)], ax)
    assert ax.get_ylim()[0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "real images seen (thousands)",
        "loss (nats)",
    )


# --- PNG


def decoded(content):
    return np.array(Image.open(io.BytesIO(content)))


def test_png_holds_the_pixels_of_the_grid():
    images = torch.rand(4, 1, 5, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = (tile_images(images) * 255).round().byte().numpy()
    np.testing.assert_array_equal(decoded(png_bytes(images)), expected)


def test_png_of_color_images_is_in_color():
    assert decoded(png_bytes(torch.zeros(1, 3, 5, 6))).shape == (5, 6, 3)


def test_png_repeats_every_pixel_when_zoomed():
    images = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = decoded(png_bytes(images)).repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(decoded(png_bytes(images, zoom=3)), expected)


def test_png_has_the_asked_columns():
    assert decoded(png_bytes(plain(0.0, 0.0, 0.0), columns=3)).shape == (2, 11)


# --- GIF


@pytest.fixture
def gif(tmp_path):
    frames = [plain(gray, -gray, size=(6, 8)) for gray in (-1.0, -0.5, 0.0, 0.5)]
    path = tmp_path / "walk.gif"
    assert save_animation(frames, path, columns=2, seconds=2.0, zoom=2) == path
    return Image.open(path)


def test_animation_has_a_frame_for_each_batch(gif):
    assert gif.n_frames == 4


def test_animation_has_the_size_of_the_zoomed_grid(gif):
    assert gif.size == (2 * 17, 2 * 6)


def test_animation_takes_the_asked_time_and_a_second_at_the_end(gif):
    times = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert times == [500, 500, 500, 1500]


def test_animation_goes_on_for_ever(gif):
    assert gif.info["loop"] == 0


def test_animation_shows_the_right_grays(gif):
    frames = [frame.convert("L") for frame in ImageSequence.Iterator(gif)]
    left = [frame.getpixel((3, 3)) for frame in frames]
    right = [frame.getpixel((30, 3)) for frame in frames]
    assert left == pytest.approx([0, 64, 128, 191], abs=3)
    assert right == pytest.approx([255, 191, 128, 64], abs=3)


def test_animation_of_digits_stays_small(tmp_path, digits):
    frames = [digits.images[i : i + 16] for i in range(0, 480, 16)]
    path = save_animation(frames, tmp_path / "digits.gif")
    assert path.stat().st_size < 300_000


def test_animation_of_nothing_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="no frames in this list, expected a list of batches"
    ):
        save_animation([], tmp_path / "empty.gif")


def test_animation_path_may_be_a_string(tmp_path):
    path = save_animation([plain(0.0)], str(tmp_path / "still.gif"))
    assert path == tmp_path / "still.gif"
    assert path.is_file()


def test_figure_becomes_an_image_with_its_own_pixels(tmp_path):
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().imshow([[0, 1]], cmap="viridis")
    image = figure_image(figure)
    assert image.shape == (1, 3, 50, 100)
    figure.savefig(tmp_path / "known.png")
    known = np.array(Image.open(tmp_path / "known.png").convert("RGB"))
    pixels = ((image[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    np.testing.assert_array_equal(pixels, known)
    assert plt.get_fignums() == []
