"""The run: against a loop written by hand, when it is stopped, and when it diverges."""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from ganlib import training
from ganlib.latent import sample_noise, stream
from ganlib.steps import pairing_update
from ganlib.toys import GRID, PointDiscriminator, PointGenerator, sample_points
from ganlib.training import TrainConfig, train

SHORT = TrainConfig(10, 8, lr_d=2e-3, betas=(0.5, 0.99), record_every=4, seed=3)


@pytest.fixture
def parts(tiny_networks, tiny_images):
    """What a run is made of: G, D and images."""
    return *tiny_networks(), tiny_images


def states(*networks):
    return [copy.deepcopy(network.state_dict()) for network in networks]


def same(first, second):
    pairs = zip(first, second, strict=True)
    return all(all(map(torch.equal, a.values(), b.values())) for a, b in pairs)


def advice(got):
    """Return the code that an error recommends."""
    return str(got.value).rpartition("write ")[2].rstrip(".")


# --- the settings


def test_defaults_are_the_recipe_of_notebook_04():
    values = dataclasses.astuple(TrainConfig())
    assert values == (5000, 64, 1e-3, 1e-3, (0.0, 0.999), 0.1, 100, 0)


def test_settings_that_cannot_work_are_answered_with_ones_that_do():
    counts = ("steps", 1e4, 10_000), ("steps", 0, 1), ("batch_size", 1, 2)
    for name, wrong, right in (*counts, ("record_every", "9", 1)):
        with pytest.raises(ValueError, match=f"^{name} is .*, expected .*: wri") as got:
            TrainConfig(**{name: wrong})
        assert eval(f"dict({advice(got)})") == {name: right}
        TrainConfig(**{name: right})


def test_settings_may_be_lists_and_numbers_of_numpy(parts):
    config = TrainConfig(np.int64(3), np.int32(8), np.float32(2**-10), betas=[0, 0.5])
    *_, record = train(*parts, config)
    assert record.step == 3
    assert repr(config) == repr(TrainConfig(3, 8, 2**-10, betas=(0.0, 0.5)))


# --- the loop, against one written by hand


def bare_loop(G, D, images, config, rate):
    """What ``train`` promises, written down once more; yields what each step gave."""
    noise, order = (stream(name, config.seed) for name in ("noise", "order"))
    opt_g = torch.optim.Adam(G.parameters(), betas=config.betas, fused=True)
    opt_d = torch.optim.Adam(D.parameters(), betas=config.betas, fused=True)
    queue = []
    for step in range(config.steps):
        if not queue:  # 50 images make 6 batches of 8, and 2 are left over
            queue = list(torch.randperm(50, generator=order).split(8)[:6])
        for optimizer, lr in ((opt_g, config.lr_g), (opt_d, config.lr_d)):
            optimizer.param_groups[0]["lr"] = lr * rate(step / config.steps)
        real = images[queue.pop(0)]
        fake = G(torch.randn(8, 3, generator=noise))
        real_logits, fake_logits = D(torch.cat([real, fake.detach()])).chunk(2)
        ones = torch.ones_like(real_logits)
        loss_d = (bce(real_logits, ones) + bce(fake_logits, 0 * ones)) / 2
        move(opt_d, loss_d)
        loss_g = bce(D(fake), ones)
        move(opt_g, loss_g)
        right = (real_logits > 0).sum() + (fake_logits < 0).sum()
        real_share, fake_share = real_logits.sigmoid(), fake_logits.sigmoid()
        found = [loss_d, loss_g, real_share.mean(), fake_share.mean(), right / 16]
        yield [value.item() for value in found]


def move(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_run_is_the_bare_loop_bit_for_bit(parts, tiny_networks):
    def falling(progress):
        return 1 - progress / 2

    G, D, images = parts
    G.eval(), D.eval()  # they are trained in train mode all the same
    records = list(train(*parts, SHORT, rate=falling))
    bare = tiny_networks()
    steps = torch.tensor(list(bare_loop(*bare, images, SHORT, falling)))
    assert same(states(G, D), states(*bare))
    assert D.training
    found = [(record.step, record.images_seen) for record in records]
    assert found == [(4, 32), (8, 64), (10, 80)]
    for record, part in zip(records, steps.split([4, 4, 2]), strict=True):
        means = dataclasses.astuple(record)[3:8]
        assert means == pytest.approx(part.mean(0).tolist(), abs=1e-6)


def test_update_learns_how_far_the_run_is_and_both_rates_follow(parts):
    seen = []

    def watching(D, opt_d, opt_g, real, fake, progress):
        rates = [optimizer.param_groups[0]["lr"] for optimizer in (opt_d, opt_g)]
        seen.append((progress, *rates))
        return pairing_update(D, opt_d, opt_g, real, fake, progress)

    config = TrainConfig(4, 8, lr_g=1.0, lr_d=2.0, record_every=2)
    records = list(train(*parts, config, watching, lambda progress: progress / 16))
    assert seen == [(p, p / 8, p / 16) for p in (0, 0.25, 0.5, 0.75)]
    assert [record.step for record in records] == [2, 4]  # the last one once
    for record in records:  # D's output is a score: it says nothing about probabilities
        assert np.isnan([record.d_real, record.d_fake, record.d_accuracy]).all()
        assert np.isfinite([record.d_loss, record.g_loss]).all()


def test_seconds_leave_out_what_the_notebook_does(parts, monkeypatch):
    # A look at this clock takes a second: one passes before each record, one after it.
    monkeypatch.setattr(training.time, "perf_counter", itertools.count().__next__)
    assert [record.seconds for record in train(*parts, SHORT)] == [1, 2, 3]


def test_leaving_the_loop_ends_a_run_in_which_tiny_numbers_are_zero(parts):
    assert torch.tensor([1e-40]) * 1 > 0  # slow, on some processors
    for _ in train(*parts, SHORT):
        break
    assert torch.tensor([1e-40]) * 1 == 0
    assert parts[1].calls == 2 * 4


def test_points_of_any_range_can_be_trained_on():
    points = sample_points(GRID, 50, seed=0)  # from -4 to 4
    G, D = PointGenerator(width=8, depth=1), PointDiscriminator(width=8, depth=1)
    before = states(G, D)
    assert list(train(G, D, points, SHORT))[-1].step == 10
    assert not same(before, states(G, D))


# --- the average


def test_average_is_the_closed_form_for_known_weights_and_goes_on_changing(parts):
    # With a share of ½, the power function EMA weighs the values linearly: i for the
    # i-th of n, divided by n (n + 1) / 2.
    G = parts[0]
    values = [5.0, -3.0, 2.0, 8.0, 1.0, 4.0]
    logits = torch.tensor([2.0, 0.0, -1.0])
    left = iter(values)

    def set_weights(*_):
        value = next(left)
        for weights in (*G.parameters(), G.net[1].running_mean):
            weights.data.fill_(value)
        return (torch.zeros(()), logits, logits), torch.zeros(())

    run = train(*parts, TrainConfig(6, 8, ema_share=0.5, record_every=1), set_weights)
    first = next(run)
    early = copy.deepcopy(first.averaged)
    assert all(record.averaged is first.averaged for record in run)
    expected = sum(i * value for i, value in enumerate(values, 1)) / 21
    for network, value in ((early, values[0]), (first.averaged, expected)):
        for found in (*network.parameters(), network.net[1].running_mean):
            torch.testing.assert_close(found, torch.full_like(found, value))
            assert not found.requires_grad
    assert first.averaged.net[1].num_batches_tracked == 6
    assert not any(layer.training for layer in first.averaged.modules())
    assert first.d_accuracy == pytest.approx(1 / 3)  # with the logit 0, D is not right


# --- randomness


def test_seed_alone_decides(tiny_networks, tiny_images, unchanged_global_random_state):
    found = []
    for seed in (0, 0, 1):
        G, D = tiny_networks()
        config = dataclasses.replace(SHORT, seed=seed)
        *_, record = train(G, D, tiny_images, config)
        found.append(states(G, D, record.averaged))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_noise_of_a_run_is_not_the_noise_that_samples_are_drawn_from(parts):
    seen = []
    parts[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    list(train(*parts, dataclasses.replace(SHORT, seed=0)))
    run = torch.cat(seen)
    assert len(run.unique(dim=0)) == 80
    for seed in (0, 1):
        drawn = sample_noise(1000, 3, seed=seed)
        assert not (run.unsqueeze(1) == drawn).all(2).any()


# --- leaving early


@pytest.mark.parametrize(
    ("call", "steps"),
    [
        (1, [0]),  # in the first step: the record is empty
        (2 * 4 + 1, [4]),  # right after a record, which is not repeated
        (2 * 6 + 1, [4, 6]),  # in D's step
        (2 * 6 + 2, [4, 6]),  # in G's step
    ],
)
def test_ctrl_c_keeps_what_was_learned(parts, tiny_networks, capsys, call, steps):
    G, D, images = parts
    D.register_forward_pre_hook(ctrl_c(call))
    records = list(train(*parts, SHORT))
    assert [record.step for record in records] == steps
    sentence = f"Stopped after {steps[-1]} of 10 steps; weights are kept.\n"
    assert capsys.readouterr().out == sentence
    bare = tiny_networks()
    loop = bare_loop(*bare, images, SHORT, lambda progress: 1)
    done = torch.tensor([next(loop) for _ in range(steps[-1])]).view(-1, 5)
    means = done[[0, *steps][-2] :].mean(0).tolist()  # NaN for no step at all
    found = dataclasses.astuple(records[-1])[3:8]
    assert found == pytest.approx(means, nan_ok=True)
    assert all(map(torch.equal, G.parameters(), bare[0].parameters()))


def ctrl_c(call):
    """Return a hook that presses Ctrl-C in this call of D; there are two in a step."""

    def press(D, _):
        if D.calls == call - 1:
            raise KeyboardInterrupt

    return press


# --- numbers that are none


@pytest.mark.parametrize(
    ("spoiled", "call", "step"), [(0, 0, 8), (1, 15, 7), (2, 0, 8), (3, 0, 8)]
)
def test_nan_brings_back_the_last_good_weights(parts, spoiled, call, step):
    G, D, images = parts
    run = train(*parts, SHORT)
    averaged = next(run).averaged
    before = states(G, D, averaged)
    # No loss will ever show the third: G is in train mode.
    places = images, D.net[1].bias, G.net[1].running_var, averaged.net[0].bias
    places[spoiled].data.fill_(math.nan)
    D.register_forward_pre_hook(ctrl_c(call))
    sentence = f"between step 4 and step {step}; G and D are back at step 4"
    with pytest.raises(FloatingPointError, match=sentence):
        next(run)
    assert same(states(G, D, averaged), before)


def test_nan_before_the_first_record_brings_back_the_initial_weights(parts):
    before = states(*parts[:2])
    config = dataclasses.replace(SHORT, lr_g=1e38, lr_d=1e38)
    with pytest.raises(FloatingPointError, match=r"lower lr_g and lr_d \(now 1e\+38"):
        list(train(*parts, config))
    assert same(states(*parts[:2]), before)


# --- what is caught before the first step


def test_train_says_what_is_wrong_and_its_advice_works(parts):
    _, D, images = parts
    G = next(train(*parts, SHORT)).averaged  # frozen

    def answer(images):
        with pytest.raises(ValueError, match=r"expected .*: write .*\.$") as got:
            train(G, D, images, SHORT)
        return eval(advice(got), {"G": G, "D": D, "images": images})

    D.requires_grad_(False)
    assert answer(images) is G  # trainable again
    assert answer(images) is D
    torch.testing.assert_close(answer((images + 1) / 2), images)
    assert torch.equal(answer(images.squeeze(1)), images)
    before = states(G, D)
    list(train(G, D, images, SHORT))
    assert not same(before[:1], states(G))


def test_batchnorm_in_d_is_refused_and_groupnorm_is_not(parts):
    D = parts[1]
    D.net.insert(2, nn.BatchNorm1d(8))
    with pytest.raises(ValueError, match=r"D has BatchNorm.*leave it out.*GroupNorm"):
        train(*parts, SHORT)
    D.net[2] = nn.GroupNorm(2, 8)
    list(train(*parts, SHORT))


def test_too_few_images_are_refused(parts):
    G, D, images = parts
    with pytest.raises(ValueError, match=r" 7, expected a batch of 8.* write") as got:
        train(G, D, images[:7], SHORT)
    config = dataclasses.replace(SHORT, **eval(f"dict({advice(got)})"))
    list(train(G, D, images[:7], config))
    with pytest.raises(ValueError, match=r" 1, expected a batch of 8[^,]*$"):
        train(G, D, images[:1], SHORT)


def test_train_needs_gradients_and_everything_on_one_device(parts):
    sentence = r"switched off, expected them to be on: .*outside of torch\.no_grad\(\)"
    with torch.no_grad(), pytest.raises(ValueError, match=sentence):
        train(*parts, SHORT)
    parts[1].to("meta")
    sentence = r"D is on meta, expected cpu, .*: write D\.to\(images\.device\)"
    with pytest.raises(ValueError, match=sentence):
        train(*parts, SHORT)
