"""The table: every row is the number of its function, also for real images."""

import copy
from functools import partial
from unittest.mock import Mock

import pytest
import torch

from ganlib import evaluation, metrics
from ganlib.conditional import AskedFor, ConditionalGenerator
from ganlib.evaluation import evaluate, evaluate_samples
from ganlib.judge import judge_features, judge_predictions
from ganlib.latent import draw, sample_images, sample_noise
from ganlib.models import Generator, new_networks


@pytest.fixture(scope="module")
def sets(judge, digits, unseen):
    images = {"train_images": digits.images, "test_images": unseen.images}
    return {"judge": judge, **images}


@pytest.fixture(scope="module")
def table(sets):
    return evaluate(new_networks()[0], **sets, seed=4)


def test_rows_are_the_numbers_of_the_single_functions(table, sets):
    judge, train, test = sets.values()
    samples = sample_images(new_networks()[0], 360, seed=4)
    for column, images in (("value", samples), ("floor", train[:360])):
        features = [judge_features(judge, x) for x in (test, images)]
        balls = metrics.precision_recall(*features, k=5)
        digit, confidence = judge_predictions(judge, images)
        shares = torch.stack([(digit == i).float().mean() for i in range(10)])
        copies = metrics.memorization(images, train, test)
        expected = {
            "Fréchet distance": metrics.frechet_distance(*features),
            "kernel distance": metrics.kernel_distance(*features).mean,
            "precision, k = 5": balls.precision,
            "recall, k = 5": balls.recall,
            "density, k = 5": balls.density,
            "coverage, k = 5": balls.coverage,
            "entropy of digits": metrics.entropy(shares),
            "KL to uniform": metrics.kl_to_uniform(shares),
            "confidence": confidence.mean().item(),
            "nearest training image": copies.fake,
            "closer than 99% of real": copies.share_near,
        }
        if column == "value":
            assert table.shares == pytest.approx(shares.tolist())
        else:  # training images would be copies of themselves
            expected["nearest training image"] = copies.held_out
            expected["closer than 99% of real"] = 0.01
        found = {row.name: getattr(row, column) for row in table.rows}
        assert found == pytest.approx(expected, rel=1e-6)
    assert (table.count, table.judge_hash) == (360, judge.hash)


def test_real_images_get_the_better_numbers(table):
    for row in table.rows[:8]:
        assert (row.value > row.floor) == (row.better == "lower"), row
    assert {row.better for row in table.rows[8:]} == {"as real"}


def test_conditional_g_is_asked_for_all_digits(sets):
    G, _ = new_networks(0, new_g=ConditionalGenerator)
    table = evaluate(G, **sets, seed=4)
    samples = sample_images(AskedFor(G), 360, seed=4)
    plain = evaluate_samples(samples, **sets)
    asked, *others = table.rows
    assert (others, table.shares) == (list(plain.rows), plain.shares)
    read = judge_predictions(sets["judge"], samples)[0]
    right = (read == torch.arange(360) % 10).float().mean().item()
    assert asked == ("as asked", right, sets["judge"].accuracy, "as real")
    assert right < 1


def test_labels_go_on_over_batches(judge):
    G, _ = new_networks(0, new_g=partial(ConditionalGenerator, classes=7))
    seeded = torch.Generator().manual_seed(0)
    images = 2 * torch.rand(2500, 1, 28, 28, generator=seeded) - 1
    table = evaluate(G, judge=judge, train_images=images, test_images=images)
    labels = torch.arange(2500) % 7
    read = judge_predictions(judge, draw(AskedFor(G), sample_noise(2500, 100, seed=0)))
    right = (read[0] == labels).float().mean().item()
    assert table["as asked"].value == pytest.approx(right)


def test_table_prints_every_row_under_its_columns(table, judge):
    header, *lines, shares, last = str(table).splitlines()
    assert header.split() == ["samples", "real", "better"]
    for line, row in zip(lines, table.rows, strict=True):
        numbers = f"  {row.value:8.4g}  {row.floor:8.4g}  {row.better}"
        assert line == f"{row.name:23}{numbers}"
        assert table[row.name] is row
    assert shares.startswith(f"digits 0 to 9: {table.shares[0]:.1%} ")
    accuracy = f"right on {judge.accuracy:.1%} of unseen images"
    assert last == f"360 samples; judge {judge.hash}, {accuracy}"


def test_judge_looks_at_each_of_three_sets_once(sets):
    # Samples in another precision are welcome, and the fewest images set the size.
    train, test = sets["train_images"], sets["test_images"]
    watched = copy.deepcopy(sets["judge"])
    seen = []
    watched.body.register_forward_pre_hook(lambda _, inputs: seen.append(*inputs))
    sets = {"judge": watched, "train_images": train.double(), "test_images": test}
    assert evaluate_samples(train[-100:].double(), **sets).count == 100
    expected = test[:100], train[-100:], train[:100]
    assert torch.equal(torch.cat(seen), torch.cat(expected))


def test_10000_samples_are_drawn_and_1000_searched_for(sets, monkeypatch):
    many = sets["test_images"][:1].expand(10_050, -1, -1, -1)
    compare, copies = Mock(return_value={}), Mock()
    monkeypatch.setattr(evaluation, "sample_images", lambda G, n, **_: many[:n])
    monkeypatch.setattr(evaluation, "judge_features", lambda _, x: x[:, 0, 3, :9])
    monkeypatch.setattr(evaluation, "digit_shares", lambda *_: torch.ones(10) / 10)
    monkeypatch.setattr(evaluation, "compare", compare)
    monkeypatch.setattr(metrics, "memorization", copies)
    evaluate(None, judge=sets["judge"], train_images=many, test_images=many)
    for call in compare.call_args_list:
        assert [len(features) for features in call.args[1:]] == [10_000, 10_000]
    assert [len(images) for images in copies.call_args.args] == [1000, 10_050, 1000]


def test_parzen_needs_60000_training_images(judge, unseen):
    # As in MNIST, the last 10,000 are for validation: they alone are darker.
    many = unseen.images[:100].repeat(600, 1, 1, 1)
    many[50_000:] = many[50_000:] * 0.5 - 0.5
    samples, test = unseen.images[200:280], unseen.images[100:180]
    sets = {"judge": judge, "test_images": test}
    row = evaluate_samples(samples, train_images=many, **sets)["Parzen, nats"]
    for found, images in ((row.value, samples), (row.floor, many[:80])):
        expected = metrics.parzen_log_likelihood(images, many[50_000:], test)
        assert found == expected.mean
    table = evaluate_samples(samples, train_images=many[:59_999], **sets)
    assert "Parzen" not in str(table)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("samples", lambda x: (x + 1) / 2, r"write samples \* 2 - 1"),
        ("test_images", lambda x: x[:, 0], r"write test_images\.view\(-1, 1, 28, 28\)"),
        ("train_images", lambda x: x[:99], r"100 images .* 99 training images, exp"),
        ("samples", lambda x: x[:64], r"64 images .*, expected more than 64"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(sets, name, change, sentence):
    sets = {"samples": sets["train_images"][-100:], **sets}
    sets[name] = change(sets[name])
    with pytest.raises(ValueError, match=sentence):
        evaluate_samples(**sets)


def test_evaluate_refuses_other_sizes_and_sets_with_labels(sets, unseen):
    with pytest.raises(ValueError, match=r"samples have shape \(360, 1, 20, 20\)"):
        evaluate(Generator(5, (1, 20, 20)), **sets)
    with pytest.raises(TypeError, match=r"expected .*: write test_images\.images"):
        evaluate(Generator(5), **sets | {"test_images": unseen})
