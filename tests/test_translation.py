"""Translation without pairs: who gets which images, and what D sees again."""

import pytest
import torch
from scipy.ndimage import maximum_filter
from torch import nn

from ganlib.losses import (
    cycle_loss,
    d_loss,
    g_loss_least_squares,
    g_loss_non_saturating,
    identity_loss,
)
from ganlib.steps import d_step
from ganlib.training import TrainConfig
from ganlib.translation import (
    BothWays,
    ImagePool,
    PatchDiscriminator,
    Translator,
    cycle_step,
    cycle_update,
    on_paper,
    outlines,
    train_translation,
)

SHAPE = (1, 8, 8)
generator = torch.Generator().manual_seed(0)
A = torch.rand(20, *SHAPE, generator=generator)  # A is light, and B is dark
B = -torch.rand(14, *SHAPE, generator=generator)
A[0, 0, 0, 0], B[0, 0, 0, 0] = -1, 1  # the range is full


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def new_networks():
    G = BothWays(Translator(SHAPE, 2), Translator(SHAPE, 2))
    return G, nn.ModuleList(PatchDiscriminator(SHAPE, 2) for _ in "ab")


def optimizers(D, G, rate=0.0):
    return [torch.optim.SGD(network.parameters(), rate) for network in (D, G)]


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 64, 48), (1, 30, 42)])
def test_networks_fit_images(image_shape):
    images = torch.rand(2, *image_shape)
    translated = Translator(image_shape, 4)(images)
    assert translated.shape == images.shape
    assert translated.abs().max() <= 1
    logits = PatchDiscriminator(image_shape, 4)(translated)
    assert logits.shape == (2, image_shape[1] // 4, image_shape[2] // 4)


def test_other_images_are_refused():
    for network in new_networks()[0].to_b, PatchDiscriminator(SHAPE):
        with pytest.raises(ValueError, match="images have shape"):
            network(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(("kind", "seen"), [(Translator, 20), (PatchDiscriminator, 18)])
def test_an_output_depends_on_as_many_pixels_as_documented(kind, seen):
    images = torch.rand(1, 1, 64, 64, requires_grad=True)
    (out,) = kind((1, 64, 64), 4)(images).flatten(0, -3)
    middle = out[len(out) // 2, len(out) // 2]
    (gradient,) = torch.autograd.grad(middle, images)
    for places in gradient[0, 0].nonzero(as_tuple=True):  # rows, columns
        assert places.max() - places.min() + 1 == seen


def test_patch_logits_count_alike_in_losses_and_steps():
    _, (D, _) = new_networks()
    real, fake = A[:4], B[:4]
    loss, real_logits, fake_logits = d_step(D, optimizers(D, D)[0], real, fake)
    assert real_logits.shape == (4, 2, 2)
    torch.testing.assert_close(real_logits, D(real).detach())
    flat = d_loss(real_logits.flatten(), fake_logits.flatten())
    torch.testing.assert_close(loss, flat)


def test_cycle_and_identity_losses_are_mean_distances():
    x = torch.tensor([[0.5, -1.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    assert cycle_loss(x, x - 0.25) == 0.25
    assert cycle_loss(x, -x) == pytest.approx(2 * 2.5 / 4)
    assert identity_loss(torch.neg, x) == pytest.approx(2 * 2.5 / 4)
    assert identity_loss(nn.Identity(), x) == 0


@pytest.mark.parametrize("loss_function", [g_loss_non_saturating, g_loss_least_squares])
def test_cycle_step_follows_the_formula_and_leaves_both_d_alone(loss_function):
    (G, D), a, b = new_networks(), A[:4], B[:4]
    D_a, D_b = D
    there, here = G.to_b(a), G.to_a(b)
    loss = loss_function(D_a(here)) + loss_function(D_b(there))
    back = (G.to_a(there) - a).abs().mean() + (G.to_b(here) - b).abs().mean()
    same = (G.to_b(b) - b).abs().mean() + (G.to_a(a) - a).abs().mean()
    expected = torch.autograd.grad(loss + 3 * back + 0.5 * same, list(G.parameters()))
    weights = {"cycle_weight": 3.0, "identity_weight": 0.5}
    opt_g = optimizers(D, G)[1]
    found, *fakes = cycle_step(
        G, D_a, D_b, opt_g, a, b, loss_function=loss_function, **weights
    )
    torch.testing.assert_close(found, loss.detach())
    assert all(map(torch.equal, fakes, (here, there)))
    assert not any(fake.requires_grad for fake in fakes)
    for weight, gradient in zip(G.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)
    assert all(weight.grad is None for weight in D.parameters())


class Watched(nn.Module):
    """A network that remembers the last batch that it got."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        self.last = images
        return self.network(images)


def test_update_shows_each_d_its_own_domain_and_old_fakes():
    (G, D), a, b = new_networks(), A[:4], B[:4]
    D = nn.ModuleList(map(Watched, D))
    pools = [ImagePool(4, torch.Generator().manual_seed(0)) for _ in "ab"]
    old = torch.full_like(a, 0.1), torch.full_like(a, 0.2)
    for pool, fakes in zip(pools, old, strict=True):
        pool.exchange(fakes)
    fakes = G.to_a(b).detach(), G.to_b(a).detach()
    (loss, real, fake), g_loss = cycle_update(G, D, *optimizers(D, G), a, b, pools, 0.0)
    for D_x, images, new, earlier in zip(D, (a, b), fakes, old, strict=True):
        assert torch.equal(D_x.last[:4], images)
        for image in D_x.last[4:]:
            assert any(map(image.equal, new)) or image.equal(earlier[0])
        assert any(map(earlier[0].equal, D_x.last[4:]))
    losses = [d_loss(D_x(D_x.last)[:4], D_x.network(D_x.last)[4:]) for D_x in D]
    torch.testing.assert_close(loss, sum(losses).detach())
    assert real.shape == fake.shape == (8, 2, 2)
    expected = sum(g_loss_non_saturating(d(f)) for d, f in zip(D, fakes, strict=True))
    torch.testing.assert_close(g_loss, expected.detach())


def test_pool_returns_each_fake_at_most_once_and_about_half_of_them_late():
    pool = ImagePool(10, torch.Generator().manual_seed(0))
    batches = torch.arange(400.0).view(100, 4, 1, 1, 1)
    returned = [pool.exchange(batch).flatten() for batch in batches]
    assert torch.equal(torch.cat(returned[:3]), torch.arange(12.0))  # it fills
    late = [(now < 4 * i).sum() for i, now in enumerate(returned[3:], 3)]
    assert 0.4 < sum(late) / (97 * 4) < 0.6
    everything = torch.cat([*returned[3:], pool.images.flatten()])
    assert torch.equal(everything.sort().values[10:], torch.arange(12.0, 400))
    assert everything.sort().values[:10].equal(torch.arange(10.0))


def test_training_is_repeatable_and_moves_all_four_networks():
    def weights():
        torch.manual_seed(0)
        G, D = new_networks()
        both = nn.ModuleList([G, D])
        before = [w.clone() for w in both.parameters()]
        config = TrainConfig(4, batch_size=4, record_every=2)
        records = list(train_translation(G, D, A, B, config))
        assert [record.step for record in records] == [2, 4]
        assert isinstance(records[-1].averaged.to_a, Translator)
        assert 0 <= records[-1].d_accuracy <= 1
        return before, list(both.parameters())

    before, first = weights()
    _, second = weights()
    assert all(map(torch.equal, first, second))
    assert not any(map(torch.equal, before, first))


def test_training_pairs_nothing_and_keeps_the_domains_apart():
    seen = []

    def update(G, D, opt_d, opt_g, a, b, pools, progress):
        seen.append((a, b))
        return cycle_update(G, D, opt_d, opt_g, a, b, pools, progress)

    b = A[:16] - 1  # the same images, darker
    b[0, 0, 0, 0] = 1
    list(train_translation(*new_networks(), A[:16], b, TrainConfig(8, 4), update))
    a, b = (torch.cat(batches) for batches in zip(*seen, strict=True))
    assert a[:, 0, 1:].min() >= 0 >= b[:, 0, 1:].max()
    assert (a - b - 1)[:, 0, 1:].abs().amax((1, 2)).gt(1e-6).float().mean() > 0.5


def test_training_refuses_a_second_domain_that_does_not_fit():
    G, D = new_networks()
    with pytest.raises(ValueError, match=r"images reach from .* to 2, expected"):
        list(train_translation(G, D, A, B + 1, TrainConfig(2, 4)))
    with pytest.raises(ValueError, match="images have shape"):
        list(train_translation(G, D, A, B[:, :, :4], TrainConfig(2, 4)))


def test_domains_are_what_they_say():
    images = torch.rand(3, 1, 9, 9, generator=generator) * 2 - 1
    largest = maximum_filter(images, (1, 1, 3, 3), mode="constant", cval=-2)
    largest = torch.from_numpy(largest)
    torch.testing.assert_close(outlines(images), largest - images - 1)
    black, white = torch.full((1, 1, 2, 5), -1.0), torch.ones(1, 1, 2, 5)
    paper = torch.tensor([0, 0.25, 0.5, 0.75, 1])
    assert torch.equal(on_paper(black)[0, 0, 1], paper)
    assert torch.equal(on_paper(white), -white)
