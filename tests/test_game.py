"""The game that is stepped by hand: the same moves as in code, and what it shows."""

import io
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib.game import BATCH, SIZE, play_game
from ganlib.latent import stream
from ganlib.losses import d_loss, r1_penalty
from ganlib.plots import FAKE, REAL
from ganlib.steps import d_step, g_step
from ganlib.toys import RING, PointDiscriminator, PointGenerator, sample_points

POINTS = sample_points(RING, 1000, seed=0)


@pytest.fixture
def game():
    return play_game({"ring": POINTS, "line": POINTS[:, :1].expand(-1, 2)})


def weights(network):
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def test_buttons_and_sliders_do_what_the_same_steps_in_code_do(game):
    game.momentum.value, game.gamma.value = 0.5, 0.3
    game.buttons["one round"].click()
    game.lr_d.value, game.lr_g.value, game.momentum.value = 1e-2, 1e-4, 0.0
    for player in "DDG":
        game.buttons[player].click()
    torch.manual_seed(0)
    G, D = PointGenerator(), PointDiscriminator()
    opt_d, opt_g = (
        torch.optim.Adam(n.parameters(), 1e-3, (0.5, 0.999)) for n in (D, G)
    )
    order, noise = stream("order", 0), stream("noise", 0)
    for i, player in enumerate("DGDDG"):
        if i == 2:
            opt_d.param_groups[0].update(lr=1e-2, betas=(0.0, 0.999))
            opt_g.param_groups[0].update(lr=1e-4, betas=(0.0, 0.999))
        fake = G(torch.randn(BATCH, 2, generator=noise))
        if player == "G":
            g_step(D, opt_g, fake)
            continue
        real = POINTS[torch.randint(len(POINTS), (BATCH,), generator=order)]
        penalty = 0.3 * r1_penalty(D, real)
        d_step(D, opt_d, real, fake, lambda r, f: d_loss(r, f) + penalty)  # noqa: B023
    torch.testing.assert_close(weights(game.G), weights(G))
    torch.testing.assert_close(weights(game.D), weights(D))
    assert game.steps == {"D": 3, "G": 2}


def test_a_game_starts_again_and_is_another_with_another_seed_or_other_points(game):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    game.move("DG")
    first = weights(game.G)
    game.again.click()
    assert (game.steps, len(game.history)) == ({"D": 0, "G": 0}, 1)
    game.move("DG")
    assert torch.equal(weights(game.G), first)
    game.seed.value = 1
    game.move("DG")
    assert not torch.equal(weights(game.G), first)
    game.seed.value, game.data.value = 0, "line"
    assert torch.equal(game.points, game.sets["line"])
    assert torch.equal(torch.get_rng_state(), before)


def test_play_moves_the_game_until_it_starts_again(game):
    game.play.playing = True
    game.play.value = 1
    assert game.steps == {"D": 5, "G": 5}
    game.again.click()
    game.play.value = 2  # a tick that was on its way
    assert (game.play.playing, game.steps) == (False, {"D": 0, "G": 0})


def test_a_new_game_waits_for_the_move_that_is_made(game):
    """JupyterLab's kernel handles two events at once, in threads."""
    moving, step = threading.Event(), game._step

    def slow_step(player):
        moving.set()
        time.sleep(0.01)
        step(player)

    game._step = slow_step
    mover = threading.Thread(target=game.move, args=[20 * "DG"])
    mover.start()
    moving.wait()
    game.start()
    mover.join()
    assert game.steps == {"D": 0, "G": 0}


def test_numbers_and_arrows_fit_networks_that_are_known(game):
    with torch.no_grad():
        for w in [*game.G.parameters(), *game.D.parameters()]:
            w.zero_()
        game.G.net[-1].bias.copy_(RING.centers[0])  # all fakes on the mode at (1, 0)
    game.D.forward = lambda points: 3 * points[:, 1] + 1  # up is real
    game.move("")
    _, reached, right = game.history[-1]
    shown = POINTS[:200]
    on_mode = (shown - RING.centers[0]).norm(dim=1) < 0.1
    assert reached == pytest.approx(on_mode.float().mean().item())
    assert right == pytest.approx((shown[:, 1] > -1 / 3).float().mean().item() / 2)
    assert game.push[:, 0].abs().max() == 0
    assert game.push[:, 1].min() > 0  # where G's loss falls
    picture = np.array(Image.open(io.BytesIO(game.picture.value))).astype(int)
    assert picture.shape == (*SIZE, 3)
    plane, curves = picture[:320], picture[320:]  # the plane is square
    top, bottom = plane[5, 5], plane[-5, 5]
    assert top[2] > top[0]  # blue where D says real
    assert bottom[0] > bottom[2]
    x, y = (160 * (RING.centers[0] / game.reach * torch.tensor([1, -1]) + 1)).int()
    column = plane[:, x - 1 : x + 2]
    reddish = (column[..., 0] > column[..., 2] + 50).any(1)[: y + 1]  # on bluish ground
    assert reddish[y]
    assert reddish.sum() == pytest.approx(32, abs=5)  # up by 0.2 of half the plane
    for color in (FAKE, REAL):
        values = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (curves == values).all(2).any()
