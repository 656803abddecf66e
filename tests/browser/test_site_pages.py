"""The pages in a real browser: what they load, and how they look to a reader."""

import pytest
from conftest import unreadable
from test_site import NAMES, whole_site

TOO_WIDE = """() => [...document.querySelectorAll("body *")]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 &&
               !e.closest("pre, .scroll, .formula, .skip"))
  .map(e => e.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return whole_site(tmp_path_factory)


@pytest.mark.parametrize("name", ["index.html", *NAMES, "glossary.html"])
def test_page_can_be_read_on_every_screen(open_file, site, name):
    page = open_file(site / name)
    images, formulas, fonts = page.evaluate("""async () => {
        document.querySelectorAll("details").forEach(d => d.open = true);
        await document.fonts.ready;
        const images = [...document.images].map(i => [i.naturalWidth, i.naturalHeight,
            +i.getAttribute("width"), +i.getAttribute("height")]);
        const formulas = [...document.querySelectorAll("math")]
            .map(m => m.getBoundingClientRect()).map(box => [box.width, box.height]);
        const fonts = [...document.fonts].map(f => f.family + " " + f.status);
        return [images, formulas, fonts]; }""")
    assert bool(images) == (name != "glossary.html")
    assert all(image[0] > 0 and image[:2] == image[2:] for image in images)
    assert all(width > 3 and height > 5 for width, height in formulas)
    has_formulas = name in NAMES
    assert fonts == ["Course Math loaded"] * has_formulas
    assert bool(formulas) == has_formulas
    for scheme, background in (("light", "255, 255, 255"), ("dark", "17, 20, 24")):
        page.emulate_media(color_scheme=scheme)
        style = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(style) == f"rgb({background})"
        assert unreadable(page) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(TOO_WIDE) == []


def test_roots_and_fractions_have_their_shape(open_file, site):
    page = open_file(site / "02_generator_and_discriminator.html")
    root, inside, fraction = page.evaluate("""() => {
        const f = document.querySelector("mfrac:has(msqrt)");
        const r = f.querySelector("msqrt"), m = r.querySelector("mtext, mi");
        return [r, m, f].map(e => e.getBoundingClientRect().toJSON()); }""")
    assert inside["left"] - root["left"] > 6  # room for the sign
    assert fraction["height"] > 1.5 * root["height"]
    assert fraction["right"] - root["right"] < 3


@pytest.mark.parametrize("name", ["index.html", "explorer.html", "game.html"])
def test_page_may_connect_to_nothing(chromium, site, name):
    """Its own policy stops a request that slips in."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto((site / name).as_uri())
        with page.expect_event("requestfailed") as failed:
            page.evaluate(
                "document.body.append(Object.assign(new Image(), {src: 'x'}))"
            )
    assert failed.value.failure == "csp"


def test_keyboard_skips_the_links_and_unfolds_solutions(open_file, site):
    page = open_file(site / NAMES[0])
    skip = page.locator(".skip")
    assert skip.bounding_box()["x"] < 0  # out of sight until it is wanted
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.locator("summary").first.focus()
    assert not page.locator("details pre").first.is_visible()
    page.keyboard.press("Enter")
    assert page.locator("details pre").first.is_visible()


def test_links_lead_through_the_course(open_file, site):
    page = open_file(site / "index.html")
    for name in NAMES:
        page.locator("a[rel=next]").click()
        assert page.url.endswith(f"/{name}")
    page.locator(".toc a").last.click()
    box = page.locator("h2").last.bounding_box()
    assert 0 <= box["y"] < page.viewport_size["height"]
