"""Runs that are stopped in all possible ways, and files that are spoiled."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import save
from torch import nn

from ganlib import storage
from ganlib.checkpoint import save_weights
from ganlib.conditional import (
    ConditionalGenerator,
    ProjectionDiscriminator,
    train_conditional,
)
from ganlib.latent import stream
from ganlib.plots import show_curves
from ganlib.steps import (
    classic_update,
    cosine_rate,
    pairing_update,
    r1_update,
    wasserstein_update,
)
from ganlib.storage import load_run, part
from ganlib.training import TrainConfig, train
from ganlib.translation import (
    BothWays,
    PatchDiscriminator,
    Translator,
    train_translation,
)

CONFIG = TrainConfig(40, 8, record_every=10)
SHAPE = (1, 4, 4)


@pytest.fixture
def begin(tiny_networks, tiny_images):
    """A function that starts a run; its networks are the first and the second one."""

    def make(run, update=classic_update, config=CONFIG, images=tiny_images, seed=0):
        G, D = tiny_networks(seed)
        return G, D, train(G, D, images, config, update, run=run)

    return make


@pytest.fixture
def folder(begin, tmp_path, monkeypatch):
    """A run that was left at step 20 of 40, with saves at steps 10 and 20."""
    monkeypatch.setattr(storage, "SECONDS", 0)
    stop(begin(tmp_path / "run")[2], 20)
    assert files(tmp_path / "run") == ["run.safetensors"]
    return tmp_path / "run"


def stop(records, step):
    for record in records:
        if record.step == step:
            return


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def numbers(records):
    """What records say, but for the seconds and the network."""
    rows = [vars(record).items() for record in records]
    return repr(
        [[v for k, v in row if k not in ("seconds", "averaged")] for row in rows]
    )


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


# --- stopped, and taken up


@pytest.fixture
def kinds(begin, tiny_images):
    labels = torch.arange(len(tiny_images)) % 3

    def conditional(run, config, seed):
        torch.manual_seed(seed)
        G = ConditionalGenerator(5, SHAPE, classes=3, size=2)
        D = ProjectionDiscriminator(SHAPE, 3)
        return G, D, train_conditional(G, D, tiny_images, labels, config, run=run)

    def translation(run, config, seed):
        torch.manual_seed(seed)
        G = BothWays(Translator(SHAPE, 2), Translator(SHAPE, 2))
        G.to(memory_format=torch.channels_last)  # and so are Adam's moments
        D = nn.ModuleList([PatchDiscriminator(SHAPE, 2) for _ in "ab"])
        images = tiny_images, -tiny_images.flip(0)
        return G, D, train_translation(G, D, *images, config, run=run)

    def wasserstein(**others):
        generator = stream("between", 0)
        return begin(update=partial(wasserstein_update, generator=generator), **others)

    r1 = partial(begin, update=partial(r1_update, gamma=0.1))
    return dict(
        zip(STEPS, (begin, r1, wasserstein, conditional, translation), strict=True)
    )


STEPS = {"classic": 400, "r1": 400, "wasserstein": 40, "conditional": 40, "cycle": 60}


@pytest.mark.parametrize("kind", STEPS)
def test_stopped_run_is_bit_for_bit_one_that_was_not(kinds, tmp_path, capsys, kind):
    steps = STEPS[kind]
    start = partial(kinds[kind], config=TrainConfig(steps, 8, record_every=10))
    with torch.random.fork_rng(devices=[]):
        *whole, records = start(run=None, seed=0)
        expected = list(records)
        stop(start(run=tmp_path / "run", seed=0)[2], steps // 2)
        list(start(run=tmp_path / "whole", seed=0)[2])
        *networks, records = start(run=tmp_path / "run", seed=1)
        found = list(records)
    sentence = f"Going on after {steps // 2} of {steps} steps, from {tmp_path}/run.\n"
    assert capsys.readouterr().out == sentence
    for first, second in zip(whole, networks, strict=True):
        assert same(first.state_dict(), second.state_dict())
    assert numbers(found) == numbers(expected[len(found) :])
    stopped, whole = load_run(tmp_path / "run"), load_run(tmp_path / "whole")
    assert numbers(stopped.history) == numbers(expected)
    assert same(stopped.tensors, whole.tensors)
    assert same(part(stopped.tensors, "averaged"), expected[-1].averaged.state_dict())
    seconds = [record.seconds for record in stopped.history]
    assert seconds == sorted(seconds)


def test_ctrl_c_within_a_step_keeps_the_last_record(begin, tmp_path, capsys):
    _, D, records = begin(tmp_path)
    D.register_forward_pre_hook(press_ctrl_c(2 * 26))  # D has moved, and G has not
    assert [record.step for record in records] == [10, 20, 25]
    assert load_run(tmp_path).history[-1].step == 20
    _, D, records = begin(tmp_path, seed=1)
    D.register_forward_pre_hook(press_ctrl_c(1))
    assert [record.step for record in records] == [20]  # nothing new, but a record
    assert "Stopped after 20 of 40" in capsys.readouterr().out
    list(begin(tmp_path, seed=1)[2])
    list(begin(tmp_path / "whole")[2])
    assert same(load_run(tmp_path).tensors, load_run(tmp_path / "whole").tensors)


def press_ctrl_c(call):
    def press(D, _):
        if D.calls == call - 1:
            raise KeyboardInterrupt

    return press


@pytest.mark.parametrize("name", ["clone", "save_run"])
def test_ctrl_c_waits_until_a_record_is_kept_or_saved(begin, folder, monkeypatch, name):
    def press(*arguments, **named):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return original(*arguments, **named)

    monkeypatch.setattr(storage, "SECONDS", 0)
    target = torch.Tensor if name == "clone" else storage
    original = getattr(target, name)
    records = begin(folder)[2]
    next(records)
    monkeypatch.setattr(target, name, press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # xdist has none
    steps = [record.step for record in records]
    signal.signal(signal.SIGINT, before)
    assert steps == [40] * (name == "clone")
    assert load_run(folder).history[-1].step == (40 if name == "clone" else 30)


def test_ctrl_c_does_not_end_the_last_save(begin, folder, monkeypatch):
    def press(*arguments):
        signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    original, records = storage.save_run, begin(folder)[2]
    next(records)
    monkeypatch.setattr(storage, "save_run", press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # xdist has none
    with pytest.raises(KeyboardInterrupt):
        records.close()
    signal.signal(signal.SIGINT, before)
    assert load_run(folder).history[-1].step == 30


def test_finished_run_gives_its_last_record_and_may_become_longer(begin, tmp_path):
    short = replace(CONFIG, steps=20)
    *_, last = begin(tmp_path, config=short)[2]
    (again,) = begin(tmp_path, config=short, seed=1)[2]
    assert numbers([again]) == numbers([last])
    assert same(again.averaged.state_dict(), last.averaged.state_dict())
    assert [record.step for record in begin(tmp_path, seed=1)[2]] == [30, 40]
    list(begin(tmp_path / "whole")[2])
    assert same(load_run(tmp_path).tensors, load_run(tmp_path / "whole").tensors)
    with pytest.raises(ValueError, match="steps: 20, expected 40 as in the run in"):
        begin(tmp_path, config=short)


def test_run_is_saved_so_many_seconds_after_the_last_time(begin, tmp_path, monkeypatch):
    clock = iter(range(1000))  # each look takes a second
    monkeypatch.setattr(storage.time, "monotonic", clock.__next__)
    monkeypatch.setattr(storage, "SECONDS", 4)
    steps = []
    monkeypatch.setattr(
        storage, "save_run", lambda _, run: steps.append(run.history[-1].step)
    )
    config = replace(CONFIG, record_every=1)
    stop(begin(tmp_path, config=config)[2], 18)
    assert steps == [4, 8, 12, 16, 18]
    # A loop that Python's end stops: torch would abort the process.
    monkeypatch.setattr(storage.sys, "is_finalizing", lambda: True)
    stop(begin(tmp_path, config=config)[2], 3)
    assert steps[5:] == []


def test_what_was_saved_can_be_looked_at(begin, tiny_networks, folder):
    run = load_run(str(folder))
    assert TrainConfig(**run.config) == CONFIG
    assert run.versions["torch"] == torch.__version__
    assert show_curves(run.history).lines
    G = tiny_networks(1)[0]
    G.load_state_dict(part(run.tensors, "averaged"))
    with pytest.raises(FileNotFoundError, match=r"holds no run: train\("):
        load_run(folder / "other")


def test_nan_is_kept_where_it_means_something_and_never_saved_as_weights(
    begin, tmp_path
):
    G, _, records = begin(tmp_path, pairing_update)
    next(records)
    G.net[0].weight.data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="back at step 10"):
        next(records)
    (record,) = load_run(tmp_path).history
    assert math.isnan(record.d_real)
    assert math.isfinite(record.d_loss)
    list(begin(tmp_path, pairing_update)[2])
    assert len(load_run(tmp_path).history) == 4


# --- another run


def test_folder_of_another_run_is_refused_and_stays(
    begin, folder, tiny_images, tiny_networks
):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for others, sentence in (
        ({"config": replace(CONFIG, lr_g=0.5)}, "lr_g: 0.5, expected 0.001 as in the"),
        ({"config": replace(CONFIG, betas=(0.5, 0.9))}, r"betas: \[0.5, 0.9\], expec"),
        ({"images": tiny_images.flip(0)}, r"data: SHA-256 "),
        ({"update": partial(r1_update, gamma=2)}, r"update.*<function r1_update>, gam"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}.*, or name another folder"):
            begin(folder, **others)
    G, D = tiny_networks()
    D.net.append(nn.Identity())
    with pytest.raises(ValueError, match=r"G, D: .*'TinyDiscriminator "):
        train(G, D, tiny_images, CONFIG, run=folder)
    with pytest.raises(ValueError, match=r"rate: .*cosine_rate"):
        train(*tiny_networks(), tiny_images, CONFIG, rate=cosine_rate, run=folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_file_that_is_no_run_is_refused(begin, tmp_path):
    save_weights(tmp_path / "run.safetensors", G=nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"run in .* is damaged \(.*\), expected a"):
        begin(tmp_path)


def test_loop_that_was_left_open_writes_over_no_newer_run(begin, tmp_path, capsys):
    records = begin(tmp_path)[2]
    next(records)
    assert len(list(begin(tmp_path)[2])) == 4
    records.close()
    assert "another run has been saved there" in capsys.readouterr().out
    assert load_run(tmp_path).history[-1].step == 40


def test_run_whose_folder_was_deleted_is_saved_again(begin, folder):
    records = begin(folder)[2]
    next(records)
    shutil.rmtree(folder)
    records.close()
    assert load_run(folder).history[-1].step == 30


# --- faults


def test_truncated_file_is_refused_and_stays(folder, begin):
    path = storage.run_file(folder)
    whole = path.read_bytes()
    for sixteenth in range(16):
        cut = whole[: len(whole) * sixteenth // 16]
        path.write_bytes(cut)
        with pytest.raises(
            ValueError, match=r"is damaged .* an undamaged one: delete it"
        ):
            begin(folder)
        assert path.read_bytes() == cut
    path.write_bytes(whole)
    assert [record.step for record in begin(folder)[2]] == [30, 40]


def test_any_flipped_byte_is_noticed(folder):
    path = storage.run_file(folder)
    whole = bytearray(path.read_bytes())
    for place in range(0, len(whole), 11):
        whole[place] ^= 1 << place % 8
        path.write_bytes(whole)
        whole[place] ^= 1 << place % 8
        with pytest.raises(
            ValueError, match=r"is damaged \(.*\), expected an undamaged one"
        ):
            load_run(folder)


@pytest.mark.parametrize("fault", ["write", "wait", "damage"])
def test_save_that_fails_stops_no_run_and_spoils_no_save(
    folder, begin, monkeypatch, capsys, fault
):
    def write(path, mode):
        return open("/dev/full", mode)  # writing there ends with ENOSPC

    def wait(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def damage(tensors, facts):
        return save(tensors, facts)[:-1] + b"?"

    place = {write: (storage, "open"), wait: (os, "fsync"), damage: (storage, "save")}
    fake = {f.__name__: f for f in place}[fault]
    records = begin(folder)[2]
    with monkeypatch.context() as patch:
        patch.setattr(*place[fake], fake, raising=False)
        assert [next(records).step, next(records).step] == [30, 40]
    cause = "the checksum is wrong" if fault == "damage" else "[Errno 28] No space left"
    said = capsys.readouterr().out
    assert f"Step 30 could not be saved in {folder} ({cause}" in said
    assert load_run(folder).history[-1].step == 20
    assert files(folder) == ["run.safetensors"]
    list(records)  # there is room again
    assert load_run(folder).history[-1].step == 40


def test_file_gets_its_name_between_two_waits_for_the_disk(folder, begin, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def note(*arguments, name=name, real=real):
            calls.append(name)
            real(*arguments)

        monkeypatch.setattr(os, name, note)
    stop(begin(folder)[2], 30)
    assert calls == ["fsync", "replace", "fsync"]


def test_folder_that_cannot_be_written_is_refused_before_the_first_step(
    begin, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be written \(.+\), expected a folder"):
        begin(tmp_path / "file" / "run")

    def forbidden(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(storage, "TemporaryFile", forbidden)
    with pytest.raises(PermissionError, match=r"written \(Permission denied\), expec"):
        begin(tmp_path)


# Forks a run again and again, which saves after every step, and kills it with SIGKILL:
# at a random moment, or in a save, at one of the calls that it is made of.
KILLS = """
import io, json, os, random, signal, stat, sys, time
import torch
from torch import nn
from ganlib import storage
from ganlib.training import TrainConfig, train

torch.set_num_threads(1)
random.seed(0)
folder, real = storage.Path(sys.argv[1]), storage.save_run
here = os.getpid()

def run(folder, seconds, report=None, call=None, number=0, steps=10**6):
    def save_run(folder, run):
        real(folder, run)
        os.write(report, b"%d " % run.history[-1].step)

    def die(*arguments):
        nonlocal number
        number -= 1
        if number == 0:
            if call == "fsync" and stat.S_ISREG(os.fstat(*arguments).st_mode):
                os.truncate(*arguments, os.fstat(*arguments).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    if report:
        storage.save_run = save_run
    if call:
        original = getattr(os, call)
        setattr(os, call, die)
    storage.SECONDS, sys.stdout = seconds, io.StringIO()
    saved = storage.run_file(folder).exists()
    torch.manual_seed(os.getpid() - here if saved else 0)
    G = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
    G.latent_dim = 3
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    if report:
        os.write(report, b"0 ")
    list(train(G, D, points, TrainConfig(steps, 8, record_every=1), run=folder))

def start(*arguments):
    pid = os.fork()
    if pid == 0:
        run(*arguments)
        os._exit(0)
    return pid

points = [("fsync", n) for n in range(1, 18)] + [("replace", n) for n in range(1, 9)]
step, kills, lost, unfinished = 0, 0, 0, 0
for call, number in [(None, 0)] * 25 + points:
    reading, writing = os.pipe()
    pid = start(folder, 0, writing, call, number)
    os.read(reading, 2)  # it begins
    if call is None:
        time.sleep(random.uniform(0, 0.05))
        os.kill(pid, signal.SIGKILL)
    kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    os.close(writing)
    done = os.read(reading, 1 << 20).split()
    os.close(reading)
    unfinished += len(list(folder.glob(".run.safetensors.*")))
    step = max([step, *map(int, done)])
    found = storage.load_run(folder).history[-1].step if step else 0
    lost += found < step
    step = max(step, found)
for path in (folder, folder / "whole"):
    os.waitpid(start(path, 30, None, None, 0, step + 20), 0)
a, b = (storage.load_run(path).tensors for path in (folder, folder / "whole"))
same = a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
left = len(list(folder.glob(".run.safetensors.*")))
print(json.dumps([kills, lost, same, left, step, unfinished]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_run_survives_kill_9_at_fifty_moments(tmp_path):
    command = [sys.executable, "-c", KILLS, str(tmp_path / "run")]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert not answer.stderr
    kills, lost, same, left, step, unfinished = json.loads(answer.stdout)
    assert (kills, lost, same, left) == (50, 0, True, 0)
    assert step > 50
    assert unfinished > 10  # moments in which a file was half written
