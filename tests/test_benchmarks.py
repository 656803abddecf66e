"""The benchmarks measure what they say; nothing here is timed."""

import csv
import importlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ganlib.evaluation
from ganlib.judge import Judge, judge_features
from ganlib.models import Discriminator, Generator
from ganlib.training import TrainConfig

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
sys.path.insert(0, str(ROOT / "benchmarks"))

import bench  # noqa: E402, from the folder above
import digit_objectives  # noqa: E402
import evaluation  # noqa: E402
import latency  # noqa: E402
import paper  # noqa: E402
import recipe_ladder  # noqa: E402
import recipe_search  # noqa: E402
import summary  # noqa: E402
import textbook  # noqa: E402
import threads  # noqa: E402
import time_to_quality  # noqa: E402
import toys  # noqa: E402

# --- the yardstick


@pytest.fixture
def few_batches():
    images = torch.rand(3, 4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return [(batch * 2 - 1, None) for batch in images]


@pytest.mark.parametrize("eps", [0.8, 1e-5])
def test_textbook_networks_have_the_published_sizes_and_one_eps(eps):
    G, D = textbook.networks(eps)
    found = [m.eps for m in G.modules() if isinstance(m, nn.BatchNorm1d)]
    assert found == [eps] * 3
    assert sum(p.numel() for p in G.parameters()) == 1_510_032
    assert sum(p.numel() for p in D.parameters()) == 533_505
    assert isinstance(D[-1], nn.Sigmoid)


@pytest.fixture
def double_precision():
    """In float32, rounding decides on the biases before BatchNorm, which do nothing."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_textbook_loop_does_what_the_tutorial_does(double_precision, few_batches):
    """G first, then D on the same fakes, each with Adam 2e-4: written once more."""
    torch.manual_seed(1)
    G, D = textbook.networks(1e-5)
    torch.manual_seed(2)
    assert list(textbook.train(G, D, few_batches)) == [4, 8, 12]

    torch.manual_seed(1)
    other_G, other_D = textbook.networks(1e-5)
    adams = [
        torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999))
        for network in (other_G, other_D)
    ]
    torch.manual_seed(2)
    for images, _ in few_batches:
        fakes = other_G(torch.randn(4, 100))
        losses = [
            lambda: -other_D(fakes).log().mean(),  # noqa: B023, called at once
            lambda: (
                -(other_D(images).log() + (1 - other_D(fakes.detach())).log()).mean()  # noqa: B023
                / 2
            ),
        ]
        for adam, loss in zip(adams, losses, strict=True):
            adam.zero_grad()
            loss().backward()
            adam.step()
    for network, other in ((G, other_G), (D, other_D)):
        for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-6)


def test_textbook_loop_prints_both_losses_at_every_step(few_batches, capsys):
    list(textbook.train(*textbook.networks(0.8), few_batches))
    assert capsys.readouterr().out.count("[D loss: ") == 3


# --- the recipes


def test_ladder_begins_with_the_textbook_and_ends_with_the_course():
    names, configs, initializers = zip(*recipe_ladder.rungs(), strict=True)
    first = configs[0]
    assert (first.lr_g, first.lr_d, first.betas, first.batch_size) == (
        2e-4,
        2e-4,
        (0.5, 0.999),
        64,
    )
    assert (first.ema_share, initializers[0]) == (0, None)
    assert configs[-1] == TrainConfig()
    assert len(set(names)) == len(names)


def test_every_rung_of_the_ladder_changes_something():
    rungs = [rung[1:] for rung in recipe_ladder.rungs()]
    assert all(before != after for before, after in itertools.pairwise(rungs))


@pytest.mark.parametrize("name", recipe_search.VARIANTS)
def test_every_variant_of_the_search_trains(name):
    images = torch.rand(600, 1, 28, 28) * 2 - 1
    variant = recipe_search.replace(recipe_search.VARIANTS[name], steps=3)
    G, steps = recipe_search.train_variant(variant, 0, images)
    assert steps == 3
    assert all(p.isfinite().all() for p in G.parameters())


def test_search_has_no_variant_twice():
    assert len(set(recipe_search.VARIANTS.values())) == len(recipe_search.VARIANTS)


# --- the paper's own network


@pytest.fixture
def paper_networks():
    means = torch.linspace(0, 1, 784)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return means, *paper.networks(means)


def test_paper_networks_have_the_published_sizes_and_first_weights(paper_networks):
    means, G, D = paper_networks
    sizes = [sum(p.numel() for p in network.parameters()) for network in (G, D)]
    assert sizes == [2_503_984, 1_231_441]
    torch.testing.assert_close(G[-1].bias.sigmoid(), means, atol=1e-5, rtol=0)
    assert 0.049 < G[0].weight.abs().max() <= 0.05
    assert 0.0049 < D[1].linear.weight.abs().max() <= 0.005
    dropped = [m.p for m in D if isinstance(m, nn.Dropout)]
    assert dropped == [0.2, 0.5, 0.5]


def test_maxout_takes_the_largest_of_its_pieces():
    layer, x = paper.Maxout(3, units=4, pieces=5), torch.randn(6, 3)
    pieces = layer.linear(x)
    expected = torch.stack([pieces[:, 5 * i : 5 * i + 5].amax(1) for i in range(4)], 1)
    torch.testing.assert_close(layer(x), expected)


def test_paper_noise_has_variance_1():
    z = paper.paper_noise(1000)
    assert z.abs().max() <= 3**0.5
    assert abs(z.var() - 1) < 0.02


def test_both_players_of_the_paper_move_at_once(paper_networks):
    """Each by the gradient of its own loss, at the weights of before."""
    _, G, D = paper_networks
    D.eval()  # without dropout, so that the losses can be computed once more
    real = torch.rand(8, 784)
    torch.manual_seed(1)
    fake = G(paper.paper_noise(8)).sigmoid()
    bce = nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(8), torch.zeros(8)
    d_loss = (bce(D(real)[:, 0], ones) + bce(D(fake)[:, 0], zeros)) / 2
    weights = [*G.parameters(), *D.parameters()]
    g_grads = torch.autograd.grad(
        bce(D(fake)[:, 0], ones), list(G.parameters()), retain_graph=True
    )
    d_grads = torch.autograd.grad(d_loss, list(D.parameters()))
    grads = (*g_grads, *d_grads)
    expected = [w - 0.1 * g for w, g in zip(weights, grads, strict=True)]
    torch.manual_seed(1)
    paper.step(G, D, [torch.optim.SGD(n.parameters(), 0.1) for n in (G, D)], real)
    for weight, known in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight, known)


# --- moved sliders


def test_every_event_is_timed_after_some_to_warm_up(monkeypatch):
    monkeypatch.setattr(latency, "EVENTS", 5)
    moved = []
    times = latency.event_ms(moved.append)
    assert moved == list(range(25))
    assert len(times) == 5
    assert min(times) >= 0


def test_events_of_all_panels_are_measured_and_change_what_is_shown(monkeypatch):
    monkeypatch.setattr(latency, "EVENTS", 2)
    seen = []
    measured = latency.event_ms

    def watch(move):
        places = []
        panels = [c.cell_contents for c in move.__closure__]
        panel = next(p for p in panels if hasattr(p, "value") or hasattr(p, "words"))
        times = measured(lambda i: (move(i), places.append(_state(panel))))
        seen.append(len(set(places)))
        return times

    monkeypatch.setattr(latency, "event_ms", watch)
    G, D = Generator().eval(), Discriminator()
    judge = Judge().requires_grad_(False).eval()
    images = torch.rand(9, 1, 28, 28) * 2 - 1
    names = [name for name, _ in latency.kernel_events(G, D, judge, images)]
    assert len(set(names)) == 7
    assert min(seen) >= 20


def _state(panel):
    return panel.value if hasattr(panel, "value") else panel.words.value


# --- the table of an evaluation


def test_every_part_of_the_table_is_measured_and_in_it():
    images = torch.rand(160, 1, 28, 28) * 2 - 1
    judge = Judge().requires_grad_(False)
    sets = images[:80], judge, images[80:].repeat(750, 1, 1, 1), images[:80] * 0.9
    parts = dict(evaluation.parts(*sets))
    found = [name for name, call in parts.items() if call() is not None]
    table = ganlib.evaluation.evaluate_samples(
        images[:80], judge=judge, train_images=sets[2], test_images=sets[3]
    )
    words = " ".join(row.name for row in table.rows)
    for name in found:
        assert name.split()[0].rstrip(",") in words, name
    assert len(found) == 6


def test_parzen_is_left_out_where_the_table_leaves_it_out():
    images = torch.rand(99, 1, 28, 28) * 2 - 1
    parts = evaluation.parts(images, Judge(), images, images)
    assert not [name for name, _ in parts if "Parzen" in name]


# --- clocks, processes, tables


def test_rate_clock_turns_images_into_seconds():
    assert time_to_quality.RateClock(2500.0)(75_000) == 30


def test_thread_settings_differ_in_the_environment_only():
    found = [tuple(env.items()) for _, env in threads.settings()]
    assert len(set(found)) == len(found)


def test_child_answers_with_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    (tmp_path / "some.py").write_text(
        "import os, sys\nprint('noise')\n"
        "print('{\"n\":', len(sys.argv), ', \"v\": \"' + os.environ['X'] + '\"}')"
    )
    found = bench.answer(bench.child("some.py", 1, 2, env={"X": "y"}))
    assert found == {"n": 3, "v": "y"}


def test_child_may_lose_a_variable(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    (tmp_path / "some.py").write_text(
        "import json, os; print(json.dumps({'v': os.environ.get('GOMP_SPINCOUNT')}))"
    )
    assert bench.answer(bench.child("some.py"))["v"] == "5"
    gone = bench.child("some.py", env={"GOMP_SPINCOUNT": None})
    assert bench.answer(gone)["v"] is None


def test_training_without_a_spin_limit_has_none_though_ganlib_is_imported(tmp_path):
    code = "import os, ganlib; print(os.environ['GOMP_SPINCOUNT'])"
    env = {**os.environ, **bench.NO_SPIN_LIMIT}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "300000"  # libgomp's own


def test_child_that_fails_stops_the_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    (tmp_path / "some.py").write_text("print('{}'); raise SystemExit(3)")
    with pytest.raises(SystemExit, match=r"some\.py failed"):
        bench.answer(bench.child("some.py"))


def test_results_are_stored_with_command_commit_and_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["/some/where/speed.py", "--x"])
    bench.save("speed", [{"a": 1, "b": "two, three"}])
    lines = (tmp_path / "speed.csv").read_text().splitlines()
    assert lines[0] == "# command: python benchmarks/speed.py --x"
    assert lines[1].startswith("# commit: ")
    assert "cores" in lines[2]
    assert list(csv.DictReader(lines[3:])) == [{"a": "1", "b": "two, three"}]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_says_what_it_measures(path):
    assert path.read_text("utf-8").startswith('"""')


def test_summary_reports_the_setting_that_ganlib_makes(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT")
    importlib.reload(ganlib)
    assert f"{int(os.environ['GOMP_SPINCOUNT']):,} spins" == summary.SPINS


def test_readme_quotes_the_results():
    assert summary.table() in (ROOT / "README.md").read_text("utf-8")


def test_make_bench_runs_every_script_but_the_search():
    plan = subprocess.run(
        ["make", "-n", "-s", "bench"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    helpers = {"bench", "textbook", "recipe_search"}
    for path in SCRIPTS:
        assert (f"benchmarks/{path.name}" in plan) == (path.stem not in helpers), path


# --- objectives


@pytest.fixture
def short_toys(monkeypatch):
    monkeypatch.setattr(toys, "STEPS", {"ring": 4, "grid": 4})


@pytest.mark.parametrize("objective", toys.OBJECTIVES)
def test_every_objective_trains_on_a_toy(short_toys, objective):
    row = toys.train_toy(("ring", objective, 0))
    assert (row["toy"], row["objective"], row["seed"]) == ("ring", objective, 0)
    assert 0 <= row["modes"] <= 8
    assert 0 <= row["high_quality"] <= 1
    assert row["steps"] == 4


def test_all_objectives_share_the_settings_and_differ_in_the_update():
    updates = [toys.update_of(name, 0) for name in toys.OBJECTIVES]
    functions = {getattr(update, "func", update) for update in updates}
    assert len(functions) == len(toys.OBJECTIVES) == 5
    weights = [toys.networks(7)[0].net[0].weight for _ in range(2)]
    assert torch.equal(*weights)


def test_training_that_diverges_becomes_a_row(short_toys, monkeypatch):
    def explode(*_, **__):
        raise FloatingPointError("a loss became NaN")
        yield

    monkeypatch.setattr(toys, "train", explode)
    row = toys.train_toy(("grid", "hinge", 2))
    assert (row["modes"], row["high_quality"]) == (0, 0)


def test_toys_go_on_where_they_were_stopped():
    rows = [toys.row(("grid", "R1", 0), 25, 0.9, 0.0)]
    jobs = toys.missing(rows, ("classic", "R1"), range(2))
    assert ("grid", "R1", 0) not in jobs
    assert len(jobs) == 7
    assert jobs[0] == ("grid", "classic", 0)
    assert toys.missing(rows, ("R1",), range(1)) == [("ring", "R1", 0)]


def test_toys_of_other_steps_are_trained_again(monkeypatch):
    monkeypatch.setattr(
        toys, "read_results", lambda _: [{"toy": "grid", "steps": 5, "seed": 0}]
    )
    assert toys.stored() == []


def test_best_two_have_the_most_modes_then_the_best_quality():
    found = {
        "classic": (9, 0.99),
        "hinge": (25, 0.4),
        "WGAN-GP": (24, 0.9),
        "R1": (25, 0.8),
        "RpGAN + R1 + R2": (25, 0.7),
    }
    rows = [
        toys.row((toy, name, seed), *numbers, 0.0)
        for name, numbers in found.items()
        for seed in range(3)
        for toy in toys.TOYS
    ]
    assert set(toys.best_two(rows)) == {"R1", "RpGAN + R1 + R2"}


def test_means_of_the_toys_are_those_of_their_rows():
    rows = [toys.row(("grid", "R1", s), 20 + s, 0.9 + s / 100, 0.0) for s in range(3)]
    (row,) = toys.means(rows)
    assert (row["seeds"], row["modes"], row["fewest"]) == (3, 21, 20)
    assert (row["high quality"], row["worst"]) == ("91.0%", "90.0%")


@pytest.mark.parametrize("script", [toys, digit_objectives])
def test_steps_of_every_objective_are_timed(script):
    times = script.step_ms(rounds=2)
    assert set(script.OBJECTIVES) <= set(times)
    assert min(times.values()) > 0


def test_costlier_objective_gets_fewer_steps_for_the_same_seconds():
    ms = {"classic": 10.0, "R1": 25.0, "RpGAN + R1 + R2": 50.0}
    jobs = digit_objectives.jobs(ms, [])
    assert {seconds for _, _, seconds in jobs} == {50}
    assert len(jobs) == 9
    for name, config, _ in jobs:
        steps = {"classic": 5000, "R1": 2000, "RpGAN + R1 + R2": 1000}[name]
        assert config == recipe_search.replace(
            TrainConfig(), seed=config.seed, steps=steps
        )


def test_digits_go_on_where_they_were_stopped():
    ms = {"classic": 10.0, "R1": 25.0, "RpGAN + R1 + R2": 50.0}
    row = {"objective": "R1", "seed": 0, "steps": 77, "seconds": 9}
    jobs = digit_objectives.jobs(ms, [row])
    assert len(jobs) == 8
    again = [(c.steps, seconds) for name, c, seconds in jobs if name == "R1"]
    assert again == [(77, 9)] * 2


def test_digits_are_judged_by_the_numbers_of_the_course(judge, unseen, monkeypatch):
    names = ("_images", "_test", "_judge", "_features")
    values = (unseen.images, unseen.images, judge, judge_features(judge, unseen.images))
    for name, value in zip(names, values, strict=True):
        monkeypatch.setattr(digit_objectives, name, value, raising=False)
    config = TrainConfig(steps=2, batch_size=8)
    row = digit_objectives.train_digits(("R1", config, 1))
    assert (row["objective"], row["seconds"]) == ("R1", 1)
    assert row["frechet"] > 0
    assert 0 <= row["precision"] <= 1
