"""JupyterLab for tests: the server of ``make lab``, and a driver for its page."""

import base64
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pooch

ROOT = Path(__file__).parents[2]
COPIED = ("Makefile", "setup.sh", "pyproject.toml", "constraints.txt")
WIDGET = "application/vnd.jupyter.widget-view+json"
PATIENCE = 60  # seconds for one thing; only a slow machine or a failure needs them
WHOLE_NOTEBOOK = 600  # seconds: notebook 05 may have to train its networks first

# What the learner has set, remembered before tests/conftest.py hides it from the tests.
OWN = {name: os.environ.get(name) for name in ("GANLIB_DATA", "GANLIB_CACHE")}

# Nothing on the way to this machine's own server but the machine itself.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# The page's own objects tell when a notebook is ready. What it writes on the screen
# does not: "idle" is shown before there is a kernel, and Run All then does nothing.
FIND_PANEL = """name => {
    const shell = window.jupyterapp?.shell;
    const panels = shell ? [...shell.widgets('main')] : [];
    return panels.find(p => p.context?.path === name);
}"""
READY = f"""async name => {{
    const panel = ({FIND_PANEL})(name);
    if (!panel?.context.isReady || !panel.sessionContext.isReady) return false;
    const kernel = panel.sessionContext.session?.kernel;
    if (kernel?.connectionStatus !== 'connected') return false;
    await kernel.info;
    window.panel = panel;
    return true;
}}"""
RUN_ALL = """() => {
    window.ran = false;
    window.jupyterapp.commands.execute('notebook:run-all-cells')
        .finally(() => { window.ran = true; });
}"""
RUN_IN_KERNEL = """async code => {
    const kernel = window.panel.sessionContext.session.kernel;
    const future = kernel.requestExecute({ code, store_history: false });
    const answer = { text: '', error: '' };
    future.onIOPub = ({ header, content }) => {
        if (header.msg_type === 'stream') answer.text += content.text;
        if (header.msg_type === 'error')
            answer.error = `${content.ename}: ${content.evalue}`;
    };
    await future.done;
    return answer;
}"""
PIXELS = """img => {
    if (!img.complete || !img.naturalWidth) return null;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [img.naturalWidth, img.naturalHeight];
    const context = canvas.getContext('2d');
    context.drawImage(img, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let text = '';
    for (let i = 0; i < data.length; i += 8192)
        text += String.fromCharCode(...data.subarray(i, i + 8192));
    return [canvas.height, canvas.width, btoa(text)];
}"""
READOUTS = """cell => [...cell.querySelectorAll('.widget-slider')].map(slider => [
    slider.querySelector('.widget-label').textContent,
    slider.querySelector('.widget-readout').textContent,
])"""
# Looks at a picture whenever something changes in its cell, and at every frame.
WATCH = """img => {
    const seen = { removed: 0, empty: 0, loads: 0, sizes: new Set() };
    const look = () => {
        const { width, height } = img.getBoundingClientRect();
        seen.sizes.add(`${width} x ${height}`);
        if (!img.isConnected) seen.removed += 1;
        // While the next picture loads, the browser goes on showing the last one.
        if (!img.getAttribute('src') || (img.complete && !img.naturalWidth))
            seen.empty += 1;
    };
    const observer = new MutationObserver(changes => {
        for (const { removedNodes } of changes)
            for (const node of removedNodes)
                if (node === img || node.contains(img)) seen.removed += 1;
        look();
    });
    observer.observe(img.closest('.jp-Cell'), {
        attributes: true, childList: true, subtree: true,
    });
    img.addEventListener('load', () => { seen.loads += 1; look(); });
    img.addEventListener('error', () => { seen.empty += 1; });
    let on = true;
    const atFrame = () => { look(); if (on) requestAnimationFrame(atFrame); };
    atFrame();
    img.stopWatching = () => {
        on = false;
        observer.disconnect();
        return { ...seen, sizes: [...seen.sizes] };
    };
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


# --- the server


@dataclass
class Server:
    """A running JupyterLab: its address, its token, and the folder of its notebooks."""

    url: str
    token: str
    folder: Path

    def ask(self, path, method="GET"):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"token {self.token}")
        with DIRECT.open(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def write(self, name, *cells):
        """Make up a notebook of these code cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.folder / name)
        return name

    def shut_down(self, name):
        """End the kernel of a notebook, as closing it in Lab would not."""
        for session in self.ask("api/sessions"):
            if session["path"] == name:
                self.ask(f"api/sessions/{session['id']}", "DELETE")


@contextmanager
def make_lab(folder):
    """Run ``make lab`` on a copy of the course in ``folder``, without installing."""
    copy_course(folder)
    environment, log = learner_environment(folder), folder / "server.log"
    options = (
        f"--no-browser --ServerApp.ip=127.0.0.1 --port={free_port()} "
        "--LabApp.expose_app_in_browser=True"
    )
    command = ["make", "-o", "setup", "lab", f"VENV={sys.prefix}", f"ARGS={options}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # one group, so that all of it can be stopped
        )
    try:
        yield wait_for_server(process, folder, environment["JUPYTER_TOKEN"], log)
    finally:
        stop_group(process)


def copy_course(folder):
    for name in COPIED:
        shutil.copy(ROOT / name, folder)
    checkpoints = shutil.ignore_patterns(".ipynb_checkpoints")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=checkpoints)
    cache = Path(OWN["GANLIB_CACHE"] or pooch.os_cache("ganlib")) / "networks"
    if cache.is_dir():  # so that notebook 05 need not train; a copy, to write into
        shutil.copytree(cache, folder / "cache" / "networks")


def learner_environment(folder):
    """What a learner's shell holds, but with settings that are nobody's own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "IPYTHON", "PYTEST", "MAKE", "MFLAGS"))
    }
    environment.pop("MPLBACKEND", None)  # tests/conftest.py sets it for the tests
    environment.pop("GANLIB_DATA", None)
    if OWN["GANLIB_DATA"]:
        environment["GANLIB_DATA"] = str(Path(OWN["GANLIB_DATA"]).absolute())
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        environment[name] = str(folder / name.lower())
    no_news = folder / "jupyter_config_dir" / "lab" / "user-settings"
    no_news = no_news / "@jupyterlab" / "apputils-extension"
    no_news.mkdir(parents=True)
    settings = json.dumps({"fetchNews": "false"})  # the pop-up that asks about it
    (no_news / "notification.jupyterlab-settings").write_text(settings)
    return environment | {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_TOKEN": secrets.token_hex(16),
        "GANLIB_CACHE": str(folder / "cache"),
        "GANLIB_OFFLINE": "1",
        "GOMP_SPINCOUNT": "3000",
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_server(process, folder, token, log):
    """Return the Server as soon as it answers; it notes its address in a file."""

    def answer():
        if process.poll() is not None:
            raise RuntimeError(f"make lab ended:\n{log.read_text()}")
        notes = list((folder / "jupyter_runtime_dir").glob("jpserver-*.json"))
        assert notes, f"the server has not begun:\n{log.read_text()}"
        try:
            note = json.loads(notes[0].read_text())
            server = Server(note["url"], token, folder / "notebooks")
            assert server.ask("api/kernelspecs")["default"] == "python3"
        except (ValueError, OSError) as error:
            raise AssertionError(f"no answer yet: {error}") from error
        return server

    return eventually(answer, 2 * PATIENCE)


def stop_group(process):
    """Stop make and all that it started, by force if asking is not enough."""
    for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)  # on SIGTERM the server ends its kernels
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                process.poll()  # a zombie would count as alive
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            break
    process.wait()


# --- the page


class Notebook:
    """An open notebook: what its model and its kernel say, and hands to move it."""

    def __init__(self, page, server):
        self.page, self.server, self.name = page, server, None

    def open(self, name):
        self.name = name
        self.page.goto(
            f"{self.server.url}lab/tree/{name}?token={self.server.token}&reset",
            timeout=1000 * PATIENCE,
        )
        eventually(self.assert_ready, 2 * PATIENCE)
        return self

    def assert_ready(self):
        assert self.page.evaluate(READY, self.name), "no kernel yet"

    def cells(self):
        """The cells as Lab's model has them, with their outputs."""
        return self.page.evaluate("() => window.panel.model.toJSON().cells")

    def run_all(self, seconds=WHOLE_NOTEBOOK):
        """Run all cells; AssertionError for an error, and for a cell left out."""
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function("() => window.ran", timeout=1000 * seconds)
        self.assert_all_ran()

    def assert_all_ran(self):
        cells = [cell for cell in self.cells() if cell["cell_type"] == "code"]
        errors = [
            f"{output['ename']}: {output['evalue']}"
            for cell in cells
            for output in cell["outputs"]
            if output["output_type"] == "error"
        ]
        assert not errors, errors
        counts = [cell["execution_count"] for cell in cells if cell["source"]]
        assert counts == list(range(1, len(counts) + 1))

    def run_cell(self, index):
        self.page.evaluate(
            """index => {
                window.panel.content.activeCellIndex = index;
                return window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            index,
        )

    def run(self, code):
        """Run code in the kernel, beside the notebook, and return what it printed."""
        answer = self.page.evaluate(RUN_IN_KERNEL, code)
        assert not answer["error"], answer["error"]
        return answer["text"]

    def value(self, expression):
        """The value of an expression in the kernel, by way of JSON."""
        return json.loads(self.run(f"import json\nprint(json.dumps({expression}))"))

    def show(self, index):
        """Scroll to a cell; one that was never near the window is not in the page."""
        self.page.evaluate("index => window.panel.content.scrollToItem(index)", index)
        cell = self.page.locator(f'.jp-Notebook [data-windowed-list-index="{index}"]')
        cell.scroll_into_view_if_needed(timeout=1000 * PATIENCE)
        return cell

    def widget(self, name):
        """The cell whose output is the live widget that the kernel calls ``name``."""
        model_id = self.value(f"{name}.model_id")
        for index, cell in enumerate(self.cells()):
            for output in cell.get("outputs", []):
                view = output.get("data", {}).get(WIDGET, {})
                if view.get("model_id") == model_id:
                    return Widget(self, self.show(index))
        raise AssertionError(f"no output of the notebook shows {name}")


class Widget:
    """The widget in the output of a cell, as a learner sees and moves it."""

    def __init__(self, notebook, cell):
        self.notebook, self.page = notebook, notebook.page
        self.cell = cell
        self.body = cell.locator(".jp-OutputArea-output .jupyter-widgets").first
        self.body.wait_for(timeout=1000 * PATIENCE)

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

    def drag(self, label, pixels):
        """Take a slider's handle with the mouse, and let it go somewhere else."""
        handle = self.slider(label).locator(".noUi-handle")
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + pixels, y, steps=10)
        self.page.mouse.up()

    def readouts(self):
        """The number beside each slider, by the slider's label."""
        texts = self.cell.evaluate(READOUTS)
        minus = str.maketrans("−", "-")
        return {label: float(text.translate(minus)) for label, text in texts}

    def click(self, words):
        self.cell.get_by_role("button", name=words, exact=True).click()

    def status(self):
        """The sentence that a screen reader reads out when it changes."""
        return self.cell.locator("[role=status]").inner_text()

    def picture(self, number=0):
        return self.cell.locator(".widget-image").nth(number)

    def pixels(self, number=0):
        """What the browser shows of a picture, as bytes (H, W, 3)."""
        found = self.picture(number).evaluate(PIXELS)
        assert found, "the picture is not there yet"
        height, width, text = found
        rgba = np.frombuffer(base64.b64decode(text), np.uint8)
        return rgba.reshape(height, width, 4)[..., :3]

    @contextmanager
    def watched(self, number=0):
        """Assert that the picture neither flickers nor changes its size meanwhile."""
        picture = self.picture(number)
        picture.evaluate(WATCH)
        seen = {}
        yield seen
        seen.update(picture.evaluate("img => img.stopWatching()"))
        assert not seen["removed"], f"the picture was taken away: {seen}"
        assert not seen["empty"], f"the picture was gone for a while: {seen}"
        assert len(seen["sizes"]) == 1, f"the picture changed its size: {seen}"
