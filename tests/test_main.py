"""The command line, on a folder of tiny images."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import commands
from ganlib.__main__ import main, new_parser
from ganlib.conditional import AskedFor
from ganlib.data import load_folder
from ganlib.evaluation import evaluate
from ganlib.latent import sample_images
from ganlib.models import new_networks
from ganlib.plots import png_bytes
from ganlib.steps import classic_update
from ganlib.storage import load_run, part
from ganlib.training import TrainConfig

ROOT = Path(__file__).parents[1]
NAMES = "train", "sample", "translate", "evaluate", "export"
SHORT = ["--size", "8", "--gray", "--batch-size", "4", "--record-every", "5"]


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
    _, *options = capsys.readouterr().out.split("options:")[1].split("\n  -")
    for option in options:
        assert len(option.partition("(default")[0].split()) > 3, option


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


# --- train


def test_run_leaves_its_records_a_sheet_and_its_options(run):
    records = load_run(run).history
    assert [record.step for record in records] == [5, 10]
    assert lines(run) == [vars(record) for record in records]
    assert size(run / "samples.png") == ("L", (2 * (8 * 9 - 1),) * 2)
    assert json.loads((run / "settings.json").read_text("utf-8"))["size"] == 8


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ("--objective pairing", "Generator, Discriminator"),
        ("--networks dense", "Generator, Discriminator"),  # --gamma asks for r1
        ("--objective r1 --networks mixed --size 28", "ConvGenerator, Discriminator"),
        ("--networks convolutional --size 28", "ConvGenerator, ConvDiscriminator"),
    ],
)
def test_networks_and_objectives(folder, tmp_path, options, kinds):
    assert train(tmp_path, folder, *options.split(), "--gamma", 0.5, steps=5) == 0
    about = load_run(tmp_path).about
    assert re.sub(" [0-9a-f]{8}", "", ", ".join(about["G, D"])) == kinds
    (line,) = lines(tmp_path)
    assert (line["d_real"] is None) == ("pairing" in options)  # JSON has no NaN
    objective = "pairing" if "pairing" in options else "r1"
    assert f"{objective}_update" in about["update, rate"]
    assert "gamma=0.5" in about["update, rate"]


def test_bar_is_for_terminals(folder, tmp_path, capsys, monkeypatch):
    train(tmp_path / "log", folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train(tmp_path / "terminal", folder)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "D=0." in shown


def test_minutes_end_a_run_and_resume_makes_it_longer(folder, tmp_path, capsys):
    assert train(tmp_path, folder, "--minutes", 1e-9, steps=0) == 0
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0  # as long again
    assert main(f"train --resume --out {tmp_path} --minutes 0".split()) == 0
    assert main(f"train --resume --out {tmp_path} --steps 22".split()) == 0
    whole = lines(tmp_path)
    assert [line["step"] for line in whole] == [5, 10, 15, 20, 22]
    assert main(f"train --resume --out {tmp_path}".split()) == 0  # nothing is left
    assert lines(tmp_path) == whole
    assert "Going on after 15 of 22 steps" in capsys.readouterr().out


def test_ctrl_c_in_a_step_keeps_the_last_record(folder, tmp_path, capsys, monkeypatch):
    moves = iter(range(7))

    def update(*arguments):
        if next(moves, None) is None:
            raise KeyboardInterrupt
        return classic_update(*arguments)

    monkeypatch.setattr(commands.steps, "classic_update", update)
    assert train(tmp_path, folder) == 130
    assert [line["step"] for line in lines(tmp_path)] == [5]
    assert load_run(tmp_path).history[-1].step == 5
    out, err = capsys.readouterr()
    assert "Stopped after 7 of 10 steps" in out
    assert err == "ganlib: stopped; train --resume goes on\n"


def test_a_failure_to_draw_saves_the_run(folder, tmp_path, monkeypatch):
    def full(path, content):
        if path.name == "samples.png":
            raise OSError("the disk is full")

    def start(*arguments, original=commands.training.train, **more):
        left_open.append(original(*arguments, **more))
        return left_open[0]

    left_open = []
    monkeypatch.setattr(commands, "write", full)
    monkeypatch.setattr(commands.training, "train", start)
    assert train(tmp_path, folder) == 1
    assert load_run(tmp_path).history[-1].step == 5


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without a signal")
def test_sigterm_saves_and_resume_gives_the_run_that_was_never_stopped(
    folder, tmp_path
):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    options = "--out", killed, "--data", folder, *SHORT, "--steps", "100000"
    process = python("-m", "ganlib", "train", *map(str, options))
    try:
        deadline = time.monotonic() + 60
        while not (killed / "records.jsonl").exists() or len(lines(killed)) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    last = load_run(killed).history[-1].step
    assert last - lines(killed)[-1]["step"] in (0, 5)  # it came before it was written
    with open(killed / "records.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 0}\n')  # more than was saved, as after SIGKILL
    steps = last + 10
    assert main(f"train --resume --out {killed} --steps {steps}".split()) == 0
    assert train(whole, folder, steps=steps) == 0
    first, second = load_run(killed), load_run(whole)
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(first.tensors[k], second.tensors[k]) for k in first.tensors)
    for one, other in zip(lines(killed), lines(whole), strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}


# --- what comes after


def test_sample_writes_a_sheet_or_single_images(run, tmp_path):
    sheet, single = tmp_path / "sheet.png", tmp_path / "new" / "single"
    assert main(f"sample {run} --out {sheet} --count 6 --seed 3".split()) == 0
    assert main(f"sample {run} --out {single} --count 3 --seed 3".split()) == 0
    _, G = commands.load_generator(run)
    averaged = part(load_run(run).tensors, "averaged")
    assert all(torch.equal(averaged[k], v) for k, v in G.state_dict().items())
    assert sheet.read_bytes() == png_bytes(sample_images(G, 6, seed=3), zoom=2)
    paths = sorted(single.iterdir())
    assert [path.name for path in paths] == ["00000.png", "00001.png", "00002.png"]
    for path, image in zip(paths, sample_images(G, 3, seed=3), strict=True):
        assert path.read_bytes() == png_bytes(image[None])


def test_conditional_run_generates_the_label(folder, tmp_path, capsys):
    run, sheet = tmp_path / "run", tmp_path / "b.png"
    assert train(run, folder, "--conditional", steps=5) == 0
    assert size(run / "samples.png")[1] == (2 * (2 * 9 - 1), 2 * (8 * 9 - 1))
    assert main(f"sample {run} --out {sheet} --count 4 --label 1".split()) == 0
    _, G = commands.load_generator(run)
    expected = sample_images(AskedFor(G, 1), 4, seed=0)
    assert sheet.read_bytes() == png_bytes(expected, zoom=2)
    assert main(f"sample {run} --out {sheet} --label 2".split()) == 1
    assert "--label is 2, expected 0 to 1" in capsys.readouterr().err


def test_translators(folder, tmp_path):
    run, there, back = (tmp_path / name for name in ("run", "there", "back.png"))
    assert train(run, folder / "a", "--to", folder / "b", steps=5) == 0
    assert size(run / "samples.png")[1] == (2 * (8 * 9 - 1), 2 * (4 * 9 - 1))
    assert main(f"translate {run} --data {folder} --out {there}".split()) == 0
    assert len(list(there.iterdir())) == 20
    assert main(f"translate {run} --data {folder} --out {back} --back".split()) == 0
    settings, G = commands.load_generator(run, to=True)
    images = load_folder(folder, (1, 8, 8)).images
    assert back.read_bytes() == png_bytes(G.to_a(images), zoom=2)
    assert (there / "00019.png").read_bytes() == png_bytes(G.to_b(images)[19:])
    first = commands.new_pair(settings)[0].to_a.net[0].weight.flatten(1)
    torch.testing.assert_close(first @ first.T, 2 / 1.04 * torch.eye(16))


def test_evaluate_prints_the_table_and_writes_it(
    tmp_path, capsys, judge, digits, unseen, monkeypatch
):
    monkeypatch.setattr(commands, "load_or_train_judge", lambda *data: judge)
    assert main(f"train --data digits --steps 1 --out {tmp_path}".split()) == 0
    assert main(["evaluate", str(tmp_path)]) == 0
    _, G = commands.load_generator(tmp_path)
    sets = {"train_images": digits.images, "test_images": unseen.images}
    expected = evaluate(G, judge=judge, **sets)
    assert repr(expected) in capsys.readouterr().out
    table = json.loads((tmp_path / "table.json").read_text("utf-8"))
    assert table["judge_hash"] == judge.hash
    assert table["rows"] == [row._asdict() for row in expected.rows]


def test_onnx_gives_the_same_images(folder, tmp_path):
    from onnxruntime import InferenceSession  # slow to import

    run, file = tmp_path / "run", tmp_path / "G.onnx"
    assert train(run, folder, "--conditional", steps=1) == 0
    assert main(f"export {run} --out {file}".split()) == 0
    _, G = commands.load_generator(run)
    given = {"z": torch.randn(7, 100), "labels": torch.arange(7) % 2}
    feed = {name: values.numpy() for name, values in given.items()}
    (found,) = InferenceSession(file).run(["images"], feed)
    expected = G(**given).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_onnx_that_differs_is_not_written(run, tmp_path, monkeypatch, capsys):
    program = Mock(side_effect=lambda z: [torch.zeros(len(z), 1, 8, 8)])
    monkeypatch.setattr(torch.onnx, "export", Mock(return_value=program))
    assert main(f"export {run} --out {tmp_path / 'G.onnx'}".split()) == 1
    assert "differ by" in capsys.readouterr().err
    assert not program.save.called


# --- mistakes

MISTAKES = {
    "train --out {run} --data digits": "holds a run.*add --resume",
    "train --out {run} --resume --steps 5": "steps: 5, expected 10 as in the run",
    "train --out {run} --resume --seed 1 --steps 20": "seed: 1, expected 0 as in",
    "train --out {new} --resume": "No such file.*settings.json",
    "train --out {new} --data {new}": "is not a folder",
    "train --out {new} --data mnist": "mnist",
    "train --out {new} --data digits --steps 0": "steps is 0",
    "train --out {new} --data digits --device no": "device",
    "train --out {new} --data {data}": "images has length 20.*batch_size=20",
    "train --out {new} --data {data} --networks mixed": "images has length",
    "train --out {new} --data digits --conditional --networks mixed": "of their own",
    "sample {new}": "No such file.*settings.json",
    "sample {run} --label 0": "--label is 0, expected no label",
    "translate {run} --data {data}": "holds a run without it.*expected a run with --to",
    "evaluate {run}": "expected one of mnist",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_mistakes_end_in_one_sentence(run, folder, tmp_path, capsys, command):
    before = (run / "run.safetensors").read_bytes()
    words = {"run": run, "data": folder, "new": tmp_path / "new"}
    assert main(command.format(**words).split()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ganlib: ")
    assert re.search(MISTAKES[command], line)
    assert (run / "run.safetensors").read_bytes() == before


BOTH = "train --out x --conditional --to x"


@pytest.mark.parametrize(
    "words", ["", "trian", "train", "train --out x --networks no", BOTH]
)
def test_options_that_do_not_fit(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert "usage" in capsys.readouterr().err
