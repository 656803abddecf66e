"""The pages in a real browser: what they load, and how they look to a reader."""

import pytest
from test_site import NAMES, whole_site

PAGES = ["index.html", *NAMES]
PHONE = {"width": 360, "height": 740}

# Every piece of text with its color and the color behind it, each as [r, g, b] of 255.
# Text within MathML has its formula's color; pictures hold no text.
COLORS = """() => {
  const rgb = color => color.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, alpha = 1] = rgb(getComputedStyle(e).backgroundColor);
      if (alpha === 1) return [r, g, b];
      if (alpha !== 0) throw new Error("half transparent: " + e.outerHTML);
    }
    throw new Error("nothing behind " + element.outerHTML);
  };
  const found = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim()) continue;
    const colors = [rgb(getComputedStyle(element).color).slice(0, 3), behind(element)];
    const kind = element.tagName + "." + element.className;
    found.set(kind + JSON.stringify(colors), [kind, ...colors]);
  }
  return [...found.values()];
}"""

TOO_WIDE = """() => [...document.querySelectorAll("body *")]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 &&
               !e.closest("pre, .scroll, .formula, .skip"))
  .map(e => e.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return whole_site(tmp_path_factory)


@pytest.fixture
def open_page(chromium, site):
    """A function that opens a page from the disk and keeps what it asks and says."""
    contexts = []

    def open_it(name, **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto((site / name).as_uri(), wait_until="load")
        return page

    yield open_it
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_asks_nobody_and_complains_about_nothing(open_page, name):
    page = open_page(name)
    page.evaluate("document.fonts.ready.then(() => 0)")
    outside = [u for u in page.asked if not u.startswith(("file:", "data:"))]
    assert outside == []
    assert [u for u in page.asked if u.startswith("file:")] == [page.url]
    assert page.said == []


def test_policy_stops_a_request_that_slips_in(open_page):
    page = open_page("index.html")
    picture = "document.body.append(Object.assign(new Image(), {src: 'x.png'}))"
    with page.expect_event("requestfailed") as failed:
        page.evaluate(picture)
    assert failed.value.failure == "csp"


@pytest.mark.parametrize("name", PAGES)
def test_pictures_are_drawn_in_their_proportions(open_page, name):
    sizes = open_page(name).evaluate(
        "[...document.images].map(i => [i.naturalWidth, i.naturalHeight, "
        "+i.getAttribute('width'), +i.getAttribute('height'), i.complete])"
    )
    assert sizes
    for width, height, said_width, said_height, complete in sizes:
        assert complete
        assert (width, height) == (said_width, said_height)
        assert width > 0


@pytest.mark.parametrize("name", NAMES)
def test_formulas_are_drawn_in_the_embedded_font(open_page, name):
    page = open_page(name)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    sizes = page.evaluate(
        "[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect())"
        ".map(box => [box.width, box.height])"
    )
    assert sizes
    assert all(width > 3 and height > 5 for width, height in sizes)
    loaded = page.evaluate(
        "[...document.fonts].map(font => font.family + ' ' + font.status)"
    )
    assert [words.replace('"', "") for words in loaded] == ["Course Math loaded"]


def test_roots_and_fractions_have_their_shape(open_page):
    page = open_page("02_generator_and_discriminator.html")
    root, inside, fraction = page.evaluate(
        "(() => { const f = document.querySelector('mfrac:has(msqrt)');"
        " const r = f.querySelector('msqrt');"
        " const m = r.querySelector('mtext, mi');"
        " return [r, m, f].map(e => e.getBoundingClientRect().toJSON()); })()"
    )
    assert inside["left"] - root["left"] > 6  # room for the sign
    assert fraction["height"] > 1.5 * root["height"]
    assert fraction["right"] - root["right"] < 3


@pytest.mark.parametrize("name", PAGES)
def test_phone_scrolls_in_one_direction_only(open_page, name):
    page = open_page(name, viewport=PHONE)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(TOO_WIDE) == []


def luminance(rgb):
    """The relative luminance of WCAG 2.2."""
    parts = [c / 255 for c in rgb]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_known_colors():
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast([119, 119, 119], [255, 255, 255]) == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_all_text_and_code_can_be_read(open_page, name, scheme):
    page = open_page(name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = page.evaluate(COLORS)
    tokens = [kind for kind, *_ in found if kind.startswith("SPAN.")]
    assert len(tokens) > 5 or name == "index.html"
    for kind, color, behind in found:
        assert contrast(color, behind) >= 4.5, (kind, color, behind)


@pytest.mark.parametrize(
    ("scheme", "back", "text", "accent"),
    [
        ("light", "rgb(255, 255, 255)", "rgb(27, 27, 27)", "rgb(0, 114, 178)"),
        ("dark", "rgb(17, 20, 24)", "rgb(230, 230, 230)", "rgb(86, 180, 233)"),
    ],
)
def test_page_follows_the_color_scheme(open_page, scheme, back, text, accent):
    page = open_page(NAMES[0], color_scheme=scheme)
    style = "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
    assert page.evaluate(style) == [back, text]
    link = "getComputedStyle(document.querySelector('.text a')).color"
    assert page.evaluate(link) == accent
    card = "getComputedStyle(document.images[0]).backgroundColor"
    assert page.evaluate(card) == "rgb(255, 255, 255)"


def test_first_key_leads_past_the_links(open_page):
    page = open_page(NAMES[0])
    skip = page.locator(".skip")
    assert skip.bounding_box()["x"] < 0  # out of sight until it is wanted
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_solution_unfolds_by_key(open_page):
    page = open_page(NAMES[0])
    page.locator("summary").first.focus()
    assert not page.locator("details pre").first.is_visible()
    page.keyboard.press("Enter")
    assert page.locator("details pre").first.is_visible()


def test_links_lead_through_the_course(open_page):
    page = open_page("index.html")
    for name in NAMES:
        page.locator("a[rel=next]").click()
        assert page.url.endswith(f"/{name}")
    page.locator(".toc a").last.click()
    box = page.locator("h2").last.bounding_box()
    assert 0 <= box["y"] < page.viewport_size["height"]
