"""The benchmarks measure what they say; nothing here is timed."""

import copy
import inspect
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

import ganlib.evaluation
from ganlib.conditional import ConditionalGenerator
from ganlib.judge import Judge, judge_features
from ganlib.latent import sample_images
from ganlib.losses import d_loss, g_loss_non_saturating, r1_penalty, r2_penalty
from ganlib.metrics import frechet_distance, precision_recall
from ganlib.models import Discriminator, Generator, new_networks
from ganlib.plots import png_bytes
from ganlib.steps import d_step
from ganlib.training import TrainConfig, train

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
sys.path.insert(0, str(ROOT / "benchmarks"))
scripts = SimpleNamespace(**{name: import_module(name) for name in NAMES})
bench, runs, toys = scripts.bench, scripts.runs, scripts.toys
digits, clock = scripts.digit_objectives, scripts.time_to_quality

IMAGES = torch.rand(600, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


def sizes(*networks):
    return [sum(p.numel() for p in network.parameters()) for network in networks]


def test_results_are_stored_with_command_commit_and_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    assert runs.stored("speed") == []
    monkeypatch.setattr(sys, "argv", ["/some/where/speed.py", "--x"])
    bench.save("speed", [{"a": 1, "b": "two, three"}])
    command, commit, machine, *rows = (tmp_path / "speed.csv").read_text().splitlines()
    assert command == "# command: python benchmarks/speed.py --x"
    assert commit.startswith("# commit: ")
    assert re.match(r"# machine: .+, \d+ cores, \d+ GB, .+ torch [\d.]+", machine)
    assert rows == ["a,b", '1,"two, three"']
    assert runs.stored("speed") == [{"a": 1, "b": "two, three"}]


def test_child_answers_with_its_last_line_in_its_own_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setenv("GONE", "5")
    code = (
        "import ganlib, json, os, sys; print('noise'); found = map(os.environ.get, {})"
    )
    code += "; print(json.dumps([*found, *sys.argv[1:]])); sys.exit(len(sys.argv) - 2)"
    (tmp_path / "some.py").write_text(code.format(("GONE", "GOMP_SPINCOUNT")))
    started = bench.child("some.py", 1, env={"GONE": None, **bench.NO_SPIN_LIMIT})
    assert bench.answer(started) == [None, "300000", "1"]  # in spite of ganlib
    with pytest.raises(SystemExit, match=r"some\.py 1 2 failed"):
        bench.answer(bench.child("some.py", 1, 2))


def test_readme_quotes_the_results_and_make_bench_runs_the_scripts():
    assert scripts.summary.table() in (ROOT / "README.md").read_text("utf-8")
    setting = dict(scripts.threads.settings())[scripts.summary.SPINS]["GOMP_SPINCOUNT"]
    assert f'"GOMP_SPINCOUNT", "{setting}"' in inspect.getsource(ganlib)
    command = ["make", "-n", "-s", "bench"]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    found = set(re.findall(r"benchmarks/(\w+)\.py", plan))
    searches = {
        *("recipe_search", "plateau"),
        *("convolutions", "conditional", "translation"),
        *("rivals", "minority", "students", "stopping", "batches"),
        "gpu",  # which make bench would replace by a CPU's
    }
    assert set(NAMES) - found == {"bench", "runs", "textbook", *searches}


def test_textbook_is_the_tutorial(capsys):
    """Published sizes, and both losses printed at every step, near log 2 at first."""
    G, D = scripts.textbook.networks(0.8)
    assert sizes(G, D) == [1_510_032, 533_505]
    assert [m.eps for m in G.modules() if hasattr(m, "eps")] == [0.8] * 3
    batches = [(images, None) for images in IMAGES[:12].split(4)]
    assert list(scripts.textbook.train(G, D, batches)) == [4, 8, 12]
    losses = re.findall(r"loss: ([\d.]+)", capsys.readouterr().out)
    assert [float(loss) for loss in losses] == pytest.approx([0.69] * 6, abs=0.2)


def test_limit_counts_the_products_of_a_step():
    G, D = new_networks()
    with FlopCounterMode(display=False) as products:
        scripts.throughput.products_of(G, D, 64)()
    assert products.get_total_flops() == runs.step_flops(G, D, 64) > 0


def test_throughput_compares_medians(monkeypatch):
    code = inspect.getsource(scripts.throughput.measure)
    numbers = dict.fromkeys(re.findall(r'limit\["(\w+)', code), 2.0)
    rates = {
        "textbook": [3000, 1, 9999, 3000, 2],
        "ganlib": [9999, 8000, 1, 8000, 8000],
    }

    def child(_script, batch, name, env):
        assert (env is None) == (name != "textbook")
        speed = {"images_per_second": rates[name].pop()} if name in rates else numbers
        return {**speed, "memory": 1.0}

    monkeypatch.setattr(scripts.throughput, "child", child)
    monkeypatch.setattr(scripts.throughput, "answer", lambda answer: answer)
    row = scripts.throughput.measure(64)
    names = ("textbook_images_per_s", "ratio", "step_ms", "share_of_limit", "rest_ms")
    assert [row[name] for name in names] == [3000, 2.67, 8, 0.25, 4]


def test_train_is_timed_between_two_records(monkeypatch):
    times = [(10, 0.5), (20, 1.5), (30, 3.0), (40, 5.0), (50, 99.0)]
    records = [SimpleNamespace(step=step, seconds=seconds) for step, seconds in times]
    monkeypatch.setattr(runs, "train", lambda *_: iter(records))
    assert runs.time_train(IMAGES, TrainConfig(), 1, 2) == (5.0 - 1.5) / (40 - 20)


def weights_in_one_number(G):
    return round(G.net[-2].bias.abs().sum().item(), 6)


def test_every_choice_is_another_run(monkeypatch):
    monkeypatch.setattr(runs, "images", IMAGES, raising=False)
    monkeypatch.setattr(runs, "distance", weights_in_one_number)
    choices = scripts.choices.CHOICES
    assert choices[0] == scripts.choices.Choice("all", "ganlib")
    short = [
        replace(choice, config=replace(choice.config, steps=2)) for choice in choices
    ]
    rows = [scripts.choices.run((choice, 0)) for choice in short]
    assert len({row["distance_G"] for row in rows}) == len(choices)
    G, D = new_networks(0)
    *_, last = train(G, D, IMAGES, short[0].config)
    assert rows[0]["distance_G"] == weights_in_one_number(G)
    assert rows[0]["distance"] == weights_in_one_number(last.averaged)


def test_averages_are_those_of_train(monkeypatch):
    averages, data = scripts.averages, SimpleNamespace(images=IMAGES, labels=None)
    for name, value in {
        "CONFIG": TrainConfig(steps=5),
        "load_images": lambda *_, offline: data,
        "train_judge": lambda *_: None,
        "judge_features": lambda _, images: images,
        "frechet_distance": lambda _, fake: fake.double().sum().item(),
    }.items():
        monkeypatch.setattr(averages, name, value)
    found = averages.run(("digits", 0))
    assert found[-1]["epochs"] == 0.16  # 0.3 · 5 steps · 64 of 600 images
    rows = {row["ema_share"]: row["distance"] for row in found}
    G, D = new_networks(0)
    *_, last = train(G, D, IMAGES, averages.CONFIG)
    for share, network in ((0.0, G), (0.1, last.averaged)):
        expected = sample_images(network, 600, seed=1234).double().sum().item()
        assert rows[share] == pytest.approx(expected, abs=0.01)


def test_variants_of_the_plateau_train(monkeypatch):
    plateau = scripts.plateau
    monkeypatch.setattr(runs, "images", IMAGES, raising=False)
    monkeypatch.setattr(plateau, "JUDGED", (2,))
    monkeypatch.setattr(plateau, "judged", lambda G, D: {"G": sizes(G), "D": sizes(D)})
    short = {name: replace(v, steps=2) for name, v in plateau.VARIANTS.items()}
    monkeypatch.setattr(plateau, "VARIANTS", short)
    rows = [plateau.run((name, 0))[0] for name in short]
    assert (rows[0]["G"], rows[0]["D"]) == ([1_510_032], [533_505])
    assert {row["images"] for row in rows} == {128}
    monkeypatch.setattr(plateau, "judged", lambda G, D: {"G": weights_in_one_number(G)})
    changed = {"growth": ((1, 16),)}, {"decay_g": True}, {}
    for number, change in enumerate(changed):
        plateau.VARIANTS[number] = plateau.Variant(2, **change)
    grown, decayed, plain = (plateau.run((number, 0))[0] for number in range(3))
    assert (grown["images"], decayed["images"]) == (64 + 16, 128)
    assert decayed["G"] != plain["G"]


def test_variants_of_convolutions_train(monkeypatch):
    convolutions = scripts.convolutions
    monkeypatch.setattr(runs, "images", IMAGES, raising=False)
    found = {
        "sum": lambda G: weights_in_one_number(G),
        "training": lambda G: G.training,
    }
    monkeypatch.setattr(
        runs, "describe", lambda G: {name: f(G) for name, f in found.items()}
    )
    sums = set()
    monkeypatch.setattr(convolutions, "JUDGED", (15, 30))
    for name, variant in convolutions.VARIANTS.items():
        short = replace(variant, seconds=45)
        monkeypatch.setitem(convolutions.VARIANTS, name, short)
        rows = convolutions.run((name, 0, 15_000.0))
        assert [(r["step"], r["seconds"]) for r in rows] == [(1, 15), (2, 30)]
        assert not rows[0]["training"]
        sums.add(rows[1]["sum"])
    assert len(sums) == len(convolutions.VARIANTS)  # each does what its name says
    start = partial(convolutions.records, "dense, dense", IMAGES)
    assert runs.step_ms({"dense": start}, rounds=1, steps=1)["dense"] > 0


def test_translations_train_and_are_described(monkeypatch, tmp_path):
    translation, labels = scripts.translation, torch.arange(600) % 10
    sums = {
        sum(weight.sum().item() for weight in last.averaged.parameters())
        for name, v in translation.VARIANTS.items()
        for last in translation.records(name, IMAGES[:300], v.change(IMAGES[300:]), 6)
    }
    assert len(sums) == len(translation.VARIANTS) - 1  # one only takes longer
    judges = [Judge(), Judge()]
    pairs = IMAGES, -IMAGES
    perfect = translation.BothWays(Negative(), Negative())
    row = translation.describe(perfect, pairs, labels, judges)
    for side, judge, truth in zip("ab", judges, pairs, strict=True):
        right = (judge(truth).argmax(1) == labels).float().mean().item()
        assert row[f"kept_{side}"] == pytest.approx(right, abs=1e-4)
        assert row[f"correlation_{side}"] == pytest.approx(1, abs=1e-3)
        assert row[f"error_{side}"] == row[f"cycle_{side}"] == 0
        assert row[f"changed_{side}"] > 0.9  # 2 mean |x|
        assert 0.05 < row[f"noisy_cycle_{side}"] < 0.1
        assert row[f"distance_{side}"] < 1e-3
    copying = translation.BothWays(nn.Identity(), nn.Identity())
    row = translation.describe(copying, pairs, labels, judges)
    assert row["correlation_a"] == pytest.approx(-1, abs=1e-3)
    assert row["changed_a"] == 0 < row["error_a"]
    monkeypatch.setattr(translation, "RESULTS", tmp_path)
    translation.leave_picture("dense, cycle 0", perfect, IMAGES[:20], labels[:20])
    picture = Image.open(tmp_path / "translation_dense_cycle_0.png")
    expected = torch.cat([IMAGES[:10], -IMAGES[:10], IMAGES[:10]])
    same = Image.open(BytesIO(png_bytes(expected, columns=10)))
    assert picture.tobytes() == same.tobytes()


class Negative(nn.Module):
    def forward(self, images):
        return -images


def test_variants_with_labels_train_and_are_described(monkeypatch):
    conditional, labels = scripts.conditional, torch.arange(600) % 10
    sums = {
        sum(weight.sum().item() for weight in last.averaged.parameters())
        for name in conditional.VARIANTS
        for last in conditional.records(name, IMAGES, labels, 2, 0)
    }
    assert len(sums) == len(conditional.VARIANTS)
    torch.manual_seed(0)
    judge = Judge().eval()
    monkeypatch.setattr(runs, "judge", judge, raising=False)
    monkeypatch.setattr(runs, "features", judge_features(judge, IMAGES), raising=False)
    test = SimpleNamespace(images=IMAGES, labels=labels)
    monkeypatch.setattr(runs, "test", test, raising=False)
    same = conditional.describe(IMAGES)  # the test images take the place of samples
    assert (same["recall_in_a_digit"], same["lowest_recall"]) == (1, 1)
    assert max(same["distance"], same["distance_of_a_digit"]) < 1e-3
    read = judge(IMAGES).argmax(1)
    right = (read == labels).float().mean().item()
    assert same["as_asked"] == pytest.approx(right, abs=1e-4)
    one_each = IMAGES[:10].repeat(60, 1, 1, 1)
    assert conditional.describe(one_each)["due_to_label"] == pytest.approx(1, abs=0.01)
    assert same["due_to_label"] < 0.1


def test_joined_d_depends_on_the_label():
    D, labels = scripts.conditional.JoinedDiscriminator(), torch.arange(40) % 10
    first = D(IMAGES[:40], labels)
    assert first.shape == (40,)
    assert (D(IMAGES[:40], (labels + 1) % 10) != first).all()


def test_classifier_update_trains_both_on_the_classes():
    conditional, real = scripts.conditional, IMAGES[:6]
    labels, asked = torch.arange(6), torch.arange(6) + 3
    G, D = ConditionalGenerator(), conditional.ClassifyingDiscriminator()
    fake = G(torch.randn(6, 100), asked)
    logits, classes = D(torch.cat([real, fake.detach()]))
    loss = d_loss(logits[:6], logits[6:])
    loss += 0.3 * cross_entropy(classes, torch.cat([labels, asked]))
    of_d = torch.autograd.grad(loss, list(D.parameters()))
    logits, classes = D(fake)
    loss = g_loss_non_saturating(logits) + 0.3 * cross_entropy(classes, asked)
    of_g = torch.autograd.grad(loss, list(G.parameters()), retain_graph=True)
    opts = [torch.optim.SGD(network.parameters(), 0.0) for network in (D, G)]
    pairs = real, labels, fake, asked
    conditional.classifier_update(D, *opts, *pairs, 0.0, weight=0.3)
    for network, gradients in ((D, of_d), (G, of_g)):
        for weight, gradient in zip(network.parameters(), gradients, strict=True):
            torch.testing.assert_close(weight.grad, gradient)


def test_rivals_of_the_gan_train_and_draw(monkeypatch, tmp_path):
    rivals, means = scripts.rivals, {"mean": lambda G: sample_images(G, 9, seed=0)}
    monkeypatch.setattr(runs, "images", IMAGES, raising=False)
    monkeypatch.setattr(runs, "SAMPLES", 9)
    monkeypatch.setattr(runs, "describe", lambda G: {"mean": means["mean"](G).mean()})
    monkeypatch.setattr(rivals, "RESULTS", tmp_path)
    times = {name: rivals.draw_seconds(name, IMAGES) for name in rivals.MODELS}
    found = [rivals.run((name, 0, 60_000.0, times[name])) for name in times]
    rows = [row for rows in found for row in rows]
    assert {row["steps"] for row in rows} == {2}
    assert len({row["mean"].item() for row in rows}) == len(rows)
    assert len(list(tmp_path.glob("rivals_*.png"))) == len(rows)
    weights = [row["weights"] for row in rows]
    assert weights[0] == 1_510_032 + 533_505
    assert min(weights) > 0.9 * max(weights)


def test_autoencoder_has_the_loss_of_its_paper():
    torch.manual_seed(0)
    model, real = scripts.rivals.Autoencoder().eval(), IMAGES[:8]
    noise = torch.Generator().manual_seed(1)
    loss = model.loss(real, noise)
    mean, log_variance = model.encoder(real).chunk(2, 1)
    posterior = Normal(mean, (log_variance / 2).exp())
    z = mean + posterior.stddev * torch.randn(
        mean.shape, generator=noise.manual_seed(1)
    )
    pixels = Bernoulli((model.decoder(z) + 1) / 2, validate_args=False)
    likelihood = pixels.log_prob((real + 1) / 2).sum() / 8
    divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum() / 8
    torch.testing.assert_close(loss, divergence - likelihood)


def test_flow_that_knows_the_image_arrives_there():
    flow = scripts.rivals.Flow()
    image = IMAGES[:1].flatten(1)
    nn.init.zeros_(flow.last.weight)
    flow.last.bias.data = image[0]
    noise = torch.Generator().manual_seed(0)
    assert flow.loss(IMAGES[:1].repeat(9, 1, 1, 1), noise) < 1e-8
    samples = sample_images(scripts.rivals.Euler(flow, 7), 3, seed=0)
    torch.testing.assert_close(samples, IMAGES[:1].repeat(3, 1, 1, 1))


def test_minority_is_cut_and_counted(monkeypatch):
    minority, labels = scripts.minority, torch.arange(600) % 10
    torch.manual_seed(0)
    judge = Judge().eval()
    found = judge(IMAGES)
    judge.head.bias.data -= found.mean(0)  # reads each digit now and then
    for name, value in {
        "images": IMAGES,
        "judge": judge,
        "features": judge_features(judge, IMAGES),
        "labels": labels,
        "test": SimpleNamespace(labels=labels),
        "SAMPLES": 50,
    }.items():
        monkeypatch.setattr(runs, name, value, raising=False)
    monkeypatch.setattr(minority, "CONFIG", TrainConfig(steps=2))
    reads = judge(IMAGES).argmax(1) == 8
    assert 0.02 < reads.float().mean() < 0.98
    row = minority.run(("as it is", 0))
    assert row["share_in_data"] == pytest.approx(0.1)
    assert row["read_in_real"] == pytest.approx(reads.float().mean().item(), abs=1e-4)
    row = minority.run(("1 percent", 0))
    assert row["share_in_data"] == pytest.approx(5 / 545, abs=1e-4)
    wrong = reads[labels != 8].float().mean().item()
    assert row["read_in_others"] == pytest.approx(wrong, abs=1e-4)
    kept = minority.cut(labels, 0.01, 0)
    assert len(kept.unique()) == 545
    assert not torch.equal(kept, minority.cut(labels, 0.01, 1))


def test_students_learn_from_what_their_name_says(monkeypatch):
    students, labels = scripts.students, torch.arange(600) % 10
    judge = Judge().eval()
    test = SimpleNamespace(images=IMAGES, labels=judge(IMAGES).argmax(1))
    data = {"images": IMAGES, "labels": labels, "test": test, "judge": judge}
    for name, value in data.items():
        monkeypatch.setattr(runs, name, value, raising=False)
    for name, value in {
        "CONFIG": TrainConfig(steps=2),
        "COUNT": 20,
        "MORE": 30,
        "train_judge": Mock(return_value=judge),
    }.items():
        monkeypatch.setattr(students, name, value, raising=False)
    rows = students.run(0)
    assert [(row["images"], row["accuracy"]) for row in rows] == [
        *((20, 1), (20, 1), (20, 1), (30, 1), (600, 1))
    ]
    true, read, fakes, more = (call.args for call in students.train_judge.mock_calls)
    where = (IMAGES[:, None] == true[0]).flatten(2).all(2).nonzero()
    assert torch.equal(labels[where[:, 0]], true[1][where[:, 1]])
    assert torch.equal(read[0], true[0])
    assert torch.equal(fakes[0], more[0][:20])
    for images, marks in (read, fakes, more):
        assert torch.equal(marks, judge(images).argmax(1))


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_benchmark_draws_in_the_page():
    code = "import latency as l; from ganlib.models import Generator; l.EVENTS = 3; "
    code += "print(len(l.page_ms(Generator())))"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(
        command, cwd=ROOT / "benchmarks", capture_output=True, text=True
    )
    assert answer.stdout == "3\n", answer.stderr


def test_samples_are_described_as_by_the_judge(monkeypatch):
    torch.manual_seed(0)
    judge, (G, _) = Judge().eval(), new_networks(0)
    features = judge_features(judge, IMAGES)
    for name, value in {"judge": judge, "features": features, "SAMPLES": 600}.items():
        monkeypatch.setattr(runs, name, value, raising=False)
    samples = sample_images(G, 600, seed=1234)
    shares = judge(samples).argmax(1).bincount(minlength=10) / 600
    fakes = judge_features(judge, samples)
    balls = precision_recall(features, fakes, k=5)
    assert runs.describe(G) == pytest.approx(
        {
            "distance": frechet_distance(features, fakes),
            "precision": balls.precision,
            "recall": balls.recall,
            "coverage": balls.coverage,
            "rarest": shares.min().item(),
            "most": shares.max().item(),
        },
        abs=6e-4,
    )


def test_parts_of_the_plateau_do_what_they_say():
    plateau, order = scripts.plateau, torch.Generator().manual_seed(0)
    black = torch.full((50, 1, 28, 28), -1.0)
    black[:, :, 5, 7] = 1.0
    spots = plateau.shifted(black, 2, order).flatten(1).argmax(1)
    assert {*(spots // 28).tolist()} == {3, 4, 5, 6, 7}
    assert {*(spots % 28).tolist()} == {5, 6, 7, 8, 9}
    features = torch.randn(8, 3)
    spread = plateau.MinibatchStd(4)(features)[:, 3]
    by_hand = torch.stack(
        [part.std(0, correction=0).mean() for part in features.split(4)]
    )
    torch.testing.assert_close(spread, by_hand.repeat_interleave(4))


def test_penalties_of_the_plateau_are_r1_and_r2():
    plateau, (_, D) = scripts.plateau, new_networks(0)
    real, fake, start = IMAGES[:8], IMAGES[8:16], copy.deepcopy(D)
    sgd = torch.optim.SGD(D.parameters(), 1.0)
    plateau.d_move(D, sgd, real, fake, plateau.Variant(gamma=0.5))
    penalty = r1_penalty(start, real) + r2_penalty(start, fake)
    (d_loss(start(real), start(fake)) + 0.5 * penalty).backward()
    for moved, weight in zip(D.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(moved, weight - weight.grad)


def test_the_search_trains():
    search, sums = scripts.recipe_search, set()
    for name in (
        "base",
        "r1 1",
        "hinge",
        "noise 0.2",
        "dropout 0.3 in D",
        "shifted by 1",
    ):
        variant = search.replace(search.VARIANTS[name], steps=1)
        G, _ = search.train_variant(variant, 0, IMAGES)
        sums.add(G.net[-2].bias.abs().sum().item())
    assert len(sums) == 6


def test_paper_has_the_published_networks_and_trains_them():
    means = torch.linspace(0.1, 0.9, 784)
    G, D = scripts.paper.networks(means)
    assert sizes(G, D) == [2_503_984, 1_231_441]
    torch.testing.assert_close(G[-1].bias.sigmoid(), means)
    layer, x = scripts.paper.Maxout(3, units=4, pieces=5), torch.randn(6, 3)
    pieces = layer.linear(x).split(5, dim=1)
    assert torch.equal(layer(x), torch.stack([p.amax(1) for p in pieces], 1))
    ((_, G),) = scripts.paper.train(IMAGES.flatten(1) / 2 + 0.5, 1)
    images = scripts.paper.samples(G, 50)
    assert images.shape == (50, 1, 28, 28)
    assert images.abs().mean() < 0.2  # static, whose mean is gray


def test_each_player_of_the_paper_moves_by_its_own_loss():
    G, D = scripts.paper.networks(torch.full((784,), 0.5))
    D.eval()  # without dropout
    real, z = torch.ones(8, 784), scripts.paper.paper_noise(64)
    gaps = []
    for rates in ((0.0, 0.0), (9.0, 0.0), (0.0, 0.1)):  # nobody, G, then D learns
        optimizers = [
            torch.optim.SGD(n.parameters(), r)
            for n, r in zip((G, D), rates, strict=True)
        ]
        for _ in range(20):
            scripts.paper.step(G, D, optimizers, real)
        gaps.append((D(real).mean() - D(G(z).sigmoid()).mean()).item())
    assert gaps[1] < gaps[0]
    assert gaps[1] < gaps[2]


def test_every_event_moves_a_slider(monkeypatch):
    monkeypatch.setattr(scripts.latency, "EVENTS", 3)
    assert len(scripts.latency.event_ms(range(23).index)) == 3  # 20 to warm up
    networks = Generator().eval(), Discriminator(), Judge().requires_grad_(False)
    monkeypatch.setattr(scripts.latency, "event_ms", lambda move: [move(1), move(2)])
    assert len(dict(scripts.latency.kernel_events(*networks, IMAGES[:9]))) == 7


def test_every_part_of_the_table_is_measured():
    sets = IMAGES[:80], Judge().requires_grad_(False), IMAGES.repeat(100, 1, 1, 1)
    parts = scripts.evaluation.parts(*sets, IMAGES[80:160])
    words = [re.match(r"\w+", n)[0] for n, call in parts if call() is not None]
    table = inspect.getsource(ganlib.evaluation)
    assert [f'"{word}' in table for word in words[1:]] == [True] * 5


def test_samples_are_judged_when_the_clock_says_so(monkeypatch):
    monkeypatch.setattr(runs, "distance", lambda G: 7.0)
    monkeypatch.setattr(runs, "images", IMAGES, raising=False)
    monkeypatch.setattr(clock, "SECONDS", (1, 3))
    batches = clock.from_memory(0, 10)
    rows = clock.follow("curve", 0.8, 5, batches, clock.RateClock(20))
    known = [("curve", 5, 1, 20, 7.0), ("curve", 5, 3, 60, 7.0)]
    assert [tuple(row.values()) for row in rows] == known


def test_hinge_update_moves_both_by_its_losses():
    """D: max(0, 1 - D(x)) + max(0, 1 + D(G(z))), G: -D(G(z)), each on average."""
    G, D = toys.networks(0)
    with torch.no_grad():
        D.net[-1].weight *= 20  # logits on both sides of -1 and 1
    slow_G, slow_D = copy.deepcopy(G), copy.deepcopy(D)
    real, z = torch.randn(50, 2), torch.randn(50, 2)
    d_sgd, g_sgd = (torch.optim.SGD(n.parameters(), 0.1) for n in (D, G))
    (loss, *scores), g_loss = toys.hinge_update(D, d_sgd, g_sgd, real, G(z), 0.5)
    fake = slow_G(z)
    right, wrong = slow_D(real), slow_D(fake.detach())
    assert min(right) < -1 < 1 < max(right)
    expected = (1 - right).clamp(min=0).mean() + (1 + wrong).clamp(min=0).mean()
    expected.backward()
    for moved, weight in zip(D.parameters(), slow_D.parameters(), strict=True):
        torch.testing.assert_close(moved, weight - 0.1 * weight.grad)
    g_expected = -D(fake).mean()
    g_expected.backward()
    for moved, weight in zip(G.parameters(), slow_G.parameters(), strict=True):
        torch.testing.assert_close(moved, weight - 0.1 * weight.grad)
    torch.testing.assert_close([loss, g_loss], [expected.detach(), g_expected.detach()])
    assert scores == [None, None]  # which are not log-odds


def test_every_objective_trains_on_a_toy_and_is_timed(monkeypatch):
    monkeypatch.setattr(toys, "STEPS", {"ring": 4, "grid": 4})
    for objective in toys.OBJECTIVES:
        row = toys.train_toy(("ring", objective, 0))
        assert (row["toy"], row["objective"], row["steps"]) == ("ring", objective, 4)
    for script in (toys, digits):
        assert set(script.step_ms(rounds=2)) == set(script.OBJECTIVES)
    monkeypatch.setattr(toys, "train", Mock(side_effect=FloatingPointError))
    row = toys.train_toy(("grid", "hinge", 2))  # a run that diverges
    assert (row["modes"], row["high_quality"]) == (0, 0)


def test_toys_go_on_where_they_were_stopped_with_the_best_two(monkeypatch):
    numbers = (9, 0.9), (23, 0.4), (22, 0.9), (23, 0.8), (23, 0.7)
    found = dict(zip(toys.OBJECTIVES, numbers, strict=True))
    rows = [
        toys.row((toy, name, seed), found[name][0] + seed, found[name][1], 0.0)
        for toy, name, seed in itertools.product(toys.TOYS, found, range(3))
    ]
    assert set(toys.best_two(rows)) == {"R1", "RpGAN + R1 + R2"}
    last = list(toys.means(rows)[-1].values())
    assert last == ["grid", "RpGAN + R1 + R2", 3, 24, 23, "70.0%", "70.0%", 0]
    missing = [("grid", "R1", 3), ("ring", "R1", 3)]
    assert toys.missing(rows, ("R1",), range(4)) == missing
    known = [{**rows[0], "steps": 5}, rows[1]]
    monkeypatch.setattr(runs, "stored", lambda name: known)
    assert toys.stored() == known[1:]


def test_costlier_objective_gets_fewer_steps_for_the_same_seconds():
    steps = {"classic": 5000, "R1": 2000, "RpGAN + R1 + R2": 1000}
    ms = {name: 50_000 / count for name, count in steps.items()}
    jobs = [(name, c.seed, c.steps, s) for name, c, s in digits.jobs(ms, [])]
    assert jobs == [
        (name, seed, steps[name], 50) for name in steps for seed in range(3)
    ]
    row = {"objective": "R1", "seed": 0, "steps": 77, "seconds": 9}
    jobs = [(name, c.seed, c.steps, s) for name, c, s in digits.jobs(ms, [row])]
    assert jobs[3:5] == [("R1", 1, 77, 9), ("R1", 2, 77, 9)]  # where it was stopped


def test_digits_are_judged_by_the_numbers_of_the_course(judge, unseen, monkeypatch):
    features = judge_features(judge, unseen.images)
    monkeypatch.setattr(runs, "SAMPLES", 300)
    for name, value in (("images", IMAGES), ("judge", judge), ("features", features)):
        monkeypatch.setattr(runs, name, value, raising=False)
    G = Generator()
    fake = judge_features(judge, sample_images(G, 300, seed=1234))
    assert runs.distance(G) == round(frechet_distance(features, fake), 2)
    monkeypatch.setattr(runs, "features_of", lambda G: features[::2] * 1.3)
    row = digits.train_digits(("R1", TrainConfig(steps=2, batch_size=8), 1))
    assert (row["objective"], row["steps"], row["seconds"]) == ("R1", 2, 1)
    known = precision_recall(features, features[::2] * 1.3, k=3)
    assert row["precision"] == round(known.precision, 3) != row["recall"]


def test_batches_get_the_same_seconds_and_scaled_rates(monkeypatch):
    batches, seen = scripts.batches, {}
    jobs = batches.all_jobs()
    assert len(jobs) == len(set(jobs)) == 2 * (3 * 3 + 1)

    def train(_G, _D, _images, config, **_):
        seen[config.batch_size, config.seed] = config
        yield SimpleNamespace(step=config.steps // 2, averaged=None)
        if config.seed == 1:
            raise FloatingPointError

    numbers = {"distance": 7, "precision": 0.5, "recall": 0.4, "coverage": 1}
    monkeypatch.setattr(batches, "train", train)
    monkeypatch.setattr(runs, "images", IMAGES, raising=False)
    monkeypatch.setattr(runs, "describe", lambda _: numbers)
    row = batches.run((256, "square root", 0, 600.0))
    assert list(row.values()) == [256, "square root", 0, 600, 50, 427, 7, 0.5, 0.4]
    batches.run((1024, "linear", 0, 100.0))
    lost = batches.run((64, "as it is", 1, 100.0))  # it diverges
    assert lost["steps"] == 300
    assert all(math.isnan(lost[name]) for name in batches.JUDGED)
    rates = {
        key: (config.steps, config.lr_g, config.lr_d) for key, config in seen.items()
    }
    assert rates == {
        (256, 0): (100, 2e-3, 2e-3),
        (1024, 0): (600, 16e-3, 16e-3),
        (64, 1): (600, 1e-3, 1e-3),
    }


def test_cost_model_finds_what_its_times_were_made_of():
    parallel = scripts.parallel
    times = {}
    for size in (1e3, 1e5, 1e6, 1e7):
        times[2, "exchange", size] = 2 * (50e-6 + size / 2 / 3e9)
    for name in parallel.NETWORKS:
        sent = sum(parallel.messages(name))
        for batch in parallel.BATCHES:
            times[1, name, batch] = 2e-3 + 1e-4 * batch
            shared = 2e-3 + 1e-4 * batch / 2 + 4 * 50e-6 + sent / 3e9
            times[2, name, batch] = 1.5 * shared
    rows = parallel.compare(times)
    assert [row["ratio"] for row in rows] == 2 * [1, 1, 1, 1.5, 1.5, 1.5]
    row = rows[3]
    assert (row["network"], row["processes"], row["batch"]) == ("dense", 2, 64)
    sent = 4 * 533_505, 4 * (1_510_032 + 2 * (256 + 512 + 1024))  # and BatchNorm's
    assert parallel.messages("dense") == sent
    assert row["exchange_ms"] == pytest.approx(0.2 + 1000 * sum(sent) / 3e9, abs=0.01)
    assert row["speedup"] == pytest.approx(8.4 / row["measured_ms"], abs=0.01)


def test_several_gpus_pay_from_the_batch_where_they_are_faster():
    model = scripts.parallel.Model(2e-4, 1e-7, (4_000_000, 8_000_000), 5e-6, 1e11)

    def speedup(batch):
        return model.step(batch, 1) / model.step(batch, 8)

    assert speedup(model.pays_from(8)) == pytest.approx(1)
    assert speedup(model.half_from(8)) == pytest.approx(4)
    ring = 14 * (5e-6 + 0.5e6 / 1e11) + 14 * (5e-6 + 1e6 / 1e11)
    assert model.exchange(8) == pytest.approx(ring)
    rows = scripts.parallel.predict()
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 2 * 3 * 3 * 2
    small = [row for row in rows if row["million_weights"] < 3]
    assert all(row["speedup_at_64"] <= 1 for row in small)
    assert max(row["speedup_at_16384"] for row in rows) > 8


def test_processes_time_their_steps_and_their_exchange(tmp_path, monkeypatch, capsys):
    """One process here, and two that join, are timed as the script does it."""
    short = {"STEPS": 5, "BATCHES": (32, 16), "CHECKED": (32,), "MEGABYTES": (0.004,)}
    dense = {"dense": scripts.parallel.NETWORKS["dense"]}
    code = f"import parallel as p; vars(p).update({short}); "
    code += "p.NETWORKS.pop('convolutional'); p.child_main()"
    (tmp_path / "child.py").write_text(code)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launch, tmp_path / "child.py"]
    folders = {**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT}"}
    process = subprocess.Popen(command, env=folders, stdout=subprocess.PIPE, text=True)
    for name, value in {**short, "NETWORKS": dense}.items():
        monkeypatch.setattr(scripts.parallel, name, value)
    scripts.parallel.child_main()
    alone = json.loads(capsys.readouterr().out)["times"]
    together = bench.answer(process)["times"]
    assert [row[:2] for row in alone] == [["dense", 32], ["dense", 16]]
    assert [row[:2] for row in together] == [["dense", 32], ["exchange", 4000]]
    assert all(0 < seconds < 10 for *_, seconds in alone + together)


def test_steps_on_a_gpu_are_those_of_train():
    gpu, (G, D) = scripts.gpu, new_networks()
    run = gpu.Run("dense", "float32", 64, "eager", IMAGES)
    for _ in range(3):
        run.step()
    *_, last = train(G, D, IMAGES, TrainConfig(3))
    for ours, theirs in ((run.G, G), (run.D, D), (run.averaged, last.averaged)):
        for name, values in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], values)


def test_g_meets_the_d_that_has_just_moved_in_bfloat16():
    gpu = scripts.gpu
    run = gpu.Run("dense", "bfloat16", 64, "eager", IMAGES)
    G, D = run.callable
    fake = G(torch.randn(64, 100))
    assert fake.dtype == torch.float32
    before = D(fake)
    assert 0 < (before - run.D(fake)).abs().max() < 0.02  # it is in bfloat16
    run.opt_d.param_groups[0]["lr"] = 0.1
    d_step(D, run.opt_d, IMAGES[:64], fake)
    assert (D(fake) - run.D(fake)).abs().max() < 0.02 * run.D(fake).abs().max()
    assert (D(fake) - before).abs().max() > 1


def test_every_cell_of_the_gpu_is_measured_and_a_refused_one_left_out(monkeypatch):
    gpu = scripts.gpu
    wanted = list(gpu.cells())
    assert len(wanted) == 2 * 2 * 2  # networks, precisions, ways of a CPU
    monkeypatch.setattr(gpu, "CUDA", True)
    monkeypatch.setattr(gpu, "BATCHES", (64, 256, 4096))
    assert len(list(gpu.cells())) == 3 * (3 + 4) * 2 + 2 * 2 * 2 * 2
    monkeypatch.undo()

    def run(network, precision, batch, way, images):
        if way == "compiled":
            raise RuntimeError("refused")
        return SimpleNamespace(step=lambda: None)

    monkeypatch.setattr(gpu, "Run", run)
    monkeypatch.setattr(gpu, "call_ms", lambda _: 2.0)
    rows = list(gpu.measure(IMAGES))
    assert [row["way"] for row in rows] == ["eager"] * 4
    dense = rows[0]
    assert (dense["images_a_second"], dense["to_eager"]) == (32_000, 1)
    flops = runs.step_flops(*new_networks(), 64)
    assert dense["share_of_limit"] == pytest.approx(flops / (2 * 1024**3), abs=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("way", scripts.gpu.WAYS)
def test_weights_on_a_gpu_are_those_of_eager_steps(way):
    gpu = scripts.gpu
    assert gpu.difference(way, IMAGES.cuda()) < 1e-9
    if "compiled" not in way:
        assert gpu.difference(way, IMAGES.cuda(), gpu.r1_update) < 1e-9


def test_weights_are_compared_with_those_of_eager_steps(monkeypatch):
    gpu, start = scripts.gpu, torch.ones(2).double()

    def run(_network, precision, batch, way, _images, update):
        assert (precision, batch, update) == ("float64", 64, gpu.r1_update)
        now = start.clone()
        pace = 0.1 if way == "eager" else 0.15
        return SimpleNamespace(weights=now.clone, step=lambda: now.add_(pace))

    monkeypatch.setattr(gpu, "Run", run)
    assert gpu.difference("eager", IMAGES, gpu.r1_update) == 0
    found = gpu.difference("compiled", IMAGES, gpu.r1_update)
    assert found == pytest.approx(0.5)
