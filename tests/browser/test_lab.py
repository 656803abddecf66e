"""The sliders and films in JupyterLab: ``make lab``, a browser, and a kernel.

What the page shows is compared with what the kernel computes without the widgets.
"""

import base64
import io
import time
from functools import partial

import lab
import numpy as np
import pytest
import torch
from lab import eventually
from nbconvert import HTMLExporter
from PIL import Image

from ganlib.plots import film

CELLS = [
    """
import base64
import torch
from torch import nn
from ganlib.conditional import AskedFor, ConditionalGenerator
from ganlib.explorer import explore_latent
from ganlib.game import play_game
from ganlib.latent import draw, principal_directions, sample_noise
from ganlib.plots import film, png_bytes
from ganlib.toys import RING, sample_points
from ganlib.training import Record
from ganlib.translation import BothWays
from ganlib.widgets import compare, flip, scrub, translate


def small(seed):
    torch.manual_seed(seed)
    G = nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    nn.init.normal_(G[0].weight)
    G.latent_dim, G.image_shape = 5, (1, 8, 8)
    return G


def noise(seed, count=1):
    return torch.cat([sample_noise(1, 5, seed=seed + i) for i in range(count)])


G, G2 = small(1), small(2)
images = draw(G, noise(0, 30))
directions, _ = principal_directions(G, 5)""",
    "explorer = explore_latent(G, images=images)\nexplorer",
    "explorer.z = torch.full((1, 5), 0.5)",
    "pair = compare(G, G2)\npair",
    """
records = [Record(i, 64 * i, 1.0, 1 / i, 0.7, 0.8, 0.2, 0.9, G) for i in range(1, 7)]
history = [(record, images[record.step :][:4]) for record in records]
time_slider = scrub(history)
time_slider""",
    "book = flip(images[:3].split(1), ['a', 'b', 'c'], zoom=5)\nbook",
    """
conditional = ConditionalGenerator(5, (1, 8, 8), classes=3, size=2)
asked = explore_latent(conditional)
asked""",
    """
both = BothWays(nn.Tanh(), nn.Softsign())
ways = translate(both, images[:9], images[9:19])
ways""",
    "game = play_game({'ring': sample_points(RING, 500, seed=0)})\ngame",
    "film(images.split(1), alt='small images')",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory, chromium):
    """A page that shows JupyterLab; ``page.folder`` holds its notebooks."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "notebooks").mkdir()
    allowed = {"permissions": ["clipboard-read", "clipboard-write"]}
    with lab.make_lab(folder) as url, chromium.new_context(**allowed) as context:
        context.set_default_timeout(1000 * lab.PATIENCE)
        page = context.new_page()
        page.folder = folder / "notebooks"
        page.goto(url)
        page.wait_for_function("() => window.jupyterapp")
        yield page


@pytest.fixture(scope="module")
def small(page):
    lab.write_notebook(page.folder / "small.ipynb", *[(cell,) for cell in CELLS])
    notebook = lab.Notebook(page, "small.ipynb")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    return notebook


@pytest.fixture
def explorer(small):
    """The explorer with everything where it began."""
    explorer = lab.Widget(small, "explorer")
    small.run("explorer.play.playing, explorer.seed.value = False, 1")
    small.run("explorer.seed.value = 0\nexplorer.reset()")
    eventually(lambda: assert_shows(explorer, "noise(0)"))
    return explorer


def assert_shows(widget, z, number=0, G="G", zoom=10):
    """The picture is what G draws for z, an expression of Python."""
    assert_pixels(widget, f"draw({G}, {z})", number, zoom)


def assert_pixels(widget, images, number, zoom, columns=0):
    file = f"png_bytes({images}, zoom={zoom}, columns={columns})"
    expected = widget.notebook.run(f"print(base64.b64encode({file}).decode())")
    shown, expected = widget.pixels(number), lab.decoded(expected)
    assert shown.shape == expected.shape
    assert abs(shown - expected).max() <= 1, "the picture is another one"


def test_notebook_runs_from_top_to_bottom(small):
    cells = small.cells()
    counts = [cell["execution_count"] for cell in cells]
    assert counts == list(range(1, len(CELLS) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"execute_result"}
    assert set(outputs[-1]["data"]) == {"text/html", "image/png", "text/plain"}
    explorer = lab.Widget(small, "explorer")  # whose z a later cell has set
    eventually(lambda: assert_shows(explorer, "torch.full((1, 5), 0.5)"))
    explorer.says("The z that was set.")


def test_explorer_follows_the_keyboard(explorer):
    explorer.press("seed", "ArrowRight", 3)
    explorer.press("noise scale", "ArrowLeft", 2)
    explorer.press("direction 1", "ArrowRight", 4)
    explorer.click("single numbers of z")
    explorer.slider("direction 1").wait_for(state="hidden")
    explorer.press("z[0]", "ArrowLeft", 5)
    z = "0.9 * noise(3, {}) + 0.4 * directions[0] - 0.5 * torch.eye(5)[0]"
    eventually(lambda: assert_shows(explorer, z.format(1)))
    eventually(lambda: assert_shows(explorer, z.format(16), number=1, zoom=2))
    explorer.says(r"Seed 3, times 0.9, moved along .* z\[0\] by -0.5.")
    assert explorer.readout("seed") == 3
    assert explorer.slider("z[0]").bounding_box()["width"] > 300
    explorer.click("principal directions")
    explorer.click("start again")
    eventually(lambda: assert_shows(explorer, "noise(3)"))
    assert explorer.readout("direction 1") == 0


def test_a_burst_of_keys_never_blanks_the_screen_and_ends_right(explorer):
    corner = explorer.picture().bounding_box() | {"width": 80, "height": 80}
    for _ in range(10):
        explorer.press("seed", "ArrowRight", 10)
        shot = Image.open(io.BytesIO(explorer.page.screenshot(clip=corner)))
        assert np.array(shot.convert("L")).std() > 10
    eventually(lambda: assert_shows(explorer, "noise(100)"))


def test_walk_plays_and_pauses(explorer):
    explorer.play()
    explorer.says("Seed 0, [1-9]0% of the way to seed 1")
    explorer.play("pause")
    explorer.cell.locator("button:has(.fa-play)").wait_for()
    time.sleep(0.3)
    walked = explorer.readout("walk")
    eventually(lambda: assert_shows(explorer, "explorer.z"))
    time.sleep(0.3)
    assert explorer.readout("walk") == walked


def test_nearest_real_image_is_shown_when_asked_for(explorer):
    box = explorer.cell.get_by_label("nearest real image")
    explorer.picture(2).wait_for(state="hidden")
    box.check()
    explorer.press("seed", "ArrowRight", 2)
    explorer.says("Seed 2. Nearest real .* at distance 0.0")
    eventually(lambda: assert_shows(explorer, "noise(2)", number=2, zoom=2))
    box.uncheck()
    explorer.picture(2).wait_for(state="hidden")


def test_buttons_ask_for_a_label_and_morph(small):
    asked = lab.Widget(small, "asked")
    for group, button in (("ask for", "2"), ("toward", "1")):
        row = asked.cell.locator(".widget-toggle-buttons", has_text=group)
        button = row.get_by_role("button", name=button, exact=True)
        button.click()
        assert button.evaluate("button => button.scrollWidth <= button.clientWidth")
    asked.press("morph", "ArrowRight", 5)
    asked.says("Asked for a 2, 25% of the way to a 1. Seed 0.")
    G = "AskedFor(conditional, torch.tensor([0, 0.25, 0.75]))"
    eventually(lambda: assert_shows(asked, "noise(0)", G=G))


def test_translation_follows_the_keyboard(small):
    ways = lab.Widget(small, "ways")
    ways.press("image", "ArrowRight", 2)
    ways.press("strength", "ArrowLeft", 10)
    half = "(images[{0}:{1}] + both.{2}(images[{0}:{1}])) / 2"
    for number, places in enumerate([(2, 3, "to_b", "to_a"), (11, 12, "to_a", "to_b")]):
        first, between = "images[{}:{}]".format(*places), half.format(*places)
        strip = f"torch.cat([{first}, {between}, both.{places[3]}({between})])"
        eventually(partial(assert_pixels, ways, strip, number, 4, columns=3))
    ways.says("Mean error of the round trip: 0.")


def test_game_is_stepped_by_buttons_and_plays(small):
    game = lab.Widget(small, "game")
    game.click("D")
    game.says("1 steps of D, 0 of G")
    game.press("learning rate of G", "ArrowRight", 4)
    game.click("one round")
    game.says("2 steps of D, 1 of G")
    assert small.run("print(f'{game.lr_g.value:.3f}')") == "0.010\n"
    in_kernel = "print(base64.b64encode(game.picture.value).decode())"
    assert (game.pixels() == lab.decoded(small.run(in_kernel))).all()
    cut = "buttons => buttons.filter(b => b.scrollWidth > b.clientWidth).length"
    assert game.cell.get_by_role("button").evaluate_all(cut) == 0
    game.play()
    game.says("[1-9][0-9]+ steps of D")
    game.click("start again")
    game.cell.locator("button:has(.fa-play)").wait_for()
    game.says("0 steps of D, 0 of G")


def test_no_question_about_news(page):  # that would be a learner's first sight
    plugin = "jupyterapp.hasPlugin('@jupyterlab/apputils-extension:{}')"
    assert page.evaluate(plugin.format("notification"))
    assert not page.evaluate(plugin.format("announcements"))


def test_copied_z_is_the_one_shown(explorer):
    explorer.press("seed", "ArrowRight", 4)
    eventually(lambda: assert_shows(explorer, "noise(4)"))
    explorer.click("copy z")
    explorer.cell.get_by_role("button", name="copied").wait_for()
    line = explorer.page.evaluate("() => navigator.clipboard.readText()")
    same = f"{line}\nprint(torch.equal(z, explorer.z))"
    assert explorer.notebook.run(same) == "True\n"


def test_failed_drawing_is_said_and_stops_play(explorer):
    fail = "def fail(*_): raise RuntimeError('no more <ink>')\n"
    explorer.play()
    explorer.cell.locator("button:has(.fa-pause)").wait_for()
    explorer.notebook.run(f"{fail}handle = G.register_forward_pre_hook(fail)")
    explorer.says("The image could not be drawn: no more <ink>")
    explorer.cell.locator("button:has(.fa-play)").wait_for()
    explorer.notebook.run("handle.remove()")
    explorer.press("seed", "ArrowRight")
    explorer.says("Seed ")


def test_comparison_time_slider_and_flip_book_follow_the_keyboard(small):
    pair = lab.Widget(small, "pair")
    pair.press("seed", "ArrowRight", 3)
    eventually(lambda: assert_shows(pair, "noise(3, 16)", 0, "G", 3))
    eventually(lambda: assert_shows(pair, "noise(3, 16)", 1, "G2", 3))
    scrubber = lab.Widget(small, "time_slider")
    before = scrubber.pixels(1)
    scrubber.press("time", "ArrowLeft", 2)
    eventually(lambda: assert_pixels(scrubber, "images[4:8]", 0, 3))
    scrubber.says("Step 4:")
    assert (scrubber.pixels(1) != before).any()  # the marker in the curves
    scrubber.play()  # it ends by itself
    scrubber.says("Step 6:")
    book = lab.Widget(small, "book")
    book.press("time", "ArrowLeft")
    eventually(lambda: assert_pixels(book, "images[1:2]", 0, 5))
    book.says("This frame: b.")


def test_film_of_a_stored_notebook_moves_although_nobody_trusts_it(page):
    frames, seen = [torch.full((1, 1, 8, 8), gray) for gray in (-1.0, 1.0)], []
    made = film(frames, seconds=0.4, zoom=5, alt="black and white")
    file = page.folder / "stored.ipynb"
    lab.write_notebook(file, ("film()", made._repr_mimebundle_()))
    cell = lab.Notebook(page, file.name).show("film()")
    image = cell.get_by_role("img", name="black and white")

    def both():
        shot = Image.open(io.BytesIO(image.screenshot())).convert("L")
        seen.append(np.array(shot).mean())
        assert min(seen) < 50 < 200 < max(seen), seen

    eventually(both, 10)
    assert image.bounding_box()["width"] == 40
    html, _ = HTMLExporter().from_filename(str(file))
    assert base64.b64encode(made.gif).decode() in html
