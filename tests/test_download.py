"""The files of MNIST: found, checked, fetched from a server on this machine, refused.

The real files cannot be made to fit a test, so small ones stand in their place:
checksums, mirrors and contents all belong together, only the bytes are fewer.
"""

import gzip
import hashlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib import data, download
from ganlib.data import MissingDataError, load_images

SIZES = {"train": 20, "t10k": 10}
TRAIN_IMAGES = "train-images-idx3-ubyte"


# --- small files in the place of the real ones


def idx_file(values: np.ndarray) -> bytes:
    """The format of MNIST's files: two zeros, type (8: bytes), rank, sizes, bytes."""
    return (
        bytes([0, 0, 8, values.ndim])
        + b"".join(size.to_bytes(4, "big") for size in values.shape)
        + values.tobytes()
    )


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    pixels = {key: rng.integers(0, 256, (n, 28, 28), "u1") for key, n in SIZES.items()}
    pixels["train"][0, 0, :2] = 0, 255
    return pixels


@pytest.fixture
def unpacked(pixels):
    """A dictionary from file name to bytes."""
    files = {}
    for key, n in SIZES.items():
        files[f"{key}-images-idx3-ubyte"] = idx_file(pixels[key])
        files[f"{key}-labels-idx1-ubyte"] = idx_file(np.arange(n, dtype="u1") % 10)
    return files


@pytest.fixture
def packed(unpacked, monkeypatch):
    """The same, packed; from here on ganlib and torchvision take them for the truth."""
    files = {f"{n}.gz": gzip.compress(content) for n, content in unpacked.items()}
    resources = [(n, hashlib.md5(content).hexdigest()) for n, content in files.items()]
    sha256 = {n: hashlib.sha256(content).hexdigest() for n, content in unpacked.items()}
    for dataset in download.DATASETS.values():
        monkeypatch.setattr(dataset, "resources", resources)
    monkeypatch.setattr(download, "MNIST_SHA256", sha256)
    return files


@pytest.fixture
def mirrors(packed, monkeypatch):
    """A function of base addresses: from here on ganlib fetches from them."""

    def use(*bases):
        for name in download.MIRRORS:
            monkeypatch.setitem(download.MIRRORS, name, list(bases))

    return use


class Mirror(ThreadingHTTPServer):
    """A server on 127.0.0.1; ``asked`` lists the files that were fetched from it."""

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.asked, self.cut_short = files, [], False
        self.base = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.start()

    def do_GET(self):
        content = self.start()
        self.server.asked.append(self.path[1:])
        half = len(content) // 2
        self.wfile.write(content[:half] if self.server.cut_short else content)

    def start(self):
        content = self.server.files.get(self.path[1:])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content or b""

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """A function that starts a mirror which holds the given files."""
    servers = []

    def start(files):
        servers.append(Mirror(files))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirror(serve, packed, mirrors):
    server = serve(dict(packed))
    mirrors(server.base)
    return server


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def stored(folder, unpacked, packed):
    """A folder that holds the unpacked files, as torchvision lays them out."""
    for name, content in unpacked.items():
        (folder / name).write_bytes(content)
    return folder


def load(folder, name="mnist", split="train", **arguments):
    return load_images(name, split, root=folder.parents[1], **arguments)


def fetch(folder, name="mnist", **arguments):
    return load(folder, name, offline=False, **arguments)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def cut_off_the_end(path):
    path.write_bytes(path.read_bytes()[:-100])


# --- files that are there


def test_checksums_are_the_published_ones():
    assert list(download.MNIST_SHA256.values()) == [
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ]


def test_every_mirror_speaks_https():
    bases = [base for bases in download.MIRRORS.values() for base in bases]
    assert all(base.startswith("https://") and base.endswith("/") for base in bases)


def test_stored_files_are_used(stored):
    assert load(stored, offline=True).source == "cache"


def test_pixels_are_scaled_to_the_range_of_tanh(stored, pixels):
    expected = torch.tensor(pixels["train"])[:, None].float() * 2 / 255 - 1
    torch.testing.assert_close(load(stored).images, expected, atol=1e-6, rtol=0)


def test_black_is_minus_one_and_white_is_one_exactly(stored):
    assert load(stored).images[0, 0, 0, :2].tolist() == [-1, 1]


def test_images_are_float32_with_one_channel(stored):
    images = load(stored).images
    assert (images.dtype, images.shape) == (torch.float32, (20, 1, 28, 28))


def test_labels_are_those_of_the_images(stored):
    labels = load(stored).labels
    assert (labels.dtype, labels.tolist()) == (torch.int64, [*range(10)] * 2)


def test_split_test_gives_the_other_images(stored, pixels):
    images = load(stored, split="test").images
    expected = torch.tensor(pixels["t10k"])[:, None].float() * 2 / 255 - 1
    torch.testing.assert_close(images, expected, atol=1e-6, rtol=0)


def test_result_bears_the_name_that_was_asked_for(stored):
    assert load(stored).name == "mnist"


def test_environment_variable_says_where_the_files_lie(stored, monkeypatch):
    monkeypatch.setenv("GANLIB_DATA", str(stored.parents[1]))
    assert load_images("mnist").source == "cache"


def test_argument_comes_before_the_environment_variable(stored, monkeypatch, tmp_path):
    monkeypatch.setenv("GANLIB_DATA", str(tmp_path / "elsewhere"))
    assert load(stored).source == "cache"


def test_cache_folder_is_where_files_lie_by_default(stored, monkeypatch):
    monkeypatch.delenv("GANLIB_DATA")
    monkeypatch.setattr(data.pooch, "os_cache", lambda name: stored.parents[1])
    assert load_images("mnist").source == "cache"


# --- files that are fetched


def test_missing_files_are_fetched(mirror, folder):
    assert fetch(folder).source == "download"


def test_fetched_pixels_are_right(mirror, folder, pixels):
    expected = torch.tensor(pixels["train"])[:, None].float() * 2 / 255 - 1
    torch.testing.assert_close(fetch(folder).images, expected, atol=1e-6, rtol=0)


def test_folders_are_made_where_they_are_missing(mirror, tmp_path):
    found = load_images("mnist", root=tmp_path / "new" / "place", offline=False)
    assert found.source == "download"


def test_second_time_needs_no_network(mirror, folder):
    fetch(folder)
    mirror.asked.clear()
    assert fetch(folder).source == "cache"
    assert mirror.asked == []


def test_nothing_but_the_files_stays_behind(mirror, folder, packed, unpacked):
    fetch(folder)
    assert {path.name for path in folder.iterdir()} == {*packed, *unpacked}


def test_fetching_shows_its_progress(mirror, folder, capsys):
    fetch(folder)
    bars = capsys.readouterr().err
    assert all(f"{name}: 100%" in bars for name in mirror.files)


def test_source_is_never_a_path(mirror, folder):
    assert fetch(folder).source.isalpha()


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off_the_end, Path.unlink])
def test_damaged_file_is_noticed_and_fetched_again(mirror, stored, unpacked, damage):
    damage(stored / TRAIN_IMAGES)
    assert fetch(stored).source == "download"
    assert (stored / TRAIN_IMAGES).read_bytes() == unpacked[TRAIN_IMAGES]


def test_only_the_damaged_file_is_fetched(mirror, stored):
    flip_a_bit(stored / TRAIN_IMAGES)
    fetch(stored)
    assert set(mirror.asked) == {f"{TRAIN_IMAGES}.gz"}


def test_packed_file_that_is_right_is_not_fetched_again(mirror, folder, packed):
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    fetch(folder)
    assert mirror.asked == []


def test_packed_files_that_are_right_need_no_network(mirror, folder, packed):
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    assert load(folder, offline=True).source == "cache"


def test_unchecked_files_of_an_old_torchvision_are_not_read(stored, unpacked):
    processed = stored.parent / "processed"
    processed.mkdir()
    bogus = (torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3))
    for name in ("training.pt", "test.pt"):
        torch.save(bogus, processed / name)
    assert len(load(stored, offline=True).images) > 3


def test_packed_file_that_is_wrong_is_fetched_again(mirror, folder, packed):
    (folder / f"{TRAIN_IMAGES}.gz").write_bytes(b"not what it should be")
    fetch(folder)
    assert (folder / f"{TRAIN_IMAGES}.gz").read_bytes() == packed[f"{TRAIN_IMAGES}.gz"]


def test_second_mirror_helps_where_the_first_has_no_files(
    serve, packed, mirrors, folder
):
    mirrors(serve({}).base, serve(packed).base)
    assert fetch(folder).source == "download"


def test_second_mirror_helps_where_the_first_has_wrong_files(
    serve, packed, mirrors, folder
):
    mirrors(serve(dict.fromkeys(packed, b"<html>")).base, serve(packed).base)
    assert fetch(folder).source == "download"


def test_second_mirror_helps_where_the_first_is_down(serve, packed, mirrors, folder):
    mirrors("http://127.0.0.1:1/", serve(packed).base)
    assert fetch(folder).source == "download"


# --- files that cannot be had


def refusal(folder, **arguments):
    with pytest.raises(MissingDataError) as caught:
        load(folder, **arguments)
    return str(caught.value)


def test_offline_says_what_to_do(packed, folder):
    sentence = refusal(folder, offline=True)
    assert "not on this machine" in sentence
    assert "the network is switched off" in sentence
    assert "load it once with a network, copy the files there" in sentence
    assert 'pass fallback="digits"' in sentence


def test_offline_says_where_it_looked(packed, folder):
    assert str(folder) in refusal(folder, offline=True)


def test_offline_says_which_file_is_damaged(stored):
    flip_a_bit(stored / TRAIN_IMAGES)
    assert f"mnist is {TRAIN_IMAGES} damaged" in refusal(stored, offline=True)


def test_offline_asks_no_mirror(mirror, folder):
    refusal(folder, offline=True)
    assert mirror.asked == []


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("0", False), ("", False)])
def test_environment_variable_switches_the_network_off(
    mirror, folder, monkeypatch, value, offline
):
    monkeypatch.setenv("GANLIB_OFFLINE", value)
    if offline:
        assert "switched off" in refusal(folder)
    else:
        assert load(folder).source == "download"


def test_no_mirror_says_what_to_do(packed, mirrors, folder):
    mirrors("http://127.0.0.1:1/")
    sentence = refusal(folder, offline=False)
    assert "no mirror answered: load it once with a network" in sentence


def test_wrong_checksum_says_what_to_do(packed, serve, mirrors, folder):
    mirrors(serve(dict.fromkeys(packed, b"<html>")).base)
    sentence = refusal(folder, offline=False)
    assert "sent something else, perhaps your network's login page" in sentence
    assert "copy the files there" in sentence


def test_file_that_unpacks_to_something_else_is_refused(mirror, folder, monkeypatch):
    monkeypatch.setitem(download.MNIST_SHA256, TRAIN_IMAGES, "0" * 64)
    assert "did not unpack to what it should be" in refusal(folder, offline=False)


def test_folder_that_cannot_be_written_says_what_to_do(mirror, tmp_path):
    (tmp_path / "MNIST").write_text("a file in the way")
    sentence = refusal(tmp_path / "MNIST" / "raw", offline=False)
    assert "set GANLIB_DATA to a folder that you can read and write" in sentence


def test_every_refusal_is_one_line(packed, mirrors, folder):
    mirrors("http://127.0.0.1:1/")
    assert "\n" not in refusal(folder, offline=False)


def test_wrong_checksum_leaves_nothing_behind(packed, serve, mirrors, folder):
    mirrors(serve(dict.fromkeys(packed, b"<html>")).base)
    refusal(folder, offline=False)
    assert list(folder.iterdir()) == []


def test_broken_connection_leaves_nothing_behind(mirror, folder):
    mirror.cut_short = True
    refusal(folder, offline=False)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError("disk full")])
def test_stop_while_unpacking_leaves_no_unpacked_file(
    mirror, folder, monkeypatch, fault
):
    def stop(stream):
        yield stream.read(100)
        raise fault

    monkeypatch.setattr(download, "_chunks", stop)
    with pytest.raises((KeyboardInterrupt, MissingDataError)):
        fetch(folder)
    assert [path.suffix for path in folder.iterdir()] == [".gz"]


# --- the digits in place of what is missing


def test_fallback_gives_the_digits(packed, folder):
    found = load(folder, offline=True, fallback="digits")
    assert (found.name, found.source, len(found.images)) == ("digits", "embedded", 1437)


def test_fallback_respects_the_split(packed, folder):
    assert len(load(folder, split="test", fallback="digits").images) == 360


def test_fallback_prints_one_line(packed, folder, capsys):
    load(folder, offline=True, fallback="digits")
    assert capsys.readouterr().out == (
        "Using the embedded digits in place of mnist: it is not on this machine and "
        "the network is switched off.\n"
    )


def test_fallback_prints_no_path(packed, serve, mirrors, folder, capsys):
    mirrors(serve({}).base)
    fetch(folder, fallback="digits")
    assert "/" not in capsys.readouterr().out


def test_fallback_is_silent_where_it_is_not_needed(stored, capsys):
    assert load(stored, fallback="digits").name == "mnist"
    assert capsys.readouterr().out == ""


def test_fallback_comes_within_5_seconds_though_no_server_answers(
    packed, mirrors, folder, digits
):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, says nothing
        base = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        mirrors(base, base)
        started = time.monotonic()
        found = fetch(folder, fallback="digits")
    assert time.monotonic() - started < 5
    assert found.source == "embedded"


def test_mirror_that_stalls_after_its_headers_does_not_hold_up_the_fallback(
    packed, mirrors, folder, digits
):
    stop = threading.Event()

    class Stalling(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            stop.wait(20)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirrors(f"http://127.0.0.1:{server.server_port}/")
        started = time.monotonic()
        found = fetch(folder, fallback="digits")
        seconds = time.monotonic() - started
        stop.set()
        server.shutdown()
    assert seconds < 5
    assert found.source == "embedded"


# --- Fashion-MNIST, whose packed files vouch for the unpacked ones


@pytest.fixture
def fashion(mirror, tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    assert fetch(folder, "fashion-mnist").source == "download"
    mirror.asked.clear()
    return folder


def test_fashion_is_found_again(fashion):
    assert load(fashion, "fashion-mnist").source == "cache"


def test_fashion_bears_its_name(fashion):
    assert load(fashion, "fashion-mnist").name == "fashion-mnist"


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off_the_end, Path.unlink])
def test_fashion_file_that_is_damaged_is_unpacked_again(fashion, unpacked, damage):
    damage(fashion / TRAIN_IMAGES)
    assert load(fashion, "fashion-mnist", offline=True).source == "cache"
    assert (fashion / TRAIN_IMAGES).read_bytes() == unpacked[TRAIN_IMAGES]


@pytest.mark.parametrize("damage", [cut_off_the_end, Path.unlink])
def test_fashion_file_without_its_witness_is_fetched_again(mirror, fashion, damage):
    damage(fashion / f"{TRAIN_IMAGES}.gz")
    fetch(fashion, "fashion-mnist")
    assert set(mirror.asked) == {f"{TRAIN_IMAGES}.gz"}
