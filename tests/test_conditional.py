"""Conditional networks: who gets which label, and what D's formula answers."""

import pytest
import torch

from ganlib.conditional import (
    AskedFor,
    ConditionalGenerator,
    ProjectionDiscriminator,
    conditional_update,
    train_conditional,
)
from ganlib.latent import stream
from ganlib.losses import d_loss, g_loss_non_saturating
from ganlib.training import TrainConfig

SHAPE = (1, 4, 4)
IMAGES = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.arange(40) % 3
ASKED = (LABELS + 1) % 3  # other labels than those of the real images


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def generator():
    return ConditionalGenerator(5, SHAPE, classes=3, size=2)


def test_g_hears_its_label_and_mixtures_of_labels():
    G, z, labels = generator().eval(), torch.randn(6, 5), torch.tensor([0, 1, 2] * 2)
    images = G(z, labels)
    assert images.shape == (6, *SHAPE)
    assert not torch.allclose(images, G(z, labels.roll(1)))
    one_hot = torch.eye(3)[labels]
    torch.testing.assert_close(G(z, one_hot), images)
    shares = torch.tensor([[0.5, 0.3, 0.2]] * 6)
    code = sum(s * w for s, w in zip(shares[0], G.embedding.weight, strict=True))
    by_hand = G.inner(torch.cat([z, code.expand(6, 2)], 1))
    torch.testing.assert_close(G(z, shares), by_hand)
    with pytest.raises(IndexError):
        G(z, torch.tensor([3] * 6))


def test_projection_is_the_formula():
    D = ProjectionDiscriminator(SHAPE, 3)
    plain = D.net(IMAGES).squeeze(1)
    torch.testing.assert_close(D(IMAGES, LABELS), plain)  # at first, labels say nothing
    torch.nn.init.normal_(D.embedding.weight)
    phi = D.net[:-1](IMAGES)
    match = torch.stack(
        [phi[i] @ D.embedding.weight[y] for i, y in enumerate(LABELS.tolist())]
    )
    torch.testing.assert_close(D(IMAGES, LABELS), plain + match)


def test_conditional_update_asks_d_about_pairs():
    G, D = generator(), ProjectionDiscriminator(SHAPE, 3)
    torch.nn.init.normal_(D.embedding.weight)
    real, fake = IMAGES[:6], G(torch.randn(6, 5), ASKED[:6])
    with torch.no_grad():
        expected = d_loss(D(real, LABELS[:6]), D(fake, ASKED[:6]))
    opts = (torch.optim.SGD(network.parameters(), 0.0) for network in (D, G))
    labels = LABELS[:6], ASKED[:6]
    (loss, *_), g_loss = conditional_update(
        D, *opts, real, labels[0], fake, labels[1], 0.0
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(g_loss, g_loss_non_saturating(D(fake, labels[1])))


def test_training_pairs_each_image_with_its_label_and_asks_as_often_as_the_data():
    few = LABELS.where(LABELS < 2, 0)  # 0 twice as often as 1, and no 2
    marked = (few / 2 - 0.5).view(-1, 1, 1, 1).expand(-1, *SHAPE)  # gray by label
    asked = []

    def update(D, opt_d, opt_g, real, real_labels, fake, fake_labels, progress):
        torch.testing.assert_close(real[:, 0, 0, 0], real_labels / 2 - 0.5)
        asked.append(fake_labels)
        return conditional_update(
            D, opt_d, opt_g, real, real_labels, fake, fake_labels, progress
        )

    G, D = generator(), ProjectionDiscriminator(SHAPE, 3)
    config = TrainConfig(12, batch_size=8, record_every=6)
    records = list(train_conditional(G, D, marked, few, config, update))
    assert [record.step for record in records] == [6, 12]
    order = stream("labels", config.seed)  # of its own, not that of the noise
    chosen = torch.cat([torch.randint(40, (8,), generator=order) for _ in range(12)])
    assert torch.equal(torch.cat(asked), few[chosen])


def test_training_is_repeatable_and_trains_both():
    def weights():
        torch.manual_seed(0)
        G, D = generator(), ProjectionDiscriminator(SHAPE, 3)
        before = [w.clone() for w in (*G.parameters(), *D.parameters())]
        config = TrainConfig(3, batch_size=8)
        list(train_conditional(G, D, IMAGES, LABELS, config))
        return before, [*G.parameters(), *D.parameters()]

    before, first = weights()
    _, second = weights()
    assert all(map(torch.equal, first, second))
    assert not any(map(torch.equal, before, first))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (LABELS[:-1], r"labels are torch.int64 \(39,\), expected torch.int64 \(40,\)"),
        (LABELS.float(), "labels are torch.float32"),
        (LABELS + 1, "labels reach from 1 to 3, expected 0 to 2.*classes=4"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, sentence):
    G, D = generator(), ProjectionDiscriminator(SHAPE, 3)
    with pytest.raises(ValueError, match=sentence):
        train_conditional(G, D, IMAGES, labels, TrainConfig(1, batch_size=8))


def test_asked_for_gives_a_generator_without_labels():
    G, z = generator().eval(), torch.randn(7, 5)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    torch.testing.assert_close(AskedFor(G)(z), G(z, labels))
    torch.testing.assert_close(AskedFor(G, 2)(z), G(z, torch.full((7,), 2)))
    mixture = torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close(AskedFor(G, mixture)(z), G(z, mixture.expand(7, 3)))
    assert torch.equal(AskedFor(G).labels(7), labels)
    assert AskedFor(G).latent_dim == 5
