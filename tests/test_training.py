"""The two steps and the loop: against a loop written by hand, and under faults."""

import copy
import dataclasses
import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ganlib import records
from ganlib.data import batch_indices
from ganlib.losses import d_loss, g_loss_non_saturating, g_loss_saturating
from ganlib.training import TrainConfig, d_step, g_step, pick_device, train

SHORT = TrainConfig(steps=10, batch_size=8, record_every=4)


def weights(network):
    return copy.deepcopy(network.state_dict())


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def drive(G, D, images, config=SHORT):
    """Train to the end and return all records."""
    return list(train(G, D, images, config))


@pytest.fixture
def pair(tiny_networks, tiny_images):
    """G, D, real and fake images, and an optimizer for each network."""
    G, D = tiny_networks()
    real = tiny_images[:8]
    fake = G(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)))
    opt_g = torch.optim.Adam(G.parameters(), 1e-2)
    opt_d = torch.optim.Adam(D.parameters(), 1e-2)
    return G, D, real, fake, opt_g, opt_d


# --- settings


def test_settings_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().steps = 3


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("steps", 0, "steps is 0, expected a whole number of 1 or more"),
        ("steps", 5e3, "steps is 5000.0, expected a whole number"),
        ("batch_size", 1, "batch_size is 1, expected a whole number of 2 or more"),
        ("record_every", 0, "record_every is 0, expected a whole number of 1"),
        ("seed", -1, "seed is -1, expected a whole number of 0 or more"),
        ("lr_g", 0.0, "lr_g is 0.0, expected a number above 0: write lr_g=0.001"),
        ("lr_d", -1e-3, "lr_d is -0.001, expected a number above 0"),
        ("lr_g", math.nan, "lr_g is nan, expected a number above 0"),
        ("lr_g", "1e-3", "lr_g is '1e-3', expected a number above 0"),
        ("ema_share", 1.5, "ema_share is 1.5, expected 0 to below 1: write 0.1"),
        ("ema_share", -0.1, "ema_share is -0.1, expected 0 to below 1"),
        ("ema_share", math.nan, "ema_share is nan, expected 0 to below 1"),
        ("betas", (1.0, 0.9), r"betas\[0\] is 1.0, expected 0 to below 1: write 0.0"),
        ("betas", (0.0, 1.0), r"betas\[1\] is 1.0, expected .*: write 0.999"),
        ("betas", 0.5, r"betas is 0.5, expected a tuple of two numbers"),
        ("betas", (0.5,), r"betas is \(0.5,\), expected a tuple of two numbers"),
    ],
)
def test_settings_that_cannot_work_are_refused(name, value, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("share", [0, 0.99])
def test_shares_may_be_nothing_or_nearly_everything(share):
    TrainConfig(ema_share=share)


# --- one step of D


def test_d_step_gives_g_no_gradient(pair):
    G, D, real, fake, _, opt_d = pair
    d_step(D, opt_d, real, fake)
    assert all(parameter.grad is None for parameter in G.parameters())


def test_d_step_leaves_g_as_it_was(pair):
    G, D, real, fake, _, opt_d = pair
    before = weights(G)
    d_step(D, opt_d, real, fake)
    assert same(weights(G), before)


def test_d_step_changes_every_weight_of_d(pair):
    _, D, real, fake, _, opt_d = pair
    before = weights(D)
    d_step(D, opt_d, real, fake)
    assert not any(torch.equal(new, before[n]) for n, new in D.state_dict().items())


def test_d_step_gives_d_the_gradient_of_the_loss(pair):
    _, D, real, fake, _, opt_d = pair
    loss = (bce(D(real), torch.ones(8)) + bce(D(fake), torch.zeros(8))) / 2
    expected = torch.autograd.grad(loss, list(D.parameters()), retain_graph=True)
    d_step(D, opt_d, real, fake)
    found = [parameter.grad for parameter in D.parameters()]
    torch.testing.assert_close(found, list(expected))


def test_d_step_tells_real_from_fake_when_their_numbers_differ(pair):
    _, D, real, fake, _, opt_d = pair
    expected = D(real[:5]).detach(), D(fake).detach()
    found = d_step(D, opt_d, real[:5], fake)[1:]
    assert [len(logits) for logits in found] == [5, 8]
    torch.testing.assert_close(found, expected)


def test_d_step_forgets_the_gradients_of_before(pair):
    _, D, real, fake, _, _ = pair
    standing_still = torch.optim.SGD(D.parameters(), 0.0)
    d_step(D, standing_still, real, fake)
    first = [parameter.grad.clone() for parameter in D.parameters()]
    d_step(D, standing_still, real, fake)
    torch.testing.assert_close([p.grad for p in D.parameters()], first)


def test_d_step_lowers_the_loss_on_the_same_images(pair):
    _, D, real, fake, _, opt_d = pair
    losses = [d_step(D, opt_d, real, fake)[0] for _ in range(20)]
    assert losses[-1] < losses[0]


def test_d_loss_of_a_step_is_the_mean_of_real_and_fake(pair):
    _, D, real, fake, _, opt_d = pair
    real_loss, fake_loss = bce(D(real), torch.ones(8)), bce(D(fake), torch.zeros(8))
    loss, _, _ = d_step(D, opt_d, real, fake)
    torch.testing.assert_close(loss, ((real_loss + fake_loss) / 2).detach())


def test_d_step_returns_the_logits_of_before_its_update(pair):
    _, D, real, fake, _, opt_d = pair
    expected = D(real).detach(), D(fake).detach()
    torch.testing.assert_close(d_step(D, opt_d, real, fake)[1:], expected)


def test_d_step_returns_no_graph(pair):
    _, D, real, fake, _, opt_d = pair
    assert not any(value.requires_grad for value in d_step(D, opt_d, real, fake))


def test_d_step_takes_another_loss(pair):
    _, D, real, fake, _, opt_d = pair
    expected = 2 * d_loss(D(real), D(fake)).detach()
    loss, *_ = d_step(D, opt_d, real, fake, lambda a, b: 2 * d_loss(a, b))
    torch.testing.assert_close(loss, expected)


def test_d_step_takes_an_odd_batch(pair):
    _, D, real, fake, _, opt_d = pair
    assert d_step(D, opt_d, real[:3], fake)[0].isfinite()


# --- one step of G


def test_g_step_gives_d_no_gradient(pair):
    _, D, _, fake, opt_g, _ = pair
    g_step(D, opt_g, fake)
    assert all(parameter.grad is None for parameter in D.parameters())


def test_g_step_leaves_d_as_it_was(pair):
    _, D, _, fake, opt_g, _ = pair
    before = weights(D)
    g_step(D, opt_g, fake)
    assert same(weights(D), before)


def test_g_step_changes_every_layer_of_g(pair):
    G, D, _, fake, opt_g, _ = pair
    before = weights(G)
    g_step(D, opt_g, fake)
    # but not the bias before BatchNorm, which takes it away again: its gradient is 0
    names = {name for name, _ in G.named_parameters()} - {"net.0.bias"}
    assert not any(torch.equal(G.state_dict()[name], before[name]) for name in names)


def test_g_step_gives_g_the_gradient_of_the_loss(pair):
    G, D, _, fake, opt_g, _ = pair
    loss = bce(D(fake), torch.ones(8))
    expected = torch.autograd.grad(loss, list(G.parameters()), retain_graph=True)
    g_step(D, opt_g, fake)
    torch.testing.assert_close([p.grad for p in G.parameters()], list(expected))


def test_g_step_makes_d_trainable_again(pair):
    _, D, _, fake, opt_g, _ = pair
    g_step(D, opt_g, fake)
    assert all(parameter.requires_grad for parameter in D.parameters())


def test_g_step_forgets_the_gradients_of_before(pair):
    G, D, _, fake, _, _ = pair
    for parameter in G.parameters():
        parameter.grad = torch.full_like(parameter, 1e6)
    g_step(D, torch.optim.SGD(G.parameters(), 0.0), fake)
    assert all(parameter.grad.abs().max() < 100 for parameter in G.parameters())


def test_g_step_returns_the_loss_of_before_its_update(pair):
    _, D, _, fake, opt_g, _ = pair
    expected = g_loss_non_saturating(D(fake)).detach()
    loss = g_step(D, opt_g, fake)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected)


def test_g_step_takes_another_loss(pair):
    _, D, _, fake, opt_g, _ = pair
    expected = g_loss_saturating(D(fake)).detach()
    torch.testing.assert_close(g_step(D, opt_g, fake, g_loss_saturating), expected)


def test_g_step_convinces_d(pair):
    G, D, _, _, opt_g, _ = pair
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    losses = [g_step(D, opt_g, G(z)) for _ in range(20)]
    assert losses[-1] < losses[0]


# --- the loop, against one written by hand


def bare_loop(G, D, images, config):
    """What ``train`` promises, written down once more; yields what each step gave."""
    noise = torch.Generator().manual_seed(config.seed)
    order = torch.Generator().manual_seed(config.seed + 1)
    opt_g = torch.optim.Adam(G.parameters(), config.lr_g, config.betas, fused=True)
    opt_d = torch.optim.Adam(D.parameters(), config.lr_d, config.betas, fused=True)
    queue = []
    for _ in range(config.steps):
        if not queue:
            queue = list(
                batch_indices(
                    len(images), config.batch_size, generator=order, drop_last=True
                )
            )
        real = images[queue.pop(0)]
        fake = G(torch.randn(config.batch_size, 3, generator=noise))

        real_logits, fake_logits = D(torch.cat([real, fake.detach()])).chunk(2)
        loss_d = (
            bce(real_logits, torch.ones_like(real_logits))
            + bce(fake_logits, torch.zeros_like(fake_logits))
        ) / 2
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()

        verdict = D(fake)
        loss_g = bce(verdict, torch.ones_like(verdict))
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        right = (real_logits > 0).sum() + (fake_logits < 0).sum()
        yield {
            "d_loss": loss_d.item(),
            "g_loss": loss_g.item(),
            "d_real": real_logits.sigmoid().mean().item(),
            "d_fake": fake_logits.sigmoid().mean().item(),
            "d_accuracy": right.item() / (2 * config.batch_size),
        }


def test_weights_are_those_of_the_bare_loop_bit_for_bit(tiny_networks, tiny_images):
    (G, D), (bare_G, bare_D) = tiny_networks(), tiny_networks()
    drive(G, D, tiny_images)
    list(bare_loop(bare_G, bare_D, tiny_images, SHORT))
    assert same(weights(G), weights(bare_G))
    assert same(weights(D), weights(bare_D))


def test_records_are_the_means_of_the_bare_loop(tiny_networks, tiny_images):
    records = drive(*tiny_networks(), tiny_images)
    steps = list(bare_loop(*tiny_networks(), tiny_images, SHORT))
    for record, part in zip(records, (steps[:4], steps[4:8], steps[8:]), strict=True):
        for name in steps[0]:
            mean = sum(step[name] for step in part) / len(part)
            assert getattr(record, name) == pytest.approx(mean, abs=1e-6), name


def test_records_come_at_every_interval_and_at_the_end(tiny_networks, tiny_images):
    records = drive(*tiny_networks(), tiny_images)
    assert [record.step for record in records] == [4, 8, 10]


def test_records_count_the_real_images(tiny_networks, tiny_images):
    records = drive(*tiny_networks(), tiny_images)
    assert [record.images_seen for record in records] == [32, 64, 80]


def test_end_on_an_interval_gives_no_record_twice(tiny_networks, tiny_images):
    config = dataclasses.replace(SHORT, steps=8)
    records = drive(*tiny_networks(), tiny_images, config)
    assert [record.step for record in records] == [4, 8]


def test_seconds_leave_out_what_the_notebook_does(
    tiny_networks, tiny_images, monkeypatch
):
    G, D = tiny_networks()
    now = [0.0]
    monkeypatch.setattr(records.time, "perf_counter", lambda: now[0])

    def one_second_passes(*_):
        now[0] += 1

    G.register_forward_hook(one_second_passes)
    for record in train(G, D, tiny_images, SHORT):
        assert record.seconds == record.step
        now[0] += 100  # a plot, say


def test_no_loss_is_read_between_records(tiny_networks, tiny_images, monkeypatch):
    read = []
    run = train(*tiny_networks(), tiny_images, TrainConfig(20, 8, record_every=20))
    for name in ("item", "tolist", "__float__", "__bool__", "__format__"):
        original = getattr(torch.Tensor, name)

        def spy(self, *args, name=name, original=original):
            read.extend([name] * self.is_floating_point())
            return original(self, *args)

        monkeypatch.setattr(torch.Tensor, name, spy)
    list(run)
    assert len(read) <= 2  # the means, and the check that all is finite


def test_each_player_keeps_its_own_learning_rate(tiny_networks, tiny_images):
    config = dataclasses.replace(SHORT, lr_g=1e-3, lr_d=2e-3)
    rates = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    drive(*tiny_networks(), tiny_images, config)
    hook.remove()
    assert rates == [2e-3, 1e-3] * 10  # D, G, D, G …


# --- the averaged generator


def test_average_follows_its_recursion(tiny_networks, tiny_images):
    G, D = tiny_networks()
    config = TrainConfig(40, 8, record_every=1, ema_share=0.4)
    for record in train(G, D, tiny_images, config):
        new = [value.double() for value in (*G.parameters(), *G.buffers())]
        if record.step == 1:
            expected = new
        done = record.step - 1  # updates of the average before this one
        decay = 1 - 1 / (1 + 0.4 * done)
        expected = [
            decay * old + (1 - decay) * now
            for old, now in zip(expected, new, strict=True)
        ]
    found = [*record.averaged.parameters(), *record.averaged.buffers()]
    for average, wanted in zip(found, expected, strict=True):
        if average.is_floating_point():  # all but BatchNorm's count of batches
            torch.testing.assert_close(average.double(), wanted, atol=1e-5, rtol=0)


def test_average_without_memory_is_g_itself(tiny_networks, tiny_images):
    G, D = tiny_networks()
    config = dataclasses.replace(SHORT, ema_share=0.0)
    averaged = drive(G, D, tiny_images, config)[-1].averaged
    assert same(weights(averaged), weights(G))


def test_average_is_the_same_network_in_every_record(tiny_networks, tiny_images):
    records = drive(*tiny_networks(), tiny_images)
    assert all(record.averaged is records[0].averaged for record in records)


def test_average_is_in_eval_mode_and_not_trained(tiny_networks, tiny_images):
    averaged = drive(*tiny_networks(), tiny_images)[-1].averaged
    assert not averaged.training
    assert not any(p.requires_grad for p in averaged.parameters())


def test_average_is_not_g(tiny_networks, tiny_images):
    G, D = tiny_networks()
    averaged = drive(G, D, tiny_images)[-1].averaged
    assert not same(weights(averaged), weights(G))


# --- randomness


def test_same_seed_gives_the_same_weights_bit_for_bit(tiny_networks, tiny_images):
    runs = []
    for _ in range(2):
        G, D = tiny_networks()
        averaged = drive(G, D, tiny_images)[-1].averaged
        runs.append([weights(network) for network in (G, D, averaged)])
        torch.rand(5)  # the global random state plays no part
    assert all(same(first, second) for first, second in zip(*runs, strict=True))


def test_other_seed_gives_other_weights(tiny_networks, tiny_images):
    runs = []
    for seed in (0, 1):
        G, D = tiny_networks()
        drive(G, D, tiny_images, dataclasses.replace(SHORT, seed=seed))
        runs.append(weights(G))
    assert not same(*runs)


def test_training_leaves_the_global_random_state_alone(
    tiny_networks, tiny_images, unchanged_global_random_state
):
    drive(*tiny_networks(), tiny_images)


# --- leaving early


def test_leaving_the_loop_ends_the_training(tiny_networks, tiny_images):
    G, D = tiny_networks()
    for record in train(G, D, tiny_images, SHORT):
        if record.step == 4:
            break
    assert D.calls == 2 * 4
    assert all(parameter.requires_grad for parameter in D.parameters())


def test_networks_that_were_in_eval_mode_are_trained_all_the_same(
    tiny_networks, tiny_images
):
    G, D = tiny_networks()
    drive(G.eval(), D.eval(), tiny_images)
    assert (G.training, D.training) == (True, True)


def interrupted(tiny_networks, tiny_images, call):
    """Press Ctrl-C in D's call number ``call`` of a training; return G, D, records."""
    G, D = tiny_networks()

    def press_ctrl_c(*_):
        if D.calls == call - 1:
            raise KeyboardInterrupt

    D.register_forward_pre_hook(press_ctrl_c)
    return G, D, drive(G, D, tiny_images)


@pytest.mark.parametrize("call", [2 * 5 + 1, 2 * 5 + 2])
def test_ctrl_c_gives_a_last_record(tiny_networks, tiny_images, call):
    _, _, records = interrupted(tiny_networks, tiny_images, call)
    assert [record.step for record in records] == [4, 5]
    assert records[-1].images_seen == 40


def test_ctrl_c_says_where_it_stopped(tiny_networks, tiny_images, capsys):
    interrupted(tiny_networks, tiny_images, 2 * 5 + 1)
    expected = "Stopped after 5 of 10 steps; the weights are kept.\n"
    assert capsys.readouterr().out == expected


def test_ctrl_c_keeps_what_was_learned(tiny_networks, tiny_images):
    G, D, _ = interrupted(tiny_networks, tiny_images, 2 * 5 + 1)
    bare_G, bare_D = tiny_networks()
    steps = bare_loop(bare_G, bare_D, tiny_images, SHORT)
    for _ in range(5):
        next(steps)
    learned = [dict(network.named_parameters()) for network in (G, D, bare_G, bare_D)]
    assert same(learned[0], learned[2])
    assert same(learned[1], learned[3])


def test_ctrl_c_in_the_step_of_g_leaves_d_trainable(tiny_networks, tiny_images):
    _, D, _ = interrupted(tiny_networks, tiny_images, 2 * 5 + 2)
    assert all(parameter.requires_grad for parameter in D.parameters())


def test_last_record_after_ctrl_c_holds_the_means_since_the_one_before(
    tiny_networks, tiny_images
):
    _, _, records = interrupted(tiny_networks, tiny_images, 2 * 6 + 1)
    steps = list(bare_loop(*tiny_networks(), tiny_images, SHORT))
    mean = (steps[4]["d_loss"] + steps[5]["d_loss"]) / 2
    assert records[-1].d_loss == pytest.approx(mean)


def test_ctrl_c_before_the_first_step_still_gives_a_record(tiny_networks, tiny_images):
    _, _, records = interrupted(tiny_networks, tiny_images, 1)
    assert [record.step for record in records] == [0]


def test_ctrl_c_right_after_a_record_does_not_tell_the_same_twice(
    tiny_networks, tiny_images
):
    _, _, records = interrupted(tiny_networks, tiny_images, 2 * 4 + 1)
    assert [record.step for record in records] == [4]


def test_ctrl_c_after_nan_restores_the_last_good_weights(tiny_networks, tiny_images):
    G, D = tiny_networks()

    def poison_then_press_ctrl_c(*_):
        if D.calls == 2 * 5:
            with torch.no_grad():
                next(G.parameters()).fill_(math.nan)
        if D.calls == 2 * 6:
            raise KeyboardInterrupt

    D.register_forward_pre_hook(poison_then_press_ctrl_c)
    with pytest.raises(FloatingPointError, match="between step 4 and step 6"):
        drive(G, D, tiny_images)
    assert all(parameter.isfinite().all() for parameter in G.parameters())


# --- numbers that are none


def poisoned(G, D, images, poison):
    """Poison a training after its record of step 4; return all states of then."""
    images = images.clone()
    run = train(G, D, images, SHORT)
    averaged = next(run).averaged
    states = [weights(network) for network in (G, D, averaged)]
    poison(G, D, images)
    with pytest.raises(FloatingPointError) as caught:
        next(run)
    return str(caught.value), states, averaged


def into_the_images(G, D, images):
    images[:] = math.nan


def into_one_weight_of_g(G, D, images):
    with torch.no_grad():
        G.net[0].weight[0, 0] = math.inf


def into_a_buffer_of_g(G, D, images):
    G.net[1].running_var[0] = math.inf  # no loss will ever show it: G is in train mode


each_poison = pytest.mark.parametrize(
    "poison", [into_the_images, into_one_weight_of_g, into_a_buffer_of_g]
)


@each_poison
def test_nan_is_found_and_its_place_is_named(tiny_networks, tiny_images, poison):
    sentence, _, _ = poisoned(*tiny_networks(), tiny_images, poison)
    assert "became NaN or infinite between step 4 and step 8" in sentence
    assert "lower lr_g and lr_d (now 0.001 and 0.001)" in sentence


@each_poison
def test_nan_brings_back_the_last_good_weights(tiny_networks, tiny_images, poison):
    G, D = tiny_networks()
    _, states, averaged = poisoned(G, D, tiny_images, poison)
    for network, state in zip((G, D, averaged), states, strict=True):
        assert same(weights(network), state)


def test_nan_before_the_first_record_brings_back_the_first_weights(
    tiny_networks, tiny_images
):
    G, D = tiny_networks()
    before = weights(G), weights(D)
    config = dataclasses.replace(SHORT, lr_g=1e38, lr_d=1e38)
    with pytest.raises(FloatingPointError, match="between step 0 and step 4"):
        drive(G, D, tiny_images, config)
    assert same(weights(G), before[0])
    assert same(weights(D), before[1])


def test_finite_training_is_not_stopped(tiny_networks, tiny_images):
    assert len(drive(*tiny_networks(), tiny_images)) == 3


# --- images that do not fit


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda x: (x + 1) / 2, ValueError, r"looks like \[0, 1\].*images \* 2 - 1"),
        (
            lambda x: (x + 1) * 127.5,
            ValueError,
            r"expected \[-1, 1\].*images / 127.5 - 1",
        ),
        (lambda x: ((x + 1) * 127.5).byte(), TypeError, "uint8, expected float32"),
        (lambda x: x.double(), TypeError, "float64, expected float32"),
        (lambda x: x.numpy(), TypeError, "came as ndarray, expected a torch tensor"),
        (lambda x: x.repeat(1, 3, 1, 1), ValueError, "3 channels.*built for 1"),
        (lambda x: x.repeat(1, 1, 2, 2), ValueError, "8×8 pixels.*built for .*4×4"),
        (lambda x: x.squeeze(1), ValueError, r"images.unsqueeze\(1\)"),
        (
            lambda x: x[:7],
            ValueError,
            "there are 7 images, expected a batch of 8 or more: .* batch_size=7",
        ),
        (lambda x: x[:0], ValueError, "no images at all"),
        (lambda x: x * math.nan, ValueError, "NaN or infinite values"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    tiny_networks, tiny_images, change, error, sentence
):
    with pytest.raises(error, match=sentence):
        train(*tiny_networks(), change(tiny_images), SHORT)  # before the first step


def test_networks_on_different_devices_are_refused(tiny_networks, tiny_images):
    G, D = tiny_networks()
    with pytest.raises(
        ValueError, match=r"D is on meta, expected cpu, where G is: write D\.to"
    ):
        train(G, D.to("meta"), tiny_images, SHORT)


# --- the machine


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_fastest_device_is_picked(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device().type == expected
