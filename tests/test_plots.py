"""Images pixel by pixel, axes that come back, and films."""

import base64
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from torch import nn

from ganlib import plots
from ganlib.toys import GRID
from ganlib.training import Record


@pytest.fixture
def ax():
    yield plt.figure().subplots()
    plt.close("all")


def plain(*grays, size=(2, 3)):
    """Images (N, 1, *size), each of one value in [-1, 1]."""
    return torch.tensor(grays).view(-1, 1, 1, 1).expand(-1, 1, *size)


def decoded(content):
    return np.array(Image.open(io.BytesIO(content)))


def in_bytes(grid):
    return (grid * 255).round().byte().numpy()


# --- the grid


def test_grid_has_the_right_pixels_everywhere():
    grid = plots.tile_images(plain(-3.0, 0.0, 0.5), columns=2)
    black, gray, light, white = 0.0, 0.5, 0.75, 1.0
    above = [black] * 3 + [white] + [gray] * 3
    below = [light] * 3 + [white] * 4  # the fourth place stays empty
    assert torch.equal(grid, torch.tensor([above, above, [white] * 7, below, below]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_grid_keeps_every_image_in_its_colors(dtype):
    images = torch.linspace(-1, 1, 360).view(6, 3, 4, 5).to(dtype).requires_grad_()
    grid = plots.tile_images(images, columns=3)
    assert (grid.dtype, grid.requires_grad) == (torch.float32, False)
    for i, image in enumerate(images.detach().float()):
        top, left = 5 * (i // 3), 6 * (i % 3)
        part = grid[top : top + 4, left : left + 5].permute(2, 0, 1)
        torch.testing.assert_close(part, (image + 1) / 2, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("count", "columns", "rows_and_columns"),
    [(1, None, (1, 1)), (10, None, (3, 4)), (10, 1, (10, 1)), (2, 5, (1, 5))],
)
def test_grid_is_about_as_wide_as_high_unless_told(count, columns, rows_and_columns):
    shape = tuple(29 * places - 1 for places in rows_and_columns)
    assert plots.tile_images(torch.zeros(count, 1, 28, 28), columns).shape == shape


# --- axes


def test_images_are_drawn_as_they_are(ax):
    images = plain(-0.5, 0.5)
    assert plots.show_images(images, columns=2, title="fakes", ax=ax) is ax
    assert (ax.get_title(), ax.axison) == ("fakes", False)
    (drawn,) = ax.images
    np.testing.assert_array_equal(drawn.get_array(), plots.tile_images(images, 2))
    assert drawn.get_clim() == (0, 1)  # no stretching of what has little contrast
    assert (drawn.get_cmap().name, drawn.get_interpolation()) == ("gray", "nearest")


def test_images_get_a_figure_of_their_own_that_fits_them():
    small = plots.show_images(plain(0.0, size=(28, 28))).figure
    assert small.get_size_inches() == pytest.approx([2.5, 2.5])
    wide = plots.show_images(torch.zeros(9, 1, 28, 28), columns=9, title="many").figure
    assert wide.get_size_inches() == pytest.approx([6.5, 0.7 + 0.3])


def record(step, d_loss, g_loss, d_real=0.6):
    return Record(step, 32 * step, 0.1, d_loss, g_loss, d_real, 0.4, 0.7, nn.Identity())


def test_curves_show_both_losses_and_log_2(ax):
    assert plots.show_curves([record(100, 0.5, 1.5), record(200, 0.6, 1.2)], ax) is ax
    losses = [line.get_xydata() for line in ax.lines[:2]]
    expected = [[[3.2, 0.5], [6.4, 0.6]], [[3.2, 1.5], [6.4, 1.2]]]  # over thousands
    np.testing.assert_allclose(losses, expected)
    assert list(ax.lines[2].get_ydata()) == [math.log(2)] * 2
    legend = [text.get_text() for text in (*ax.get_legend().texts, *ax.texts)]
    assert legend == ["loss of D", "loss of G", "log 2"]
    assert ax.get_ylabel() == "loss (nats)"
    assert ax.get_ylim()[0] > 0.4  # no empty half below
    assert ax.get_xlabel() == "real images seen (thousands)"


def test_curves_without_probabilities_show_losses_below_zero_and_no_log_2():
    records = [record(100, -3.0, 0.5, math.nan), record(200, 0.2, -1.2, math.nan)]
    ax = plots.show_curves(records)
    assert (len(ax.lines), len(ax.texts), ax.get_ylabel()) == (2, 0, "loss")
    assert ax.get_ylim()[0] < -3


def test_points_are_drawn_over_circles_around_the_modes(ax):
    points = torch.tensor([[4.0, 2.0], [-1.0, 0.5]], requires_grad=True)
    assert plots.show_points(points, GRID, title="G", ax=ax) is ax
    circles, dots = (line.get_xydata() for line in ax.lines)
    np.testing.assert_allclose(circles, GRID.centers)
    np.testing.assert_allclose(dots, points.detach())
    assert ax.lines[0].get_fillstyle() == "none"
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((-5.2, 5.2) * 2)
    assert (ax.get_aspect(), ax.get_title(), len(ax.get_xticks())) == (1, "G", 0)


def test_figure_becomes_an_image_with_its_own_pixels():
    figure, known = Figure(figsize=(2, 1), dpi=50), io.BytesIO()
    figure.subplots().imshow([[0, 1]], cmap="viridis")
    (image,) = plots.figure_image(figure)
    figure.savefig(known)
    pixels = in_bytes((image.permute(1, 2, 0) + 1) / 2)
    np.testing.assert_array_equal(pixels, decoded(known.getvalue())[..., :3])


# --- PNG and GIF


def test_png_holds_the_pixels_of_the_grid_enlarged():
    images = torch.linspace(-1, 1, 90).view(3, 1, 5, 6)
    expected = in_bytes(plots.tile_images(images, 3)).repeat(3, 0).repeat(3, 1)
    found = decoded(plots.png_bytes(images, columns=3, zoom=3))
    np.testing.assert_array_equal(found, expected)


def test_film_shows_each_frame_for_its_time_and_ends_with_the_still():
    frames = [plain(gray, -gray, size=(6, 8)) for gray in (-1.0, -0.5, 0.0, 0.5)]
    made = plots.film(frames, columns=2, seconds=2.0, zoom=2, alt="two grays")
    gif = Image.open(io.BytesIO(made.gif))
    assert (gif.format, gif.size, made.width) == ("GIF", (2 * 17, 2 * 6), 34)
    assert gif.info["loop"] == 0  # for ever
    shown = [(f.info["duration"], f.convert("L")) for f in ImageSequence.Iterator(gif)]
    assert [time for time, _ in shown] == [500, 500, 500, 1500]
    for place, grays in (((3, 3), [0, 64, 128, 191]), ((30, 3), [255, 191, 128, 64])):
        found = [frame.getpixel(place) for _, frame in shown]
        assert found == pytest.approx(grays, abs=3)
    assert made.still == plots.png_bytes(frames[-1], columns=2, zoom=2)


def test_notebook_gets_the_film_and_a_still_for_viewers_without_html():
    frames, alt = [plain(-1.0), plain(1.0)], 'a "walk" & <more>'
    made = plots.film(frames, seconds=0.01, alt=alt, width=342)
    with Image.open(io.BytesIO(made.gif)) as opened:
        assert opened.info["duration"] == 20  # ms; less is ignored
    gif, still = (base64.b64encode(file).decode() for file in (made.gif, made.still))
    assert DisplayFormatter().format(made)[0] == {
        "text/html": f'<img src="data:image/gif;base64,{gif}" '
        'alt="a &quot;walk&quot; &amp; &lt;more&gt;" width="342">',
        "image/png": still,
        "text/plain": f"Film(alt={alt!r}, width=342)",
    }


# --- the plane


def test_field_and_sheet_are_where_the_networks_put_them(ax):
    def D(points):
        return 10 * points[:, 1]  # up is real

    plots.show_field(D, 2.0, ax)
    (image,) = ax.images
    bottom, top = image.get_array()[[0, -1]].mean(1)  # row 0 is drawn at the bottom
    assert (image.origin, image.get_extent()) == ("lower", [-2, 2, -2, 2])
    assert bottom < 1e-3
    assert top > 1 - 1e-3

    def G(z):
        return z * torch.tensor([1.0, 3.0])

    plots.show_sheet(G, ax, reach=1.0, lines=3)
    ends = {tuple(np.stack(line.get_data())[:, [0, -1]].flatten()) for line in ax.lines}
    upright = {(x, x, -3, 3) for x in (-1, 0, 1)}
    assert ends == upright | {(-1, 1, y, y) for y in (-3, 0, 3)}
