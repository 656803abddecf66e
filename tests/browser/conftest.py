"""A real browser for the tests in this folder: the machine's own Chromium."""

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# No sandbox in containers, and nothing that a browser asks for by itself.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
)
MISSING = pytest.StashKey[str]()


def pytest_collection_modifyitems(items):
    """Run these tests last: Playwright's event loop runs until the session is over.

    A test that calls ``asyncio.run`` would fail beside it.
    """
    items.sort(key=lambda item: HERE in item.path.parents)


def pytest_terminal_summary(terminalreporter, config):
    """Say what was missing where everybody sees it, and not only with ``-rs``."""
    if MISSING in config.stash:
        terminalreporter.write_line(config.stash[MISSING], yellow=True)


@pytest.fixture(scope="session")
def chromium(request):
    """A running Chromium, as Playwright's ``Browser``, without a window.

    ``GANLIB_CHROMIUM`` may name its program. Where there is none, or no Playwright, the
    tests are skipped; with ``GANLIB_BROWSER=required`` they fail.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _do_without(request, "Playwright is not installed: pip install playwright")
    program = find_chromium()
    if program is None:
        mend = "install Chromium (apt install chromium) or set GANLIB_CHROMIUM"
        _do_without(request, f"there is no Chromium here: {mend}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=list(ARGUMENTS)
        )
        yield browser
        browser.close()


def find_chromium():
    """Return the path of the machine's Chromium, or None."""
    own = os.environ.get("GANLIB_CHROMIUM")
    found = (shutil.which(name) for name in ((own,) if own else NAMES))
    return next((program for program in found if program), None)


def _do_without(request, why):
    sentence = f"The tests in a browser did not run, {why}."
    if os.environ.get("GANLIB_BROWSER") == "required":
        pytest.fail(sentence, pytrace=False)
    request.config.stash[MISSING] = sentence
    pytest.skip(sentence)
