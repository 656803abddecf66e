"""The explorer as one HTML file, in a real browser: the same numbers as torch."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tab_through, unreadable
from PIL import Image
from torch import nn

from ganlib.conditional import AskedFor, ConditionalGenerator
from ganlib.latent import draw, principal_directions, sample_noise, slerp
from ganlib.models import Generator

sys.path.insert(0, str(Path(__file__).parents[2] / "site"))

from explorer_page import write_explorer

SEEDS = list(range(30))


@torch.no_grad()
def as_if_trained(G):
    """Give G weights, statistics of BatchNorm, and images with contrast; seeded."""
    random = torch.Generator().manual_seed(5)
    for values in G.parameters():
        spread = (0, 2 / math.sqrt(values.shape[1])) if values.ndim == 2 else (0.5, 0.5)
        values.normal_(*spread, generator=random)
    for _ in range(20):
        G.train()(torch.randn(64, G.latent_dim, generator=random))
    return G


def small_color():
    """Other sizes, slopes and layers: 5 numbers → color images of 8 × 8 pixels."""
    first = nn.Linear(5, 7, bias=False), nn.BatchNorm1d(7, eps=0.1), nn.LeakyReLU(0.1)
    second = nn.Linear(7, 33), nn.LeakyReLU(0.3), nn.Linear(33, 192)
    end = nn.BatchNorm1d(192), nn.Tanh(), nn.Unflatten(1, (3, 8, 8))
    G = nn.Sequential(*first, *second, *end)
    G.latent_dim, G.image_shape = 5, (3, 8, 8)
    return G


@pytest.fixture(scope="module")
def G():
    return as_if_trained(Generator())


@pytest.fixture(scope="module")
def asked():
    return as_if_trained(AskedFor(ConditionalGenerator())).G


@pytest.fixture(scope="module")
def file(G, asked, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "new" / "explorer.html"
    return write_explorer([G, asked], path, data_name="<b>&</script>")


@pytest.fixture(scope="module")
def shared(open_file, file):
    return open_file(file, permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def page(shared):
    """One page for most tests, brought back to its beginning."""
    return go(shared, "#seed=1")


def go(page, place):
    page.evaluate("place => { location.hash = '#'; location.hash = place; }", place)
    return rest(page)


def rest(page, frames=3):
    """Wait until the weights are inflated and the next frames are drawn."""
    page.wait_for_function("() => window.explorer?.noise")
    script = """async frames => {
        for (let i = 0; i < frames; i++) await new Promise(requestAnimationFrame); }"""
    page.evaluate(script, frames)
    return page


def floats(page, script, argument=None):
    return torch.tensor(page.evaluate(script, argument), dtype=torch.float32)


def z_of(page):
    return floats(page, "() => Array.from(explorer.z())")


def noise(seed):
    return sample_noise(1, 100, seed=seed)[0]


def assert_close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def pixels(page, selector="#picture"):
    """What a canvas holds, as (H, W, 3) from 0 to 255."""
    script = """e => { const { width, height } = e, size = [width, height];
        const copy = new OffscreenCanvas(...size).getContext("2d");
        copy.drawImage(e, 0, 0);
        return [height, width, [...copy.getImageData(0, 0, ...size).data]]; }"""
    height, width, data = page.eval_on_selector(selector, script)
    return np.array(data).reshape(height, width, 4)[..., :3]


def assert_shows(page, G, z, selector="#picture"):
    image = draw(G, z[None])[0].permute(1, 2, 0)  # (H, W, 1), or 3
    expected = np.broadcast_to((image + 1) / 2 * 255, (*image.shape[:2], 3))
    np.testing.assert_allclose(pixels(page, selector), expected, atol=1.8)


def assert_is(page, G, z):
    assert_close(z_of(page), z)
    assert_shows(page, G, z)


def says(page, words):
    """Wait for what a screen reader reads, also as the picture's name."""
    page.locator("#status", has_text=re.compile(f"^{words}$")).wait_for()
    assert page.get_by_role("img", name=re.compile(words)).count() == 1


def move(page, label, value):
    script = """(input, value) => { input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true })); }"""
    page.get_by_role("slider", name=label).evaluate(script, str(value))
    rest(page)


# --- the same numbers as in Python


def test_pictures_of_a_seed_are_those_of_torch(page, G, open_file, tmp_path):
    color = as_if_trained(small_color())
    other = write_explorer([color], tmp_path / "color.html", data_name="flowers")
    script = """seeds => seeds.map(
        seed => Array.from(explorer.draw(explorer.noise(seed))))"""
    for shown, network in ((page, G), (open_file(other, "#seed=1"), color)):
        z = torch.cat([sample_noise(1, network.latent_dim, seed=s) for s in SEEDS])
        expected = draw(network, z).flatten(1)
        assert expected.std() > 0.4  # black, white and all between
        assert_close(floats(shown, script, SEEDS), expected, atol=0.02)
        assert_shows(rest(shown), network, z[1])
        assert shown.get_by_role("slider").count() == 2 + min(8, network.latent_dim)
        assert network.training  # as before


def test_noise_and_arcs_are_those_of_torch(page):
    script = "([size, seeds]) => seeds.map(s => Array.from(explorer.noise(s, size)))"
    for size in (1, 2, 5, 15, 16, 17, 24, 31, 32, 100, 128, 513):
        expected = [sample_noise(1, size, seed=s) for s in [*SEEDS, 999_999]]
        found = floats(page, script, [size, [*SEEDS, 999_999]])
        assert_close(found, torch.cat(expected))
    script = "([a, b, t]) => Array.from(explorer.slerp(a, b, t))"
    for t in (0.0, 0.25, 1.0):
        found = floats(page, script, [noise(0).tolist(), noise(1).tolist(), t])
        assert_close(found, slerp(noise(0), noise(1), torch.tensor([t]))[0])
    for start, end, middle in (([1, 2], [2, 4], [1.5, 3]), ([1, 0], [-1, 0], [0, 0])):
        assert page.evaluate(script, [start, end, 0.5]) == middle  # no arc: straight


def test_generator_is_asked_for_digits_and_what_lies_between(page, G, asked, file):
    assert file.stat().st_size < 8e6
    go(page, "#seed=1&walk=0.5").get_by_role("button", name="the digit I").click()
    arc = slerp(noise(1), noise(2), torch.tensor([0.5]))[0]
    assert_is(rest(page), AskedFor(asked, 0), arc)
    says(page, "Seed.1, asked for a.0, 50.% of the way to seed.2.")
    page.locator("#label").get_by_role("button", name="3").click()
    page.locator("#toward").get_by_role("button", name="8").click()
    assert_is(rest(page), AskedFor(asked, 3), arc)
    move(page, "morph", 0.25)
    move(page, "walk", 0)
    axis = principal_directions(AskedFor(asked, 0))[0][1]
    move(page, "direction 2 ", 2)
    mixture = torch.zeros(10)
    mixture[3], mixture[8] = 0.75, 0.25
    assert_is(page, AskedFor(asked, mixture), noise(1) + 2 * axis)
    says(page, "Seed.1, asked for a.3, 25.% of the way to a.8, direction 2 at .2.0.")
    page.wait_for_function("() => location.hash.includes('toward=8')")
    address = page.evaluate("location.hash")
    page.get_by_role("button", name="Copy z").click()
    page.get_by_text("and G(z, labels) draws").wait_for()
    found = {"torch": torch}
    exec(page.evaluate("navigator.clipboard.readText()"), found)
    assert_close(found["labels"], mixture[None])
    pressed = page.locator("[aria-pressed=true]").all_inner_texts()
    assert pressed == ["the digit I ask for", "3", "8"]
    page.get_by_role("button", name="any digit").click()
    assert_is(rest(page), G, noise(1))
    assert page.get_by_role("slider", name="morph").count() == 0
    for place in (address, "#g=1&seed=1&label=3&toward=8&morph=0.25&d2=2"):
        assert_is(go(page, place), AskedFor(asked, mixture), noise(1) + 2 * axis)
    go(page, "#g=7&label=44&toward=-3&seed=1")  # is brought to the ends
    assert_is(page, AskedFor(asked, 9), noise(1))


# --- the controls


def test_sliders_move_z_and_the_picture_and_say_so(page, G):
    axes, shares = principal_directions(G)
    for i in (0, 7):
        move(page, f"direction {i + 1} · {100 * shares[i]:.1f}\xa0%", -2.5)
        assert_is(page, G, noise(1) - 2.5 * axes[i])
        says(page, f"Seed.1, direction {i + 1} at −2.5.")
        move(page, f"direction {i + 1} ", 0)
    page.get_by_label("seed", exact=True).fill("7")
    moves = {"walk": 0.3, "noise scale": 0.5, "direction 3": 4, "direction 4": -1}
    for label, value in moves.items():
        move(page, label, value)
    arc = slerp(noise(7), noise(8), torch.tensor([0.3]))[0]
    assert_is(page, G, 0.5 * arc + 4 * axes[2] - axes[3])
    says(page, "Seed.7, 30.% of the way to seed.8, noise.×.0.50, 2 directions moved.")
    walk = page.get_by_role("slider", name="walk")
    assert walk.get_attribute("aria-valuetext") == "30\xa0% of the way to seed 8"
    page.get_by_role("button", name="Reset sliders").click()
    assert_is(rest(page), G, noise(7))


def test_small_pictures_are_the_next_seeds_and_lead_there(page, G):
    rest(go(page, "#seed=20&walk=0.5&d1=2"), 10)
    axis = principal_directions(G)[0][0]
    for i in range(6):
        button = page.get_by_role("button", name=f"Walk to seed {21 + i}", exact=True)
        assert button.inner_text().strip() == str(21 + i)
        small = f"#next button:nth-child({i + 1}) canvas"
        assert_shows(page, G, noise(21 + i) + 2 * axis, small)
    page.evaluate("""() => { window.seen = []; const look = () => { seen.push(
        document.getElementById("walk-value").textContent);
        requestAnimationFrame(look); }; look(); }""")
    page.get_by_role("button", name="Walk to seed 22").click()
    says(page, "Seed.22, direction 1 at .2.0.")
    ends = [words[-2:] for words in set(page.evaluate("seen"))]
    assert min(ends.count("21"), ends.count("22")) > 2  # it walked along both arcs
    assert_is(page, G, noise(22) + 2 * axis)


def test_play_walks_on_until_pause(page, G):
    go(page, "#seed=5&walk=0.95")
    page.get_by_role("button", name="Play").press("Space")
    assert page.locator("#status").inner_text() == "Walking on from seed 5."
    page.wait_for_function("() => document.getElementById('seed').value === '6'")
    page.get_by_role("button", name="Pause").press("Enter")
    says(page, "Seed.6.*")
    z = z_of(page)
    page.wait_for_timeout(200)
    assert_is(page, G, z)
    page.get_by_role("button", name="Play").click()
    page.evaluate("""() => { Object.defineProperty(document, "hidden", { value: true });
        document.dispatchEvent(new Event("visibilitychange")); }""")
    assert page.get_by_role("button", name="Play").is_visible()  # again
    page.emulate_media(reduced_motion="reduce")  # slow steps, and no walk to a seed
    go(page, "#seed=1").get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.getElementById('walk').value !== '0'")
    assert page.locator("#walk").input_value() == "0.25"
    page.get_by_role("button", name="Walk to seed 4").click()
    assert_is(rest(page), G, noise(4))
    page.emulate_media(reduced_motion="null")


def test_seed_is_stepped_drawn_and_typed(page, G):
    field = go(page, "#").get_by_label("seed", exact=True)
    less, more = (page.get_by_label(f"Seed {w} this one") for w in ("before", "after"))
    assert less.is_disabled()
    for button, seed in ((more, "1"), (more, "2"), (less, "1")):
        button.click()
        assert field.input_value() == seed
    page.get_by_role("button", name="Random").click()
    assert field.input_value() != "1"
    field.press("Control+a")
    page.keyboard.type("12")
    for wrong in ("", "1.5", "-3", "1000000"):
        field.fill(wrong)
        field.blur()
        assert field.input_value() == "12", wrong
    assert_is(rest(page), G, noise(12))


def test_address_brings_the_picture_back(page, open_file, file):
    z = z_of(go(page, "#seed=31&walk=0.77&noise=1.35&d2=-3.3"))
    page.wait_for_function("() => location.hash.endsWith('&d2=-3.3')")
    again = rest(open_file(file, page.evaluate("location.hash"), offline=True))
    assert_close(z_of(again), z, atol=1e-6)
    assert np.array_equal(pixels(again), pixels(page))
    rubbish = {  # in it is ignored, or cut
        "#seed=x&walk=&noise=NaN&d1=Infinity": (0, 0, 1, 0),
        "#seed=99999999999999&walk=-1&noise=99&d1=-99": (999_999, 0, 2, -4),
        "#<b>&seed=3.7&walk=0.123&noise=1.07&d1=0.44": (4, 0.12, 1.05, 0.4),
    }
    for place, state in rubbish.items():
        names = ("seed", "walk", "noise", "direction-1")
        found = [go(page, place).locator(f"#{name}").input_value() for name in names]
        assert list(map(float, found)) == pytest.approx(state)


def test_copied_line_gives_the_same_picture_in_a_notebook(page):
    go(page, "#seed=7&walk=0.4&d1=1.5").get_by_role("button", name="Copy z").click()
    page.get_by_text("Copied.").wait_for()
    line, names = page.evaluate("navigator.clipboard.readText()"), {"torch": torch}
    exec(line, names)
    assert torch.equal(names["z"], z_of(page)[None])  # to the last bit
    page.evaluate("""() => { navigator.clipboard.writeText = () =>
        Promise.reject(new DOMException("no", "NotAllowedError")); }""")
    page.get_by_role("button", name="Copy z").click()
    field = page.get_by_label("z, as a line of Python")
    field.wait_for()
    assert field.input_value() == line
    selected = "e => e === document.activeElement && e.selectionEnd"
    assert field.evaluate(selected) == len(line)


def test_saved_picture_is_the_picture_ten_times_as_large(page):
    go(page, "#seed=42&walk=0.25")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save image").click()
    assert waiting.value.suggested_filename == "seed-42-walk-0.25.png"
    saved = np.array(Image.open(waiting.value.path()).convert("RGB"))
    np.testing.assert_array_equal(saved, pixels(page).repeat(10, 0).repeat(10, 1))


# --- for everyone, everywhere


@pytest.mark.parametrize("size", [(360, 700), (1280, 800)])
@pytest.mark.parametrize("place", ["", "#g=1"])
def test_every_control_can_be_reached_seen_and_touched(open_file, file, size, place):
    phone = size[0] < 400
    screen = {"width": size[0], "height": size[1]}
    open_as = {"viewport": screen, "has_touch": phone, "is_mobile": phone}
    page = rest(open_file(file, place, **open_as))
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    picture, seed = (page.locator(f"#{n}").bounding_box() for n in ("picture", "seed"))
    assert picture["width"] % 28 == 0  # all pixels are as wide
    assert (seed["x"] > picture["x"] + picture["width"]) == (not phone)  # two columns
    for name, kind in tab_through(page, "#explorer"):
        if kind == "range" and name != "morph":
            before = z_of(page)
            page.keyboard.press("ArrowRight")
            assert not torch.equal(z_of(page), before)
            page.keyboard.press("ArrowLeft")
            assert_close(z_of(page), before, atol=1e-6)
    picture = page.locator("#picture").bounding_box()  # at the last control, it is
    assert -picture["height"] / 10 < picture["y"] < size[1] / 2  # still there


def test_status_says_only_the_last_of_many_changes(page):
    says(page, "Seed.1.")
    page.evaluate("""async () => { window.said = []; new MutationObserver(() =>
        said.push(document.getElementById("status").textContent)).observe(
        document.getElementById("status"), { childList: true });
        for (let i = 0; i < 5; i++) { document.getElementById("more").click();
            await new Promise(requestAnimationFrame); } }""")
    says(page, "Seed.6.")
    assert page.evaluate("said") == ["Seed\xa06."]


def test_text_is_readable_in_light_and_dark(page):
    assert "a GAN trained on <b>&</script>." in page.inner_text(".lead")  # as text
    for scheme, background in (("light", "255, 255, 255"), ("dark", "17, 20, 24")):
        page.emulate_media(color_scheme=scheme)
        assert unreadable(page) == []
        style = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(style) == f"rgb({background})"


def test_page_without_javascript_says_so(open_file, file):
    page = open_file(file, java_script_enabled=False)
    assert "JavaScript" in page.locator("noscript").inner_text()
