"""JupyterLab for tests: the server of ``make lab``, and a driver for its page."""

import base64
import io
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds for one thing; only a slow machine or a failure needs them
OWN = ("JUPYTER", "IPYTHON", "PYTEST", "MAKE", "MFLAGS", "MPL")  # not a learner's

# The page's own objects tell when a notebook is ready. What it writes on the screen
# does not: "idle" is shown before there is a kernel, and Run All then does nothing.
OPEN = """async name => {
    const app = window.jupyterapp;
    await app.started;
    const panel = await app.commands.execute("docmanager:open", { path: name });
    await Promise.all([panel.context.ready, panel.sessionContext.ready]);
    await panel.sessionContext.session.kernel.info;
    window.panel = panel;
}"""
RUN_IN_KERNEL = """async code => {
    const future = panel.sessionContext.session.kernel.requestExecute({ code });
    let text = "";
    future.onIOPub = ({ content }) => { text += content.text ?? content.evalue ?? ""; };
    await future.done;
    return text;
}"""


def eventually(check, seconds=PATIENCE):
    """Call ``check`` until its assertions hold, and return what it returns."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def make_lab(folder):
    """Run ``make lab`` for ``folder``/notebooks without installing; yield its URL."""
    for name in ("Makefile", "setup.sh"):
        shutil.copy(ROOT / name, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"--no-browser --ServerApp.ip=127.0.0.1 --port={port}"
    options += " --LabApp.expose_app_in_browser=True"
    command = ["make", "-o", "setup", "lab", f"VENV={sys.prefix}", f"ARGS={options}"]
    environment, log = learner_environment(folder), folder / "server.log"
    with log.open("wb") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        process = subprocess.Popen(
            command, cwd=folder, env=environment, start_new_session=True, **streams
        )

    def has_started():
        assert process.poll() is None, f"make lab ended:\n{log.read_text()}"
        assert "is running at:" in log.read_text()

    try:
        eventually(has_started)
        token = environment["JUPYTER_TOKEN"]
        yield f"http://127.0.0.1:{port}/lab?reset&token={token}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server then ends its kernels
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def learner_environment(folder):
    """What a learner's shell holds, but with settings that are nobody's own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OWN)}
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        environment[name] = str(folder / name.lower())
    environment["IPYTHONDIR"] = str(folder / "ipython")
    return environment | {"JUPYTER_TOKEN": secrets.token_hex(16)}


def write_notebook(path, *cells):
    """Write a notebook of cells: their code, and the data of an output if there is."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    for source, *data in cells:
        outputs = [nbformat.v4.new_output("display_data", data=d) for d in data]
        notebook.cells.append(nbformat.v4.new_code_cell(source, outputs=outputs))
    nbformat.write(notebook, path)


def decoded(text):
    """The pixels of a PNG in base64, (H, W, 3) from 0 to 255."""
    file = io.BytesIO(base64.b64decode(text))
    return np.array(Image.open(file).convert("RGB")).astype(int)


class Notebook:
    """An open notebook: what its model and its kernel say, and its cells."""

    def __init__(self, page, name):
        self.page = page
        page.evaluate(OPEN, name)

    def cells(self):
        """The cells as Lab's model has them, with their outputs."""
        return self.page.evaluate("() => window.panel.model.toJSON().cells")

    def run(self, code):
        """Run code in the kernel, outside of the cells; return what it printed."""
        return self.page.evaluate(RUN_IN_KERNEL, code)

    def show(self, source):
        """Scroll to the cell that ends in this line of code, and return it."""
        ends = [cell["source"].splitlines()[-1] for cell in self.cells()]
        index = ends.index(source)
        self.page.evaluate("index => window.panel.content.scrollToItem(index)", index)
        shown = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        cell = shown.locator(f'[data-windowed-list-index="{index}"]')
        cell.scroll_into_view_if_needed(timeout=1000 * PATIENCE)
        return cell


class Widget:
    """The widget in the output of a cell, as a learner sees and moves it."""

    def __init__(self, notebook, name):
        self.notebook, self.page = notebook, notebook.page
        self.cell = notebook.show(name)
        self.cell.locator(".widget-slider").first.wait_for()

    def slider(self, label):
        """The slider with this label, or with a label that goes on after a space."""
        words = re.compile(rf"^{re.escape(label)}( |$)")
        label = self.page.locator(".widget-label", has_text=words)
        return self.cell.locator(".widget-slider").filter(has=label)

    def press(self, label, key, times=1):
        handle = self.slider(label).locator(".noUi-handle")
        handle.wait_for()  # a hidden one would leave the focus where it was
        handle.focus()
        for _ in range(times):
            self.page.keyboard.press(key)

    def readout(self, label):
        text = self.slider(label).locator(".widget-readout").inner_text()
        return float(text.replace("−", "-"))

    def click(self, words):
        self.cell.get_by_role("button", name=words, exact=True).click()

    def play(self, icon="play"):
        self.cell.locator(f"button:has(.fa-{icon})").click()

    def says(self, words):
        """Assert what a screen reader reads out, soon."""
        status = self.cell.locator("[role=status]", has_text=re.compile(f"^{words}"))
        status.wait_for()

    def picture(self, number=0):
        return self.cell.locator(".widget-image").nth(number)

    def pixels(self, number=0):
        """What the browser shows of a picture, (H, W, 3) from 0 to 255."""
        return decoded(
            self.picture(number).evaluate("""async img => {
            const file = await (await fetch(img.src)).arrayBuffer();
            return btoa(String.fromCharCode(...new Uint8Array(file))); }""")
        )
