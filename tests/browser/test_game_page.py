"""The game that the reader steps, in a real browser: the same numbers as torch."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tab_through, unreadable

from ganlib.steps import classic_update, r1_update
from ganlib.toys import PointDiscriminator, PointGenerator

sys.path.insert(0, str(Path(__file__).parents[2] / "site"))

import build

REST = "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("game")
    build.write_game(folder)
    return folder / "game.html"


@pytest.fixture(scope="module")
def shared(open_file, file):
    return open_file(file)


@pytest.fixture
def page(shared):
    """One page for most tests, brought back to its beginning."""
    shared.reload()
    shared.wait_for_function("() => window.game?.settings")
    return shared


def weights(page):
    found = page.evaluate("game.weights")
    return {name: np.array(found[name]) for name in ("G", "D")}


def click(page, name):
    page.get_by_role("button", name=name, exact=True).click()
    page.evaluate(REST)


def rounds(page):
    return page.evaluate("game.rounds")


def restart(page, seed):
    page.get_by_role("spinbutton", name="seed").fill(str(seed))
    click(page, "Start again")


def slide(page, values):
    """Move sliders to the stops that read as these values."""
    script = """(slider, value) => {
        for (let stop = 0; stop <= slider.max; stop++) {
            slider.value = stop;
            slider.dispatchEvent(new Event("input"));
            if (slider.ariaValueText === value) return true;
        } }"""
    for label, value in values.items():
        slider = page.get_by_role("slider", name=label)
        assert slider.evaluate(script, value), f"{label} has no stop {value}"


def flat(network):
    return torch.cat([values.detach().flatten() for values in network.parameters()])


# --- the numbers


@pytest.mark.parametrize(
    ("update", "settings"),
    [
        (classic_update, {"rateD": 0.002, "rateG": 0.01, "momentum": 0.9, "gamma": 0}),
        (
            partial(r1_update, gamma=0.3),
            {"rateD": 0.005, "rateG": 0.002, "momentum": 0.5, "gamma": 0.3},
        ),
    ],
    ids=["classic", "R1"],
)
def test_hundred_rounds_give_the_weights_and_losses_of_torch(page, update, settings):
    torch.manual_seed(0)
    G, D = (N(width=32, depth=2).double() for N in (PointGenerator, PointDiscriminator))
    opt_d, opt_g = (
        torch.optim.Adam(N.parameters(), settings[rate], (settings["momentum"], 0.999))
        for N, rate in ((D, "rateD"), (G, "rateG"))
    )
    given = {"G": flat(G).tolist(), "D": flat(D).tolist()}
    real, z = torch.randn(2, 100, 24, 2, dtype=torch.double)
    losses = page.evaluate(
        """([weights, settings, real, z]) => {
            game.weights = weights;
            Object.assign(game.settings, settings);
            return real.map((points, i) =>
                [game.stepD(points, z[i]), game.stepG(z[i])]); }""",
        [given, settings, real.tolist(), z.tolist()],
    )
    moved = [
        update(D, opt_d, opt_g, x, G(n), 0.0) for x, n in zip(real, z, strict=True)
    ]
    expected = [[d[0].item(), g.item()] for d, g in moved]
    np.testing.assert_allclose(losses, expected, atol=1e-9)
    for name, network in (("G", G), ("D", D)):
        found, expected = weights(page)[name], flat(network).numpy()
        assert np.abs(expected - given[name]).max() > 0.1  # far more than tolerated:
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_same_seed_gives_the_same_game_at_any_speed(page):
    restart(page, 7)
    click(page, "Run")
    page.wait_for_function("() => game.rounds >= 20")
    click(page, "Pause")
    ran, first = int(rounds(page)), weights(page)
    restart(page, 7)
    for _ in range(ran):
        page.evaluate("game.play(1)")
    for name, again in weights(page).items():
        assert (again == first[name]).all()
    restart(page, 8)
    page.evaluate("count => game.play(count)", ran)
    assert not np.allclose(weights(page)["G"], first["G"], atol=0.01)


# --- the controls


def test_each_button_moves_whom_it_names(page):
    moves = {"Step D": {"D"}, "Step G": {"G"}, "One round": {"D", "G"}}
    for name, movers in moves.items():
        before = weights(page)
        click(page, name)
        after = weights(page)
        assert {n for n in after if (after[n] != before[n]).any()} == movers
    page.get_by_text("Round 2: D is right about").wait_for()
    click(page, "Step D")
    page.get_by_text("3 steps of D, 2 of G: D is right about").wait_for()
    click(page, "100 rounds")
    page.get_by_text("103 steps of D, 102 of G").wait_for()
    accuracy, modes = (page.inner_text(f"#{n}-value") for n in ("accuracy", "found"))
    words = f"D is right about {accuracy} of the points, {modes} modes captured."
    assert page.inner_text("#status").endswith(words)


def test_sliders_act_during_a_run(page):
    click(page, "Run")
    stops = {"learning rate of D": "0.00001", "learning rate of G": "0.00001"}
    slide(page, stops | {"momentum": "0.9", "γ": "0.05"})
    found = page.evaluate("game.settings")
    assert found == {"rateD": 1e-5, "rateG": 1e-5, "momentum": 0.9, "gamma": 0.05}
    slide(page, {"momentum": "0"})
    # Now a round moves a weight by 1e-5 or little more; before, by 200 times that.
    start, before = page.evaluate("[game.rounds, game.weights]")
    page.wait_for_function("start => game.rounds >= start + 20", arg=start)
    end, after = page.evaluate("[game.rounds, game.weights]")
    for name in ("G", "D"):
        change = np.abs(np.subtract(after[name], before[name])).max()
        assert 0 < change < 5e-5 * (end - start)
    assert page.get_by_role("button", name="Pause").is_visible()  # it ran all the time


def test_run_repaints_rarely_for_whoever_wants_less_motion(page):
    page.evaluate("""() => { window.paints = 0;
        const draw = CanvasRenderingContext2D.prototype.drawImage;
        CanvasRenderingContext2D.prototype.drawImage = function (...all) {
            paints++; draw.apply(this, all); }; }""")
    for motion in ("reduce", "no-preference"):
        page.emulate_media(reduced_motion=motion)
        click(page, "Run")
        start = page.evaluate("paints = 0, game.rounds")
        page.wait_for_function("start => game.rounds >= start + 30", arg=start)
        assert (page.evaluate("paints") <= 2) == (motion == "reduce")
        click(page, "Pause")


def test_points_drawn_with_the_mouse_are_what_g_learns(page):
    click(page, "Own points")
    assert page.get_by_role("button", name="One round").is_disabled()
    page.get_by_text("Draw points on the picture").wait_for()
    box = page.locator("#picture").bounding_box()
    x, y = box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"]
    page.mouse.move(x - 30, y)
    page.mouse.move(x, y)  # no button is down
    page.mouse.down()
    page.mouse.move(x + 9, y, steps=3)
    page.mouse.up()
    page.mouse.move(x + 30, y)
    own = np.array(page.evaluate("game.own"))
    assert own[0] == pytest.approx([0.8, -0.8], abs=0.01)  # y points up
    assert (own[1:] > own[0] - 0.01).all()
    assert 1 < len(own) < 4
    click(page, "100 rounds")
    click(page, "100 rounds")
    fakes = np.array(page.evaluate("game.fakes"))
    assert np.abs(np.median(fakes, 0) - own.mean(0)).max() < 0.4
    click(page, "Clear")
    assert page.evaluate("game.own") == []
    assert page.get_by_role("button", name="Run").is_disabled()
    click(page, "Two moons")
    assert page.get_by_role("button", name="Run").is_enabled()


# --- what is shown


def test_picture_shows_where_d_says_real_and_where_the_fakes_go(page):
    """D says "real" above and "fake" below; all fakes are at (0.8, 0.8)."""
    page.evaluate("""() => {
        const { G, D } = game.weights;
        G.fill(0).fill(0.8, -2);
        D.fill(0)[1] = 2;  // the first unit gets 2 y
        D[96] = D[96 + 32 * 33] = 1;  // and hands it on
        D[D.length - 1] = -0.5;
        game.weights = { G, D }; }""")
    page.evaluate(REST)

    def colors(x, y):
        """Return the pixels, (64, 3), around a point."""
        script = """(e, [x, y]) => {
            const copy = new OffscreenCanvas(8, 8).getContext("2d");
            copy.drawImage(e, 4 - x * e.width, 4 - y * e.height);
            return [...copy.getImageData(0, 0, 8, 8).data]; }"""
        place = [(1.6 + x) / 3.2, (1.6 - y) / 3.2]
        found = page.eval_on_selector("#picture", script, place)
        return np.array(found).reshape(-1, 4)[:, :3]

    real, fake = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    np.testing.assert_allclose(colors(-0.35, 1.3) - real, 0, atol=8)
    np.testing.assert_allclose(colors(-0.35, -1.3) - fake, 0, atol=8)
    assert (colors(0.8, 0.8) == fake).all(1).any()
    assert (colors(0.8, 0.9)[:, 0] > 100).any()  # the arrow: no red else
    assert not (colors(0.8, 0.7)[:, 0] > 100).any()


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_every_control_can_be_reached_seen_and_touched(open_file, file, size):
    phone = size[0] < 400
    screen = {"width": size[0], "height": size[1]}
    page = open_file(file, viewport=screen, has_touch=phone, is_mobile=phone)
    page.wait_for_function("() => window.game?.settings")
    page.evaluate("""() => { game.own.push([0, 0]);  // so that all buttons are there
        document.querySelector("[value=own]").click(); }""")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert file.stat().st_size < 200_000
    for _ in tab_through(page, "#game"):
        pass
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert unreadable(page) == []


def test_hints_solve_the_tasks_and_only_these(page):
    hints = {"win": (0.01, 0.00002), "collapse": (0.002, 0.02), "cure": (0.002, 0.002)}
    for task, rates in hints.items():
        if task != "cure":
            restart(page, 0)
        for name, rate in zip("DG", rates, strict=True):
            slide(page, {f"learning rate of {name}": f"{rate:.5f}".rstrip("0")})
        slide(page, {"γ": "0.1" if task == "cure" else "0"})
        assert not page.locator(f"#{task}-done").is_visible()
        page.evaluate(
            """task => {
                for (let i = 0; i < 20 && !game.done[task]; i++) game.play(100); }""",
            task,
        )
        page.evaluate(REST)
        assert page.locator(f"#{task}-done").is_visible()
