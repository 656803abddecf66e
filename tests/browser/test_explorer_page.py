"""The explorer as one HTML file: its Python half, and the page in a real browser."""

import base64
import importlib.util
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ganlib.latent import draw, principal_directions, sample_noise, slerp
from ganlib.models import Generator

SITE = Path(__file__).parents[2] / "site"
MODEL = re.compile(r'(<script type="application/json" id="model">)(.*)(</script>)')
SEEDS = range(100)


def load_explorer_page():
    """The builder's module; ``import site`` would be Python's own."""
    file = SITE / "explorer_page.py"
    spec = importlib.util.spec_from_file_location("explorer_page", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


explorer_page = load_explorer_page()
fold, write_explorer = explorer_page.fold, explorer_page.write_explorer


class OwnGenerator(nn.Module):
    """Any layers, called one after the other."""

    def __init__(self, latent_dim, image_shape, *layers):
        super().__init__()
        self.latent_dim, self.image_shape = latent_dim, image_shape
        self.net = nn.Sequential(*layers)

    def forward(self, z):
        return self.net(z).view(-1, *self.image_shape)


@torch.no_grad()
def as_if_trained(G):
    """Give G weights, its BatchNorm statistics, and its images contrast; seeded."""
    random = torch.Generator().manual_seed(5)
    for values in G.parameters():
        if values.ndim == 2:
            values.normal_(0, 1 / math.sqrt(values.shape[1]), generator=random)

    def around(values, center, spread):
        values.copy_(center + spread * torch.randn(values.shape, generator=random))

    for layer in G.modules():
        if isinstance(layer, nn.BatchNorm1d):
            around(layer.weight, 1.0, 0.3)
            around(layer.bias, 0.1, 0.3)
        elif isinstance(layer, nn.Linear):
            around(layer.bias, 0.2, 0.3)
    for _ in range(60):
        G.train()(torch.randn(64, G.latent_dim, generator=random))
    last = [layer for layer in G.modules() if isinstance(layer, nn.Linear)][-1]
    found = []
    handle = last.register_forward_hook(lambda *call: found.append(call[2]))
    draw(G, torch.randn(500, G.latent_dim, generator=random))
    handle.remove()
    last.weight.mul_(2 / found[0].std())
    return G.eval()


def make_classic():
    return as_if_trained(Generator())


def make_color():
    """Other sizes, slopes and layers: 5 numbers → color images of 8 × 8 pixels."""
    layers = (
        nn.Linear(5, 7),
        nn.BatchNorm1d(7, eps=0.1),
        nn.LeakyReLU(0.1),
        nn.Linear(7, 33),
        nn.LeakyReLU(0.3),
        nn.Linear(33, 192),
        nn.BatchNorm1d(192),
        nn.Tanh(),
    )
    return as_if_trained(OwnGenerator(5, (3, 8, 8), *layers))


@pytest.fixture(scope="module")
def G():
    return make_classic()


@pytest.fixture(scope="module")
def file(G, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    return write_explorer(G, folder / "explorer.html", data_name="<b>&</script>")


@pytest.fixture(scope="module")
def directions(G):
    return principal_directions(G)


# ------------------------------------------------------------------- the Python half


def run_folded(layers, slopes, z):
    x = z.double()
    for (weight, bias), slope in zip(layers[:-1], slopes, strict=True):
        x = nn.functional.leaky_relu(x @ weight.T + bias, slope)
    weight, bias = layers[-1]
    return torch.tanh(x @ weight.T + bias)


@pytest.mark.parametrize(
    ("make", "slopes"), [(make_classic, [0.2] * 4), (make_color, [0.1, 0.3])]
)
def test_folded_layers_draw_what_g_draws(make, slopes):
    G = make()
    z = sample_noise(100, G.latent_dim, seed=0)
    expected = draw(G.double(), z).flatten(1)
    assert expected.std() > 0.5  # black, white and all between
    folded = run_folded(fold(G), slopes, z)
    torch.testing.assert_close(folded, expected, atol=1e-12, rtol=0)


def test_folded_layers_are_double_and_free_of_g(G):
    layers = fold(G)
    assert [tuple(w.shape) for w, _ in layers] == [
        (128, 100),
        (256, 128),
        (512, 256),
        (1024, 512),
        (784, 1024),
    ]
    assert all(v.dtype == torch.float64 for pair in layers for v in pair)
    assert not any(v.requires_grad for pair in layers for v in pair)


def test_fold_takes_batchnorm_without_gain_and_linear_without_bias():
    layers = nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, affine=False), nn.Tanh()
    G = OwnGenerator(3, (1, 2, 2), *layers)
    G(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    z = sample_noise(9, 3, seed=0)
    expected = draw(G, z).flatten(1).double()
    torch.testing.assert_close(run_folded(fold(G), [], z), expected)


def test_file_is_whole_small_and_alone(file, tmp_path):
    assert file.name == "explorer.html"
    assert file.stat().st_size < 5_000_000
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
    assert "null</script>" not in file.read_text(encoding="utf-8")


def test_a_folder_is_made_and_an_old_file_replaced(tiny_networks, tmp_path):
    G, _ = tiny_networks()
    path = tmp_path / "new" / "explorer.html"
    for name in ("first", "second"):
        assert write_explorer(G, str(path), data_name=name) == path
    text = path.read_text(encoding="utf-8")
    assert '"second"' in text
    assert '"first"' not in text


def test_an_interrupted_write_leaves_the_old_file(tiny_networks, tmp_path, monkeypatch):
    path = tmp_path / "explorer.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("ganlib.storage.os.replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_explorer(tiny_networks()[0], path, data_name="digits")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("training", [True, False])
def test_g_keeps_its_mode_and_its_statistics(tiny_networks, tmp_path, training):
    G, _ = tiny_networks()
    G.train(training)
    write_explorer(G, tmp_path / "explorer.html", data_name="digits")
    assert G.training == training
    assert G.net[1].num_batches_tracked == 0


def test_page_has_no_word_of_another_server():
    text = (SITE / "explorer.html").read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\s'\"]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert text.count('id="model">null</script>') == 1


def stack(*layers):
    return OwnGenerator(3, (1, 2, 2), *layers)


def skipping():
    class Skipping(OwnGenerator):
        def forward(self, z):
            return super().forward(z + 1)

    return Skipping(3, (1, 2, 2), nn.Linear(3, 4), nn.Tanh())


LIKE_THIS = "expected Linear, BatchNorm1d and LeakyReLU in turn"


@pytest.mark.parametrize(
    ("G", "words"),
    [
        (stack(nn.Linear(3, 4), nn.Sigmoid()), f"a layer Sigmoid, {LIKE_THIS}"),
        (stack(nn.Conv2d(3, 4, 1), nn.Tanh()), f"a layer Conv2d, {LIKE_THIS}"),
        (stack(nn.Linear(3, 4)), f"G has Linear in a row, {LIKE_THIS}"),
        (stack(nn.Linear(3, 4), nn.LeakyReLU()), f"Linear and LeakyReLU.*{LIKE_THIS}"),
        (stack(nn.Tanh(), nn.Linear(3, 4)), f"Tanh and Linear in a row, {LIKE_THIS}"),
        (stack(nn.Linear(3, 4), nn.Linear(4, 4), nn.Tanh()), "Linear and Linear in"),
        (
            stack(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.Tanh()),
            "Linear and BatchNorm1d and BatchNorm1d in a row",
        ),
        (
            stack(
                nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Tanh()
            ),
            "BatchNorm1d without statistics, expected track_running_stats=True",
        ),
        (stack(nn.Linear(3, 5), nn.Tanh()), "not what its layers give one after"),
        (skipping(), "not what its layers give one after the other"),
        (nn.Linear(3, 4), "G came as Linear, expected a generator"),
        ("G", "G came as str, expected a generator"),
    ],
)
def test_what_the_page_cannot_draw_is_refused(G, words, tmp_path):
    with pytest.raises(TypeError, match=words) as caught:
        write_explorer(G, tmp_path / "explorer.html", data_name="MNIST")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "NaN or infinite weights, expected numbers"),
        (-math.inf, "NaN or infinite weights, expected numbers"),
        (-70_000.0, r"a weight of 7e\+04.* expected at most 65,504"),
    ],
)
@pytest.mark.parametrize("name", ["net.0.weight", "net.3.bias"])
def test_weights_beyond_half_precision_are_refused(value, words, name, tmp_path):
    first = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LeakyReLU()
    G = stack(*first, nn.Linear(4, 4), nn.Tanh())
    with torch.no_grad():
        dict(G.named_parameters())[name].view(-1)[0] = value
    with pytest.raises(ValueError, match=words):
        write_explorer(G, tmp_path / "explorer.html", data_name="MNIST")


def test_dead_unit_whose_gain_explodes_is_refused(tmp_path):
    G = stack(nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-12), nn.Tanh())
    G.net[1].running_var.zero_()
    with pytest.raises(ValueError, match=r"BatchNorm folded in.*at most 65,504"):
        write_explorer(G, tmp_path / "explorer.html", data_name="MNIST")


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_are_refused(channels, tmp_path):
    layers = nn.Linear(3, 4 * channels), nn.Tanh()
    G = OwnGenerator(3, (channels, 2, 2), *layers)
    with pytest.raises(ValueError, match=f"{channels} channels, expected 1 .* or 3"):
        write_explorer(G, tmp_path / "explorer.html", data_name="MNIST")


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_data_without_a_name_is_refused(name, tiny_networks, tmp_path):
    with pytest.raises(TypeError, match="expected the name of the training data"):
        write_explorer(tiny_networks()[0], tmp_path / "a.html", data_name=name)


def test_another_ending_is_refused(tiny_networks, tmp_path):
    with pytest.raises(ValueError, match=r"expected a name that ends in \.html"):
        write_explorer(tiny_networks()[0], tmp_path / "a.txt", data_name="MNIST")


def test_layers_that_were_not_folded_are_not_written(G, tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_page, "fold", unfolded)
    with pytest.raises(TypeError, match="not what its layers give"):
        write_explorer(G, tmp_path / "explorer.html", data_name="MNIST")


# ------------------------------------------------------------------------ the page


@pytest.fixture
def open_page(chromium):
    """A function that opens a file; no page may fail, complain or ask for anything."""
    contexts, wrongs = [], []

    def open_file(file, hash="", *, offline=False, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        own = file.as_uri()
        context.route(
            lambda url: not url.startswith((own, "data:", "blob:")),
            lambda route: route.abort(),
        )
        context.set_offline(offline)
        context.on("request", lambda request: note_request(request.url, own))
        page = context.new_page()
        page.on("pageerror", lambda error: wrongs.append(f"error: {error}"))
        page.on("console", lambda message: wrongs.append(f"console: {message.text}"))
        page.goto(own + hash)
        return page

    def note_request(url, own):
        if url.partition("#")[0] != own and not url.startswith(("data:", "blob:")):
            wrongs.append(f"request: {url}")

    yield open_file
    for context in contexts:
        context.close()
    assert wrongs == []


@pytest.fixture
def page(open_page, file):
    page = open_page(file)
    rest(page)
    return page


REST = """async frames => {
    await new Promise(go => setTimeout(go, 310));
    for (let i = 0; i < frames; i++) await new Promise(requestAnimationFrame); }"""


def rest(page, frames=2):
    """Wait, by the page's own clock, until it has said what it shows."""
    page.evaluate(REST, frames)


def floats(page, script, argument=None):
    return torch.tensor(page.evaluate(script, argument), dtype=torch.float32)


def z_of(page):
    return floats(page, "() => Array.from(explorer.z())")


DRAW_SEEDS = """seeds => seeds.map(
    seed => Array.from(explorer.draw(explorer.noise(seed))))"""


def images_of(page, seeds):
    return floats(page, DRAW_SEEDS, list(seeds))


def drawn_by(G, seeds):
    z = torch.cat([sample_noise(1, G.latent_dim, seed=seed) for seed in seeds])
    return draw(G, z).flatten(1)


def furthest(page, G, seeds):
    return (images_of(page, seeds) - drawn_by(G, seeds)).abs().max().item()


def status(page):
    return page.locator("#status").inner_text().replace("\xa0", " ")


def canvas_pixels(page, selector="#picture"):
    """The canvas as (H, W, 3) from 0 to 255."""
    script = """canvas => { const { width, height } = canvas;
        const copy = new OffscreenCanvas(width, height).getContext("2d");
        copy.drawImage(canvas, 0, 0);
        return [height, width, Array.from(copy.getImageData(0, 0, width, height).data)];
    }"""
    height, width, data = page.eval_on_selector(selector, script)
    return np.array(data).reshape(height, width, 4)[..., :3]


def in_bytes(image):
    """An image (C, H, W) in [-1, 1] as the page should show it, (H, W, 3)."""
    pixels = (image.expand(3, *image.shape[1:]).permute(1, 2, 0) + 1) / 2 * 255
    return pixels.numpy()


def assert_shows(page, G):
    expected = in_bytes(draw(G, z_of(page)[None])[0])
    np.testing.assert_allclose(canvas_pixels(page), expected, atol=0.01 * 128 + 0.5)


def tampered(file, target, change):
    """A copy of the page with another model in it."""
    text = file.read_text(encoding="utf-8")
    model = json.loads(MODEL.search(text)[2])
    change(model)
    parts = (f"{m}" for m in (json.dumps(model).replace("<", "\\u003c"),))
    filled = next(parts)
    target.write_text(MODEL.sub(lambda m: m[1] + filled + m[3], text), encoding="utf-8")
    return target


def unfolded(G):
    linear = [layer for layer in G.modules() if isinstance(layer, nn.Linear)]
    return [(m.weight.detach().double(), m.bias.detach().double()) for m in linear]


def test_pictures_of_100_seeds_are_those_of_torch(page, G):
    expected = drawn_by(G, SEEDS)
    assert expected.std() > 0.5
    assert furthest(page, G, SEEDS) < 0.01


def test_comparison_notices_batchnorm_that_was_not_folded(open_page, file, G, tmp_path):
    def change(model):
        half = explorer_page._half
        for layer, (weight, bias) in zip(model["layers"], unfolded(G), strict=True):
            layer.update(weight=half(weight), bias=half(bias))

    page = open_page(tampered(file, tmp_path / "a.html", change))
    assert furthest(page, G, SEEDS) > 0.5


def test_comparison_notices_one_bias_with_the_wrong_sign(open_page, file, G, tmp_path):
    def change(model):
        bias = fold(G)[-1][1]
        bias[bias.abs().argmax()] *= -1
        model["layers"][-1]["bias"] = explorer_page._half(bias)

    page = open_page(tampered(file, tmp_path / "a.html", change))
    assert furthest(page, G, SEEDS) > 0.1


def test_every_number_in_half_precision_is_decoded(open_page, file):
    halves = np.arange(2**16, dtype="<u2").view("<f2")
    halves = halves[np.isfinite(halves)]
    content = base64.b64encode(halves.tobytes()).decode()
    script = "content => Array.from(explorer.decode(content))"
    found = floats(open_page(file), script, content)
    torch.testing.assert_close(found, torch.from_numpy(halves).float(), rtol=0, atol=0)


def test_color_images_of_another_size_are_drawn_as_well(open_page, tmp_path):
    G = make_color()
    file = write_explorer(G, tmp_path / "color.html", data_name="my pictures")
    page = open_page(file, "#seed=4&walk=0.5&d2=1")
    rest(page)
    assert furthest(page, G, SEEDS) < 0.01
    assert canvas_pixels(page).shape == (8, 8, 3)
    assert_shows(page, G)
    assert page.get_by_role("slider").count() == 2 + 5  # directions: latent_dim


def test_network_with_few_directions_has_few_sliders(
    open_page, tiny_networks, tmp_path
):
    G, _ = tiny_networks()
    page = open_page(write_explorer(G, tmp_path / "a.html", data_name="digits"))
    rest(page)
    assert page.get_by_role("slider").count() == 2 + 3
    assert furthest(page, G, SEEDS) < 0.01


@pytest.mark.parametrize(
    "latent_dim", [1, 2, 5, 15, 16, 17, 24, 31, 32, 64, 100, 128, 513]
)
def test_noise_is_what_torch_draws(open_page, file, latent_dim):
    script = """([latent_dim, seeds]) => seeds.map(
        seed => Array.from(explorer.noise(seed, latent_dim)))"""
    seeds = [*SEEDS, 999_999]
    found = floats(open_page(file), script, [latent_dim, seeds])
    expected = torch.cat([sample_noise(1, latent_dim, seed=seed) for seed in seeds])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 1.0])
def test_points_of_the_arc_are_those_of_slerp(open_page, file, t):
    script = """([seeds, t]) => seeds.map(seed => Array.from(explorer.slerp(
        explorer.noise(seed), explorer.noise(seed + 1), t)))"""
    found = floats(open_page(file), script, [list(SEEDS), t])
    for seed, point in zip(SEEDS, found, strict=True):
        ends = (sample_noise(1, 100, seed=s)[0] for s in (seed, seed + 1))
        expected = slerp(*ends, torch.tensor([t]))[0]
        torch.testing.assert_close(point, expected, atol=1e-5, rtol=0)


def test_slerp_goes_straight_where_there_is_no_arc(page):
    same = "() => Array.from(explorer.slerp([1, 2, 2], [2, 4, 4], 0.5))"
    torch.testing.assert_close(floats(page, same), torch.tensor([1.5, 3, 3]))
    opposite = "() => Array.from(explorer.slerp([1, 0], [-1, 0], 0.25))"
    torch.testing.assert_close(floats(page, opposite), torch.tensor([0.5, 0]))


def test_page_begins_with_the_picture_of_seed_0(page, G):
    expected = sample_noise(1, 100, seed=0)[0]
    torch.testing.assert_close(z_of(page), expected, atol=1e-5, rtol=0)
    assert_shows(page, G)


def move(page, slider, value):
    slider.evaluate(
        """(input, value) => { input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true })); }""",
        str(value),
    )
    rest(page)


@pytest.mark.parametrize("number", range(1, 9))
def test_direction_slider_adds_its_direction(page, G, directions, number):
    axes, shares = directions
    name = f"direction {number} · {shares[number - 1]:.1%}".replace("%", " %")
    before, pixels = z_of(page), canvas_pixels(page)
    move(page, page.get_by_role("slider", name=name, exact=True), -2.5)
    expected = before - 2.5 * axes[number - 1]
    torch.testing.assert_close(z_of(page), expected, atol=1e-5, rtol=0)
    assert not np.array_equal(canvas_pixels(page), pixels)
    assert_shows(page, G)


def test_walk_and_noise_scale_and_directions_work_together(page, G, directions):
    page.get_by_label("seed", exact=True).fill("7")
    move(page, page.get_by_label("walk", exact=True), 0.3)
    move(page, page.get_by_label("noise scale"), 0.5)
    move(page, page.get_by_label("direction 3"), 4)
    ends = (sample_noise(1, 100, seed=seed)[0] for seed in (7, 8))
    expected = 0.5 * slerp(*ends, torch.tensor([0.3]))[0] + 4 * directions[0][2]
    torch.testing.assert_close(z_of(page), expected, atol=1e-5, rtol=0)
    assert_shows(page, G)
    assert status(page) == (
        "Seed 7, 30 % of the way to seed 8, noise × 0.50, direction 3 at +4.0."
    )
    move(page, page.get_by_label("direction 4"), -1)
    assert status(page).endswith("to seed 8, noise × 0.50, 2 directions moved.")


def test_small_pictures_are_those_of_the_next_seeds(page, G):
    page.get_by_label("seed", exact=True).fill("20")
    move(page, page.get_by_label("direction 1"), 2)
    extra = z_of(page) - sample_noise(1, 100, seed=20)[0]
    move(page, page.get_by_label("walk", exact=True), 0.5)
    rest(page, frames=8)
    for i in range(6):
        button = page.get_by_role("button", name=f"Walk to seed {21 + i}", exact=True)
        assert button.inner_text().strip() == str(21 + i)
        expected = in_bytes(draw(G, sample_noise(1, 100, seed=21 + i) + extra)[0])
        shown = canvas_pixels(page, f"#next button:nth-child({i + 1}) canvas")
        np.testing.assert_allclose(shown, expected, atol=1.8)


def test_small_picture_leads_to_its_seed_along_the_arc(page):
    page.evaluate("""() => { window.seen = []; const look = () => { seen.push(
        document.getElementById("walk-value").textContent);
        requestAnimationFrame(look); }; look(); }""")
    page.get_by_role("button", name="Walk to seed 2").click()
    page.get_by_role("button", name="Walk to seed 3").wait_for()
    page.wait_for_function(
        "() => document.getElementById('play-word').innerText === 'Play'"
    )
    rest(page)
    seen = page.evaluate("seen")
    assert len({words for words in seen if words.endswith("seed 1")}) > 2
    assert len({words for words in seen if words.endswith("seed 2")}) > 2
    assert page.get_by_label("seed", exact=True).input_value() == "2"
    expected = sample_noise(1, 100, seed=2)[0]
    torch.testing.assert_close(z_of(page), expected, atol=1e-5, rtol=0)


def test_play_changes_the_picture_and_pause_stops_it(page, G):
    before = canvas_pixels(page)
    page.get_by_role("button", name="Play").click()
    assert status(page) == "Walking on from seed 0."
    page.wait_for_function("() => explorer.z()[0] !== explorer.noise(0)[0]")
    move(page, page.get_by_label("direction 1"), 1)  # while it plays on
    assert not np.array_equal(canvas_pixels(page), before)
    assert status(page) == "Walking on from seed 0."
    page.get_by_role("button", name="Pause").click()
    rest(page)
    paused, z = canvas_pixels(page), z_of(page)
    assert_shows(page, G)
    page.wait_for_timeout(300)
    assert np.array_equal(canvas_pixels(page), paused)
    assert torch.equal(z_of(page), z)
    assert "of the way to seed" in status(page)


def test_play_goes_on_to_the_next_seed(open_page, file):
    page = open_page(file, "#seed=5&walk=0.95")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.getElementById('seed').value === '6'")
    page.get_by_role("button", name="Walk to seed 7", exact=True).wait_for()


def test_play_stops_when_the_page_is_hidden(page):
    page.get_by_role("button", name="Play").click()
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", { value: true });
        document.dispatchEvent(new Event("visibilitychange")); }""")
    assert page.get_by_role("button", name="Play").is_visible()


def test_whoever_wants_less_motion_gets_slow_steps_and_no_walks(open_page, file):
    page = open_page(file, reduced_motion="reduce")
    page.evaluate("""() => { window.seen = new Set(); const look = () => { seen.add(
        document.getElementById("walk").value);
        requestAnimationFrame(look); }; look(); }""")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.getElementById('walk').value === '0.25'")
    rest(page)
    seen = set(page.evaluate("[...seen]"))
    assert {"0", "0.25"} <= seen <= {"0", "0.25", "0.5", "0.75"}
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Walk to seed 4").click()
    assert page.get_by_label("seed", exact=True).input_value() == "4"
    assert page.get_by_role("button", name="Play").is_visible()


def test_seed_buttons_step_and_draw_lots(page):
    field = page.get_by_label("seed", exact=True)
    less, more = (page.get_by_label(f"Seed {w} this one") for w in ("before", "after"))
    assert less.is_disabled()
    more.click()
    more.click()
    less.click()
    assert field.input_value() == "1"
    seen = set()
    for _ in range(5):
        page.get_by_role("button", name="Random").click()
        seen.add(field.input_value())
    assert len(seen) > 1


@pytest.mark.parametrize("typed", ["", "1.5", "-3", "1000000"])
def test_what_is_no_seed_is_put_back(page, typed):
    field = page.get_by_label("seed", exact=True)
    field.fill("12")
    field.fill(typed)
    field.blur()
    assert field.input_value() == "12"


def test_reset_brings_the_sliders_back_and_keeps_the_seed(open_page, file):
    page = open_page(file, "#seed=9&walk=0.5&noise=2&d1=1&d8=-4")
    page.get_by_role("button", name="Reset sliders").click()
    rest(page)
    expected = sample_noise(1, 100, seed=9)[0]
    torch.testing.assert_close(z_of(page), expected, atol=1e-5, rtol=0)
    assert page.url.endswith("#seed=9")


def test_address_brings_the_picture_back(page, open_page, file):
    page.get_by_label("seed", exact=True).fill("31")
    move(page, page.get_by_label("walk", exact=True), 0.77)
    move(page, page.get_by_label("noise scale"), 1.35)
    move(page, page.get_by_label("direction 2"), -3.3)
    _, hash = page.url.split("#")
    assert hash == "seed=31&walk=0.77&noise=1.35&d2=-3.3"
    again = open_page(file, f"#{hash}")
    rest(again)
    torch.testing.assert_close(z_of(again), z_of(page), atol=1e-6, rtol=0)
    np.testing.assert_array_equal(canvas_pixels(again), canvas_pixels(page))


@pytest.mark.parametrize(
    ("hash", "state"),
    [
        ("#", (0, 0, 1, 0)),
        ("#seed=x&walk=&noise=NaN&d1=Infinity", (0, 0, 1, 0)),
        ("#seed=1e3&walk=0x1&noise=--1&d1=1,5", (0, 0, 1, 0)),
        ("#seed=-5&walk=7&noise=99&d1=-99", (0, 1, 2, -4)),
        ("#seed=99999999999999&walk=-1&noise=-1&d1=99", (999_999, 0, 0, 4)),
        ("#seed=3.7&walk=0.123456&noise=1.07&d1=0.44", (4, 0.12, 1.05, 0.4)),
        ("#<script>alert(1)</script>&seed=3&d9=1&x=%E0%A4%A", (3, 0, 1, 0)),
        ("#&&==&seed=2&seed=8", (2, 0, 1, 0)),
    ],
)
def test_rubbish_in_the_address_is_ignored_or_cut(open_page, file, hash, state):
    page = open_page(file, hash)
    rest(page)
    names = ("seed", "walk", "noise", "direction-1")
    values = [float(page.locator(f"#{name}").input_value()) for name in names]
    assert values == pytest.approx(state)
    assert z_of(page).isfinite().all()


def test_another_address_in_the_same_page_is_followed(page):
    page.evaluate("location.hash = '#seed=77'")
    rest(page)
    expected = sample_noise(1, 100, seed=77)[0]
    torch.testing.assert_close(z_of(page), expected, atol=1e-5, rtol=0)


def run_line(line):
    names = {"torch": torch}
    exec(line, names)
    return names["z"]


@pytest.mark.parametrize("hash", ["#seed=7&walk=0.4&d1=1.5", "#seed=7&noise=0"])
def test_copied_line_gives_the_same_picture_in_a_notebook(open_page, file, G, hash):
    allowed = ["clipboard-read", "clipboard-write"]
    page = open_page(file, hash, permissions=allowed)
    page.get_by_role("button", name="Copy z").click()
    page.get_by_text("Copied.").wait_for()
    z = run_line(page.evaluate("navigator.clipboard.readText()"))
    assert z.shape == (1, 100)
    assert torch.equal(z[0], z_of(page))  # to the last bit
    assert draw(G, z).shape == (1, 1, 28, 28)
    assert not page.get_by_label("z, as a line of Python").is_visible()


def test_line_is_shown_where_copying_is_not_allowed(page):
    page.evaluate("""() => { navigator.clipboard.writeText = () =>
        Promise.reject(new DOMException("no", "NotAllowedError")); }""")
    page.get_by_role("button", name="Copy z").click()
    field = page.get_by_label("z, as a line of Python")
    field.wait_for()
    assert torch.equal(run_line(field.input_value())[0], z_of(page))
    selected = "field => field.selectionEnd - field.selectionStart"
    assert field.evaluate(selected) == len(field.input_value())
    assert field.evaluate("field => field === document.activeElement")


def test_line_is_shown_where_there_is_no_clipboard_at_all(page):
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy z").click()
    page.get_by_label("z, as a line of Python").wait_for()


def test_saved_picture_is_the_picture_ten_times_as_large(open_page, file, G):
    page = open_page(file, "#seed=42&walk=0.25")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save picture").click()
    assert waiting.value.suggested_filename == "seed-42-walk-0.25.png"
    content = Path(waiting.value.path()).read_bytes()
    assert content.startswith(b"\x89PNG")
    saved = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    shown = canvas_pixels(page)
    np.testing.assert_array_equal(saved, shown.repeat(10, 0).repeat(10, 1))
    assert_shows(page, G)


# ------------------------------------------------------------ for everybody, everywhere


def test_tab_reaches_every_control_and_arrows_move_the_sliders(page, G):
    wanted = page.eval_on_selector_all(
        "#explorer button, #explorer input, a",
        "all => all.filter(e => !e.disabled).length",
    )
    reached, seen_focus = [], []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML"))
        outline = "getComputedStyle(document.activeElement).outlineWidth"
        seen_focus.append(page.evaluate(outline))
        if page.evaluate("document.activeElement.type") == "range":
            before = z_of(page)
            page.keyboard.press("ArrowRight")
            assert not torch.equal(z_of(page), before)
            page.keyboard.press("ArrowLeft")
            torch.testing.assert_close(z_of(page), before, atol=1e-6, rtol=0)
    controls = [re.sub(r' (style|aria-\w+)="[^"]*"', "", html) for html in reached]
    assert len(set(controls)) == wanted == 1 + 3 + 2 + 6 + 9 + 1 + 2
    assert set(seen_focus) == {"3px"}


def test_buttons_work_from_the_keyboard(page):
    page.get_by_role("button", name="Play").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Play").wait_for()
    page.get_by_label("seed", exact=True).focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Backspace")
    assert page.get_by_label("seed", exact=True).input_value() == ""
    page.keyboard.type("15")
    rest(page)
    expected = sample_noise(1, 100, seed=15)[0]
    torch.testing.assert_close(z_of(page), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("width", [390, 1280])
def test_keyboard_focus_never_hides_behind_the_picture(open_page, file, width):
    page = open_page(file, viewport={"width": width, "height": 700})
    rest(page)
    visible = """() => { const box = document.activeElement.getBoundingClientRect();
        const top = document.elementFromPoint(box.x + box.width / 2, box.y + 2);
        return document.activeElement.contains(top); }"""
    for key in ["Tab"] * 23 + ["Shift+Tab"] * 22:
        page.keyboard.press(key)
        assert page.evaluate(visible), page.evaluate("document.activeElement.outerHTML")


def test_every_control_has_a_name_and_every_slider_says_its_value(page):
    for role in ("button", "slider", "spinbutton", "link"):
        count = page.get_by_role(role).count()
        assert count > 0
        assert page.get_by_role(role, name=re.compile(r"\w")).count() == count
    values = page.eval_on_selector_all(
        "input[type=range]", "all => all.map(e => e.getAttribute('aria-valuetext'))"
    )
    assert values[:3] == ["0\xa0% of the way to seed 1", "×\xa01.00", "0.0"]


def test_picture_says_what_it_shows(page):
    assert page.get_by_role("img", name="Seed 0.").count() == 1
    page.get_by_label("seed", exact=True).fill("8")
    rest(page)
    assert page.get_by_role("img", name="Seed 8.").count() == 1
    assert status(page) == "Seed 8."


def test_status_says_only_the_last_of_many_changes(page):
    page.evaluate("""() => { window.said = []; new MutationObserver(() => said.push(
        document.getElementById("status").textContent)).observe(
        document.getElementById("status"), { childList: true }); }""")
    page.evaluate("""async () => { for (let i = 0; i < 5; i++) {
        document.getElementById("more").click();
        await new Promise(requestAnimationFrame); } }""")
    rest(page)
    assert page.evaluate("said") == ["Seed\xa05."]


def test_name_of_the_data_is_text_and_no_markup(page):
    assert "a GAN trained on <b>&</script>." in page.inner_text(".lead")
    assert "which is 100 numbers" in page.inner_text(".about")


def test_page_works_offline_and_asks_for_nothing(open_page, file, G):
    page = open_page(file, offline=True)
    rest(page)
    page.get_by_role("button", name="Random").click()
    rest(page)
    assert_shows(page, G)


REFUSED = """async () => {
    const refused = [], server = "http://127.0.0.1:9/";
    document.addEventListener("securitypolicyviolation",
        (event) => refused.push(event.effectiveDirective));
    const frame = document.createElement("iframe");
    frame.src = server;
    document.body.append(frame);
    new Image().src = server;
    await fetch(server).catch(() => {});
    await new Promise(go => setTimeout(go, 300));
    return refused.sort(); }"""


def test_page_may_not_connect_to_anything(file, chromium):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(file.as_uri())
    refused = page.evaluate(REFUSED)
    context.close()
    assert refused == ["connect-src", "frame-src", "img-src"]


def test_only_link_leads_to_the_course_beside_the_page(page):
    links = page.eval_on_selector_all(
        "a", "all => all.map(e => [e.getAttribute('href'), e.innerText])"
    )
    assert links == [["index.html", "the course"]]


TEXTS = """() => [...document.querySelectorAll("body *")]
    .filter(e => e.checkVisibility() && !e.disabled && [...e.childNodes].some(
        n => n.nodeType === 3 && n.data.trim()))
    .map(e => { let box = e; const clear = "rgba(0, 0, 0, 0)";
        while (getComputedStyle(box).backgroundColor === clear) box = box.parentElement;
        return [e.outerHTML.slice(0, 80), getComputedStyle(e).color,
            getComputedStyle(box).backgroundColor]; })"""


def luminance(color):
    """Relative luminance as in WCAG 2.2, from "rgb(r, g, b)"."""
    shares = [int(c) / 255 for c in re.findall(r"\d+", color)[:3]]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)


@pytest.mark.parametrize(
    ("scheme", "background", "accent"),
    [
        ("light", "rgb(255, 255, 255)", "rgb(0, 114, 178)"),
        ("dark", "rgb(17, 20, 24)", "rgb(86, 180, 233)"),
    ],
)
def test_text_is_readable_in_light_and_dark(
    open_page, file, scheme, background, accent
):
    page = open_page(file, color_scheme=scheme)
    rest(page)
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert page.evaluate(style.format("body", "backgroundColor")) == background
    assert page.evaluate(style.format("a", "color")) == accent
    texts = page.evaluate(TEXTS)
    assert len(texts) > 40
    for text, color, behind in texts:
        assert contrast(color, behind) >= 4.5, text
    edge = page.evaluate(style.format("#random", "borderTopColor"))
    assert contrast(edge, background) >= 3  # controls, WCAG 1.4.11
    assert contrast(accent, background) >= 3


@pytest.mark.parametrize(("width", "height"), [(320, 568), (360, 640), (390, 844)])
def test_phone_needs_no_scrolling_to_the_side(open_page, file, width, height):
    size = {"width": width, "height": height}
    page = open_page(file, viewport=size, has_touch=True, is_mobile=True)
    rest(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("direction 8").scroll_into_view_if_needed()
    page.mouse.wheel(0, 200)
    picture = page.locator("#picture").bounding_box()
    assert picture["y"] >= 0
    assert picture["y"] + picture["height"] < 0.6 * height


def test_touch_targets_are_large_enough(open_page, file):
    page = open_page(file, viewport={"width": 360, "height": 640})
    rest(page)
    for control in page.locator("#explorer button, #explorer input, a").all():
        box = control.bounding_box()
        assert box["height"] >= 44
        assert box["width"] >= 44
        cut = control.evaluate("e => e.scrollWidth > e.clientWidth + 1")
        assert not cut, control.evaluate("e => e.outerHTML")


def test_wide_screen_has_two_columns_and_a_phone_one(open_page, file):
    for width, columns in ((1280, 2), (390, 1)):
        page = open_page(file, viewport={"width": width, "height": 800})
        rest(page)
        picture, seed = (
            page.locator(f"#{n}").bounding_box() for n in ("picture", "seed")
        )
        beside = seed["x"] > picture["x"] + picture["width"]
        assert beside == (columns == 2)


def test_pixels_of_the_picture_are_all_as_wide(page):
    width = page.locator("#picture").bounding_box()["width"]
    assert width > 200
    assert width % 28 == 0
    style = "getComputedStyle(document.getElementById('picture')).imageRendering"
    assert page.evaluate(style) == "pixelated"


def test_template_alone_says_how_to_fill_it(open_page):
    page = open_page(SITE / "explorer.html")
    assert "make site" in page.locator("#empty").inner_text()
    assert not page.locator("#explorer").is_visible()


def test_page_without_javascript_says_so(open_page, file):
    page = open_page(file, java_script_enabled=False)
    assert "JavaScript" in page.locator("noscript").inner_text()
