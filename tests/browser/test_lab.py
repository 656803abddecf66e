"""The sliders in JupyterLab: the server of ``make lab``, a browser, and a kernel.

What the page shows is compared with what the kernel computes without the widgets.
"""

import base64
import io
import itertools
import re
import shutil
import time

import numpy as np
import pytest
from lab import PATIENCE, ROOT, WIDGET, Notebook, eventually, make_lab
from PIL import Image

NOTEBOOK_05 = "05_visualization.ipynb"
WITH_SLIDERS = [  # the others; all of them, as they lie in the repository
    path.name
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    if WIDGET in path.read_text("utf-8") and path.name != NOTEBOOK_05
]

# Run in the kernel. Nothing here asks the explorer to draw: z comes from what its
# sliders say and from the formulas, the pixels from G.
EXPECTED = """
def expected_explorer(explorer, G, known={}):
    import math, torch
    from ganlib.latent import draw, principal_directions

    def noise(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(1, G.latent_dim, generator=generator).double()

    if not known:
        directions, _ = principal_directions(G, min(8, G.latent_dim))
        known.update({f"direction {i}": v for i, v in enumerate(directions, 1)})
        known.update({f"z[{i}]": v for i, v in enumerate(torch.eye(G.latent_dim))})

    share, seed = math.modf(explorer.seed.value + explorer.walk.value)
    start, end = noise(int(seed)), noise(int(seed) + 1)
    angle = math.acos((start * end).sum() / start.norm() / end.norm())
    z = math.sin((1 - share) * angle) * start + math.sin(share * angle) * end
    z = explorer.scale.value * z / math.sin(angle)
    for name, slider in explorer.moves.items():
        z = z + slider.value * known[name]

    sliders = [explorer.seed, explorer.walk, explorer.scale, *explorer.moves.values()]
    return {
        "sliders": {slider.description: slider.value for slider in sliders},
        "z of the sliders": z[0].tolist(),
        "z": explorer.z[0].tolist(),
        "picture": expected_picture(draw(G, explorer.z)),
    }


def expected_picture(images, columns=1):
    import base64, torch

    grays = ((images[:, 0].cpu() + 1) / 2 * 255).round().byte()
    height, width = grays.shape[1:]
    rows = len(grays) // columns
    tiled = torch.full((rows * (height + 1), columns * (width + 1)), 255).byte()
    for i, gray in enumerate(grays):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        tiled[top : top + height, left : left + width] = gray
    tiled = tiled[:-1, :-1]
    return [*tiled.shape, base64.b64encode(tiled.numpy().tobytes()).decode()]
"""

SMALL = (
    """
import torch
from torch import nn

from ganlib.records import Record
from ganlib.widgets import compare, explore_latent, scrub


class Small(nn.Module):
    latent_dim, image_shape = 5, (1, 8, 8)

    def __init__(self, seed):
        super().__init__()
        self.layer = nn.Linear(5, 64)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.layer.weight, generator=generator)

    def forward(self, z):
        return self.layer(z).tanh().view(-1, 1, 8, 8)


G, G2 = Small(1), Small(2)
""",
    "comparison = compare(G, G2, names=('one', 'two'))\ncomparison",
    """
history = []
for i in range(1, 7):
    losses = 1 / i, 0.7 + i / 10, 0.9 - i / 20, i / 20, 0.8
    record = Record(100 * i, 12_800 * i, 1.0 * i, *losses, G)
    history.append((record, torch.full((4, 1, 8, 8), i / 6)))
scrubber = scrub(history)
scrubber
""",
    "explorer = explore_latent(G)\nexplorer",
    "explorer.z = torch.full((1, 5), 0.5)",
    # A slider that nothing follows: the kernel knows its value, and z stays.
    "deaf = explore_latent(G)\ndeaf.seed.unobserve_all('value')\ndeaf",
    # A picture that is drawn, but elsewhere: z is right, and the page shows an old one.
    """
from ipywidgets import Image

stale = explore_latent(G)
stale.picture = Image()
stale
""",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium):
    if shutil.which("make") is None:
        pytest.skip("there is no make here, which starts JupyterLab")
    with make_lab(tmp_path_factory.mktemp("course")) as server:
        yield server


@pytest.fixture(scope="module")
def open_page(chromium, server):
    """A function that opens a notebook in a page of its own, with a fresh kernel."""
    opened = []

    def open_page(name):
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        opened.append((context, name))
        context.set_default_timeout(1000 * PATIENCE)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        return Notebook(context.new_page(), server).open(name)

    yield open_page
    for context, name in opened:
        context.close()
        server.shut_down(name)


@pytest.fixture(scope="module")
def notebook_05(open_page):
    notebook = open_page(NOTEBOOK_05)
    notebook.run_all()
    notebook.run(EXPECTED)
    return notebook


@pytest.fixture(scope="module")
def small(open_page, server):
    notebook = open_page(server.write("small.ipynb", *SMALL))
    notebook.run_all()
    notebook.run(EXPECTED)
    return notebook


@pytest.fixture
def explorer(notebook_05):
    """The explorer of notebook 05, with everything where it began."""
    explorer = at_the_beginning(notebook_05.widget("explorer"))
    explorer.click("principal directions")
    explorer.cell.get_by_label("nearest real image").uncheck()
    return explorer


def at_the_beginning(widget):
    begin = "explorer.play.playing, explorer.seed.value = False, 0"
    widget.notebook.run(f"{begin}\nexplorer.reset()")
    eventually(lambda: assert_explorer_is_right(widget))
    return widget


def assert_explorer_is_right(widget, name="explorer", **sliders):
    """What is seen is what the sliders say, and ``sliders`` is what some should say."""
    expected = widget.notebook.value(f"expected_explorer({name}, G)")
    seen = widget.readouts()
    assert seen == pytest.approx(expected["sliders"], abs=0.006)
    for words, value in sliders.items():
        assert seen[label_of(words, seen)] == pytest.approx(value)
    z = pytest.approx(expected["z of the sliders"], abs=1e-4)
    assert expected["z"] == z, "z is not what the sliders say"
    assert_shows(widget.pixels(), expected["picture"])
    place = int(seen["seed"] + seen["walk (seeds)"] + 1e-9)
    assert re.match(rf"Seed {place}\b", widget.status()), widget.status()


def label_of(words, labels):
    """The label that begins with these words: "walk" is "walk (seeds)"."""
    (found,) = [label for label in labels if label.split(" (")[0].startswith(words)]
    return found


def assert_shows(shown, picture):
    """The pixels are those of the picture, enlarged; one batch rounds like another."""
    height, width, text = picture
    drawn = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)
    zoom = shown.shape[1] // width
    expected = drawn.repeat(zoom, 0).repeat(zoom, 1)[..., None].astype(int)
    assert shown.shape == (zoom * height, zoom * width, 3)
    assert abs(shown - expected).max() <= 1, "the picture is another one"


def assert_says(widget, words):
    assert words in widget.status(), widget.status()


def assert_rests(read):
    """Twice the same, with time in between."""
    before = read()
    time.sleep(1)
    assert read() == before


# --- notebook 05: from top to bottom


def test_notebook_05_runs_without_errors_and_in_order(notebook_05):
    notebook_05.assert_all_ran()


def test_its_explorer_is_alive(explorer):
    assert explorer.slider("seed").is_visible()
    explorer.slider("z[0]").wait_for(state="hidden")


# --- its explorer, by keyboard and mouse


def test_seed_follows_the_arrow_keys(explorer):
    with explorer.watched() as seen:
        explorer.press("seed", "ArrowRight", 3)
        eventually(lambda: assert_explorer_is_right(explorer, seed=3))
    assert seen["loads"] >= 1
    explorer.press("seed", "ArrowLeft")
    eventually(lambda: assert_explorer_is_right(explorer, seed=2))


def test_direction_follows_the_arrow_keys(explorer):
    explorer.press("direction 1", "ArrowRight", 4)
    moved = {"direction 1": 0.4}
    eventually(lambda: assert_explorer_is_right(explorer, seed=0, **moved))
    eventually(lambda: assert_says(explorer, "moved along direction 1 by +0.4."))
    explorer.press("walk (seeds)", "ArrowRight", 2)
    eventually(lambda: assert_explorer_is_right(explorer, walk=0.1, **moved))


def test_scale_follows_the_mouse(explorer):
    with explorer.watched():
        explorer.drag("noise scale", 40)
        eventually(lambda: assert_explorer_is_right(explorer))
    assert 1 < explorer.readouts()["noise scale"] <= 2


def test_single_numbers_lie_behind_a_button(explorer):
    explorer.click("single numbers of z")
    explorer.slider("z[0]").wait_for()
    explorer.slider("direction 1").wait_for(state="hidden")
    explorer.press("z[0]", "ArrowLeft", 5)
    eventually(lambda: assert_explorer_is_right(explorer, **{"z[0]": -0.5}))
    explorer.click("principal directions")
    explorer.slider("direction 1").wait_for()
    explorer.slider("z[0]").wait_for(state="hidden")


def test_nearest_real_image_comes_and_goes(explorer):
    box = explorer.cell.get_by_label("nearest real image")
    distances = "(data.images - G(explorer.z)).flatten(1).norm(dim=1)"
    nearest = f"expected_picture(data.images[{distances}.argmin().view(1)])"
    explorer.picture(2).wait_for(state="hidden")
    box.check()
    explorer.press("seed", "ArrowRight", 1)
    eventually(lambda: assert_explorer_is_right(explorer, seed=1))
    picture = explorer.notebook.value(nearest)
    eventually(lambda: assert_shows(explorer.pixels(2), picture))
    eventually(lambda: assert_says(explorer, "Nearest real image:"))
    box.uncheck()
    explorer.picture(2).wait_for(state="hidden")

    def assert_silent():
        assert "Nearest" not in explorer.status()

    eventually(assert_silent)


def test_walk_plays_and_pauses(explorer):
    explorer.notebook.run("explorer.play.repeat = True")  # for machines of any speed
    seen = set()

    def several_pictures():
        seen.add(explorer.pixels().tobytes())
        assert len(seen) > 4

    with explorer.watched():
        explorer.cell.locator("button:has(.fa-play)").click()
        eventually(several_pictures)
        explorer.cell.locator("button:has(.fa-pause)").click()
        eventually(lambda: assert_rests(explorer.readouts))
        eventually(lambda: assert_explorer_is_right(explorer, seed=0))
    explorer.notebook.run("explorer.play.repeat = False")


def test_start_again_keeps_the_seed_only(explorer):
    explorer.press("seed", "ArrowRight", 2)
    explorer.press("direction 2", "ArrowRight", 3)
    explorer.press("noise scale", "ArrowLeft", 3)
    explorer.press("walk (seeds)", "ArrowRight", 3)
    moved = {"direction 2": 0.3, "noise scale": 0.85, "walk": 0.15}
    eventually(lambda: assert_explorer_is_right(explorer, seed=2, **moved))
    explorer.click("start again")
    begun = dict(zip(moved, (0, 1, 0), strict=True))
    eventually(lambda: assert_explorer_is_right(explorer, seed=2, **begun))


def test_copied_z_is_code_for_the_z_that_is_shown(explorer):
    explorer.press("seed", "ArrowRight", 5)
    eventually(lambda: assert_explorer_is_right(explorer, seed=5))
    eventually(lambda: assert_rests(explorer.cell.inner_html))  # the button, too
    explorer.click("copy z")
    explorer.cell.get_by_role("button", name="copied").wait_for()
    text = explorer.page.evaluate("() => navigator.clipboard.readText()")
    assert explorer.notebook.value(
        f"(space := dict(torch=torch), exec({text!r}, space), "
        "torch.allclose(space['z'], explorer.z, atol=1e-6))[-1]"
    )


def test_saved_picture_lies_beside_the_notebook(explorer):
    explorer.press("seed", "ArrowRight", 4)
    eventually(lambda: assert_explorer_is_right(explorer, seed=4))
    explorer.click("save picture")

    def saved():
        name = re.match(r"Saved as (explorer_seed_4_\d+\.png)", explorer.status())
        assert name, explorer.status()
        return explorer.notebook.server.folder / name[1]

    picture = np.array(Image.open(eventually(saved)).convert("RGB"))
    np.testing.assert_array_equal(picture, explorer.pixels())


def test_burst_of_keys_ends_in_the_right_picture(explorer):
    with explorer.watched() as seen:
        explorer.press("seed", "ArrowRight", 100)
        eventually(lambda: assert_explorer_is_right(explorer, seed=100))
    assert seen["loads"] > 1


def test_picture_is_never_blank_on_the_screen(explorer):
    """The corners of a digit are black, and the page behind it is white."""
    explorer.picture().scroll_into_view_if_needed()
    corner = explorer.picture().bounding_box() | {"width": 20, "height": 20}
    for _ in range(10):
        explorer.press("seed", "ArrowRight", 3)
        shot = Image.open(io.BytesIO(explorer.page.screenshot(clip=corner)))
        assert np.array(shot.convert("L")).mean() < 128
    eventually(lambda: assert_explorer_is_right(explorer, seed=30))


# --- a small notebook: two generators, a history, and z set by code


def test_comparison_follows_the_keyboard(small):
    comparison = small.widget("comparison")

    def assert_both(seed):
        noise = f"torch.cat([sample_noise(1, 5, seed={seed} + i) for i in range(16)])"
        small.run("from ganlib.latent import draw, sample_noise")
        for number, G in enumerate(("G", "G2")):
            picture = small.value(f"expected_picture(draw({G}, {noise}), columns=4)")
            assert_shows(comparison.pixels(number), picture)

    eventually(lambda: assert_both(0))
    with comparison.watched(0), comparison.watched(1):
        comparison.press("seed", "ArrowRight", 3)
        eventually(lambda: assert_both(3))
    eventually(lambda: assert_says(comparison, "seeds 3 to 18"))


def test_time_slider_moves_pictures_and_curves(small):
    scrubber = small.widget("scrubber")

    def curves_of(index):
        """Return the curves as soon as all else shows this moment, too."""
        picture = small.value(f"expected_picture(history[{index}][1], columns=2)")
        assert_shows(scrubber.pixels(0), picture)
        assert scrubber.status().startswith(f"Step {100 * (index + 1)}:")
        return scrubber.pixels(1).astype(int)

    curves = {5: eventually(lambda: curves_of(5))}
    with scrubber.watched(0), scrubber.watched(1):
        for index, keys in ((4, 1), (2, 2)):
            scrubber.press("time", "ArrowLeft", keys)
            curves[index] = eventually(lambda index=index: curves_of(index))

    # the records are equally far apart, and so are the lines that mark them
    lines = [
        line_in(curves[this], curves[other]) for this, other in ((5, 4), (4, 2), (2, 4))
    ]
    assert lines[0] > lines[1] > lines[2]
    assert lines[1] - lines[2] == pytest.approx(2 * (lines[0] - lines[1]), abs=2)

    scrubber.cell.locator("button:has(.fa-play)").click()  # it ends by itself
    np.testing.assert_array_equal(eventually(lambda: curves_of(5)), curves[5])


def line_in(curves, others):
    """Return the column where these curves have a black line, and the others none."""
    darker = ((curves == 0) & (others > 0)).any(2).mean(0)
    columns = np.flatnonzero(darker > 0.5)
    assert 1 <= len(columns) <= 3, columns
    return columns.mean()


def test_z_set_in_a_later_cell_moves_the_picture(small):
    explorer = at_the_beginning(small.widget("explorer"))
    later = next(
        index
        for index, cell in enumerate(small.cells())
        if cell["source"].startswith("explorer.z =")
    )
    picture = small.value("expected_picture(G(torch.full((1, 5), 0.5)))")
    with pytest.raises(AssertionError, match="another one"):
        assert_shows(explorer.pixels(), picture)
    small.run_cell(later)
    eventually(lambda: assert_shows(explorer.pixels(), picture))
    eventually(lambda: assert_says(explorer, "The z that was set."))
    explorer.press("seed", "ArrowRight")
    eventually(lambda: assert_explorer_is_right(explorer, seed=1))


# --- what goes wrong is seen: by the learner, and by these tests


@pytest.fixture
def out_of_ink(small):
    """A function that lets all drawing fail, until the test is over."""
    fail = "def fail(*_): raise RuntimeError('no more <ink>')\n"

    def out_of_ink():
        small.run(f"{fail}handle = G.register_forward_pre_hook(fail)")

    yield out_of_ink
    small.run("handle.remove()")


SORRY = "The picture could not be drawn: no more <ink>"


def test_failed_drawing_is_said_under_the_picture(small, out_of_ink):
    explorer = at_the_beginning(small.widget("explorer"))
    out_of_ink()
    explorer.press("seed", "ArrowRight")
    eventually(lambda: assert_says(explorer, SORRY))
    small.run("handle.remove()")
    explorer.press("seed", "ArrowRight")
    eventually(lambda: assert_explorer_is_right(explorer, seed=2))


def test_failed_drawing_stops_play(small, out_of_ink):
    explorer = at_the_beginning(small.widget("explorer"))
    small.run("explorer.play.repeat = True")
    explorer.cell.locator("button:has(.fa-play)").click()
    explorer.cell.locator("button:has(.fa-pause)").wait_for()
    out_of_ink()
    explorer.cell.locator("button:has(.fa-play)").wait_for()
    eventually(lambda: assert_rests(explorer.readouts))
    eventually(lambda: assert_says(explorer, SORRY))
    assert small.value("explorer.play.playing") is False
    small.run("explorer.play.repeat = False")


@pytest.mark.parametrize(
    ("name", "caught"),
    [
        ("deaf", "z is not what the sliders say"),
        ("stale", "the picture is another one"),
    ],
)
def test_frozen_widget_is_caught(small, name, caught):
    frozen = small.widget(name)
    eventually(lambda: assert_explorer_is_right(frozen, name, seed=0))
    frozen.press("seed", "ArrowRight", 2)
    with pytest.raises(AssertionError, match=caught):
        eventually(lambda: assert_explorer_is_right(frozen, name, seed=2), seconds=5)


def test_picture_that_is_taken_away_is_caught(small):
    comparison = small.widget("comparison")
    with pytest.raises(AssertionError, match="taken away"), comparison.watched():
        comparison.picture().evaluate(
            "img => { const place = img.parentNode; img.remove(); place.append(img); }"
        )


def test_picture_that_is_emptied_is_caught(small):
    comparison = small.widget("comparison")
    small.run("kept = comparison.pictures[0].value")

    def assert_empty():
        broken = "img => img.complete && !img.naturalWidth"
        assert comparison.picture().evaluate(broken)

    def empty():
        small.run("comparison.pictures[0].value = b''")
        eventually(assert_empty)

    with pytest.raises(AssertionError, match="gone for a while"), comparison.watched():
        empty()
    small.run("comparison.pictures[0].value = kept")
    eventually(comparison.pixels)


def test_raising_cell_is_caught(open_page, server):
    cells = "before = 1", "1 / 0", "after = 2"
    notebook = open_page(server.write("raising.ipynb", *cells))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        notebook.run_all()


# --- last, since its kernel ends here: notebook 05, opened again


def test_without_its_kernel_a_figure_stands_before_each_widget(
    notebook_05, open_page, server
):
    notebook_05.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    server.shut_down(NOTEBOOK_05)
    assert_a_figure_stands_before_each_widget(open_page(NOTEBOOK_05))


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_as_stored_a_figure_stands_before_each_widget(open_page, name):
    assert_a_figure_stands_before_each_widget(open_page(name))


def assert_a_figure_stands_before_each_widget(notebook):
    """In a notebook whose kernel has run nothing, so that its sliders are dead."""
    code = [(i, c) for i, c in enumerate(notebook.cells()) if c["cell_type"] == "code"]
    pairs = [(a, b) for a, b in itertools.pairwise(code) if has_output(b[1], WIDGET)]
    assert pairs
    for (before, cell), (widget, _) in pairs:
        assert has_output(cell, "image/png"), f"no figure before cell {widget}"
        figure = notebook.show(before).locator(".jp-OutputArea-output img").first
        figure.wait_for()
        assert figure.evaluate("img => img.decode().then(() => img.naturalWidth)") > 0
        assert notebook.show(widget).locator(".widget-slider").count() == 0


def has_output(cell, kind):
    return any(kind in output.get("data", {}) for output in cell["outputs"])
