"""A real browser for the tests in this folder: the machine's own Chromium."""

import os
import re
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
NAMES += ["chrome", "microsoft-edge"]
NAMES += ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"]
# No sandbox in containers, and nothing that a browser asks for by itself.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-dev-shm-usage"]


def pytest_collection_modifyitems(items):
    """Run these tests last: Playwright's event loop runs until the session is over.

    A test that calls ``asyncio.run`` would fail in the same process.
    """
    items.sort(key=lambda item: HERE in item.path.parents)


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium, as Playwright's ``Browser``, without a window.

    ``GANLIB_CHROMIUM`` may name its program. Where there is none, or no Playwright, the
    tests are skipped; with ``GANLIB_BROWSER=required`` they fail.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        do_without("Playwright is not installed: pip install playwright")
    own = os.environ.get("GANLIB_CHROMIUM")
    found = [shutil.which(name) for name in ([own] if own else NAMES)]
    if not any(found):
        fix = "install Chromium (apt install chromium) or set GANLIB_CHROMIUM"
        do_without(f"there is no Chromium here: {fix}")
    with sync_playwright() as playwright:
        program = next(filter(None, found))
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


def do_without(why):
    sentence = f"The tests in a browser did not run, {why}."
    if os.environ.get("GANLIB_BROWSER") == "required":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture(scope="module")
def open_file(chromium):
    """A function that opens a file; no page may fail, complain or ask for anything."""
    contexts, wrongs = [], []

    def open_file(file, place="", **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrongs.append(f"error: {error}"))
        page.on("console", lambda message: wrongs.append(f"console: {message.text}"))
        page.on("request", note)
        page.goto(file.as_uri() + place)
        return page

    def note(request):
        embedded = request.url.startswith(("data:", "blob:"))
        if not embedded and not request.is_navigation_request():
            wrongs.append(f"request: {request.url}")

    yield open_file
    for context in contexts:
        context.close()
    assert wrongs == []


# The color of every piece of text and the one behind it, each as [r, g, b] of 255. Text
# within MathML has its formula's color; a disabled button may be pale.
COLORS = """() => {
  const rgb = color => color.match(/[\\d.]+/g).map(Number);
  const behind = e => {
    const [r, g, b, alpha = 1] = rgb(getComputedStyle(e).backgroundColor);
    return alpha === 1 ? [r, g, b] : behind(e.parentElement);
  };
  const found = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.disabled) continue;
    const colors = [rgb(getComputedStyle(e).color).slice(0, 3), behind(e)];
    found.set(e.tagName + JSON.stringify(colors), [e.outerHTML, ...colors]);
  }
  return [...found.values()];
}"""


def unreadable(page):
    """The texts of a page with a contrast below 4.5, as WCAG 2.2 computes it."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = page.evaluate(COLORS)
    assert len(found) > 5
    return [text for text, *colors in found if contrast(*colors) < 4.5]


def contrast(*colors):
    shares = [[value / 255 for value in color] for color in colors]
    linear = [
        [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in color]
        for color in shares
    ]
    dark, light = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (light + 0.05) / (dark + 0.05)


FOCUSED = """() => { const e = document.activeElement, box = e.getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + 2);
    const seen = e.contains(top) && getComputedStyle(e).outlineWidth === "3px";
    const large = e.matches("p a") || Math.min(box.width, box.height) >= 44;
    const cut = e.scrollWidth > e.clientWidth + 1;
    return [e.id || e.textContent, seen, large, !cut, e.type]; }"""


def tab_through(page, place):
    """Go to every control with the keyboard: named, seen, large enough, not cut off.

    A link within a text may be small.

    Yields the id or text of each, and its type. ``place`` selects what holds them all,
    apart from links.
    """
    kinds = ("button:enabled", "input", "summary")
    controls = page.locator(", ".join(f"{place} {kind}" for kind in kinds) + ", a")
    wanted = controls.evaluate_all(
        "all => all.filter(e => e.offsetParent).map(e => e.id || e.textContent)"
    )
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        name, *facts, kind = page.evaluate(FOCUSED)
        reached.append(name)
        assert facts == [True, True, True], name
        yield name, kind
    assert sorted(reached) == sorted(wanted)
    for role in ("button", "slider", "spinbutton", "link"):
        named = page.get_by_role(role, name=re.compile(r"\w")).count()
        assert page.get_by_role(role).count() == named > 0
