"""The command line, on a folder of tiny images."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganlib import commands
from ganlib.__main__ import main, new_parser
from ganlib.checks import wrong
from ganlib.conditional import AskedFor
from ganlib.data import load_folder
from ganlib.latent import sample_images
from ganlib.models import new_networks
from ganlib.plots import png_bytes
from ganlib.steps import classic_update
from ganlib.storage import load_run, part
from ganlib.training import TrainConfig

ROOT = Path(__file__).parents[1]
NAMES = "train", "sample", "translate", "evaluate", "export"
SHORT = "--size 8 --gray --batch-size 4 --record-every 5".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty colored images of 9 × 8 pixels, in two subfolders; and their folder."""
    folder = tmp_path_factory.mktemp("images")
    pixels = torch.randint(256, (20, 8, 9, 3), dtype=torch.uint8)
    for i, image in enumerate(pixels):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image.numpy()).save(folder / "ab"[i % 2] / f"{i}.png")
    return folder


def train(out, data, *options, steps=10):
    steps = ("--steps", steps) if steps else ()
    options = ("--out", out, "--data", data, *SHORT, *steps, *options)
    return main(["train", *map(str, options)])


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert train(out, folder) == 0
    return out


def lines(out):
    return [json.loads(line) for line in (out / "records.jsonl").open(encoding="utf-8")]


def size(path):
    with Image.open(path) as image:
        return image.mode, image.size


def python(*arguments, **more):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *arguments], env=environment, **more)


# --- help, and defaults


def test_help_names_every_command_and_does_not_wait_for_torch():
    code = (
        "import atexit, sys; from ganlib.__main__ import main; "
        "atexit.register(lambda: print('torch' in sys.modules)); main(['--help'])"
    )
    text, _ = python("-c", code, stdout=subprocess.PIPE, text=True).communicate()
    assert all(f"    {name}" in text and hasattr(commands, name) for name in NAMES)
    assert text.endswith("False\n")


@pytest.mark.parametrize("name", NAMES)
def test_each_option_is_explained(capsys, name):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    options = capsys.readouterr().out.split("options:")[1].split("\n  -")
    assert all(len(option.split("  ")) > 1 for option in options)


def test_defaults_are_the_recipe_of_notebook_04(monkeypatch, tmp_path, digits):
    seen = {}

    def look(*arguments, **more):
        seen["all"] = (*arguments, more)
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.training, "train", look)
    assert main(["train", "--data", "digits", "--out", str(tmp_path)]) == 130
    G, D, images, config, more = seen["all"]
    assert config == TrainConfig()
    assert more == {"update": classic_update, "run": tmp_path}
    assert torch.equal(images, digits.images)
    for found, expected in zip((G, D), new_networks(), strict=True):
        pairs = zip(found.parameters(), expected.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    parser, _ = new_parser()
    assert parser.parse_args(["train", "--out", "x"]).data == "mnist"
