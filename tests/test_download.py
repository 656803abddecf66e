"""The files of MNIST: found, checked, fetched from a server on this machine, refused.

The real files cannot be made to fit a test, so small ones stand in their place:
checksums, mirrors and contents all belong together, only the bytes are fewer.
"""

import contextlib
import gzip
import hashlib
import os
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib import data, download
from ganlib import mirrors as servers
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
    """A server on 127.0.0.1; ``asked`` lists the files that were fetched from it.

    ``behave`` is how it answers: a function of the request and the right content.
    """

    daemon_threads = True

    def __init__(self, files, behave):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.asked, self.behave = files, [], behave
        self.closing = threading.Event()
        self.base = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path[1:])
        content = self.server.files.get(self.path[1:])
        with contextlib.suppress(ConnectionError):  # the client may have enough
            self.server.behave(self, content)

    def start(self, status, length, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *args):
        pass


# --- how a mirror may behave


def well(answer, content):
    answer.start(404 if content is None else 200, len(content or b""))
    answer.wfile.write(content or b"")


def status(number):
    def refuse(answer, content):
        answer.start(number, 0)

    refuse.__name__ = f"status_{number}"
    return refuse


def busy_at_first(answer, content):
    """503 for the first two requests: when ganlib asks around, and for the download."""
    (status(503) if len(answer.server.asked) <= 2 else well)(answer, content)


def never(answer, content):
    answer.server.closing.wait(60)


def never_after_the_headers(answer, content):
    answer.start(200, len(content))
    never(answer, content)


def never_after_the_middle(answer, content):
    answer.start(200, len(content))
    answer.wfile.write(content[: len(content) // 2])
    never(answer, content)


def a_byte_now_and_then(answer, content):
    answer.start(200, len(content))
    for i in range(len(content)):
        answer.wfile.write(content[i : i + 1])
        if answer.server.closing.wait(0.2):
            break


def a_byte_now_and_then_after_the_middle(answer, content):
    answer.start(200, len(content))
    answer.wfile.write(content[: len(content) // 2])
    while not answer.server.closing.wait(0.2):
        answer.wfile.write(content[:1])


def half(answer, content):
    answer.start(200, len(content))
    answer.wfile.write(content[: len(content) // 2])


def half_and_says_so(answer, content):
    well(answer, content[: len(content) // 2])


def nothing(answer, content):
    well(answer, b"")


def login_page(answer, content):
    well(answer, b"<!DOCTYPE html><title>Welcome to our network</title>")


def one_bit_wrong(answer, content):
    well(answer, content[:-1] + bytes([content[-1] ^ 1]))


def another_file(answer, content):
    others = [other for other in answer.server.files.values() if other != content]
    well(answer, others[0])


def without_end(answer, content):
    answer.start(200, None)
    while not answer.server.closing.is_set():
        answer.wfile.write(bytes(2**20))


def bomb(answer, content):
    packed = gzip.compress(bytes(60_000_000), 1)
    answer.start(200, len(packed), Content_Encoding="gzip")
    answer.wfile.write(packed)


def round_in_circles(answer, content):
    answer.start(302, 0, Location=answer.path)


def no_http(answer, content):
    answer.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)


@pytest.fixture
def serve():
    """A function that starts a mirror which holds the given files."""
    servers = []

    def start(files, behave=well):
        servers.append(Mirror(files, behave))
        return servers[-1]

    yield start
    for server in servers:
        server.closing.set()
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


def assert_right(folder, pixels):
    """See that both splits in the folder hold exactly what was published."""
    for split, key in (("train", "train"), ("test", "t10k")):
        found = load(folder, split=split, offline=True)
        expected = torch.tensor(pixels[key])[:, None].float() / 127.5 - 1
        torch.testing.assert_close(found.images, expected, atol=1e-6, rtol=0)
        assert found.labels.tolist() == [i % 10 for i in range(len(expected))]


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


@pytest.mark.parametrize(
    "behave",
    [
        never,
        never_after_the_headers,
        never_after_the_middle,
        a_byte_now_and_then,
        a_byte_now_and_then_after_the_middle,
    ],
)
def test_fallback_comes_within_5_seconds_though_the_mirrors_hang(
    packed, serve, mirrors, folder, digits, behave
):
    mirrors(serve(packed, behave).base, serve(packed, behave).base)
    started = time.monotonic()
    assert fetch(folder, fallback="digits").source == "embedded"
    assert time.monotonic() - started < 5
    assert list(folder.iterdir()) == []


# --- servers and disks at their worst

REFUSING = {
    status(403): "answered 403",
    status(404): "answered 404",
    status(500): "answered 500",
    status(503): "answered 503",
    half: "broke off",
    no_http: "no mirror answered",
    nothing: "no mirror answered",
    half_and_says_so: "sent something else",
    login_page: "sent something else",
    one_bit_wrong: "sent something else",
    another_file: "sent something else",
    without_end: "sent something else",
    bomb: "sent something else",
    round_in_circles: "no mirror answered",
}


@pytest.mark.parametrize(("behave", "cause"), REFUSING.items())
def test_bad_mirror_ends_in_one_sentence_and_leaves_nothing(
    packed, serve, mirrors, folder, behave, cause
):
    mirrors(serve(packed, behave).base)
    sentence = refusal(folder, offline=False)
    assert cause in sentence
    assert sentence.endswith('or pass fallback="digits".')
    assert "\n" not in sentence
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("behave", REFUSING)
def test_good_mirror_helps_where_the_first_is_bad(
    packed, serve, mirrors, folder, pixels, behave
):
    mirrors(serve(packed, behave).base, serve(packed).base)
    assert fetch(folder).source == "download"
    assert_right(folder, pixels)


@pytest.mark.parametrize("behave", [never_after_the_headers, never_after_the_middle])
def test_good_mirror_helps_where_the_first_stalls(
    packed, serve, mirrors, folder, pixels, behave
):
    mirrors(serve(packed, behave).base, serve(packed).base)
    assert fetch(folder, fallback="digits").name == "mnist"
    assert_right(folder, pixels)


def test_mirror_that_is_busy_is_asked_again(mirror, folder, pixels):
    mirror.behave = busy_at_first
    assert fetch(folder).source == "download"
    assert_right(folder, pixels)


def test_slow_mirror_is_waited_for_as_long_as_it_sends(
    mirror, folder, pixels, monkeypatch
):
    """The line gives a chunk in every second; all of it takes longer than patience."""

    def slow(answer, content):
        answer.start(200, len(content))
        for i in range(0, len(content), 2048):
            answer.wfile.write(content[i : i + 2048])
            answer.server.closing.wait(0.4)

    mirror.behave = slow
    monkeypatch.setattr(servers, "CHUNK", 2048)
    started = time.monotonic()
    assert fetch(folder, fallback="digits").name == "mnist"
    assert time.monotonic() - started > 2.5
    assert_right(folder, pixels)


def test_without_fallback_no_mirror_holds_a_learner_up_for_30_seconds(
    packed, serve, monkeypatch, tmp_path
):
    stalling = {
        "mnist": never,
        "fashion-mnist": a_byte_now_and_then_after_the_middle,
    }
    for name, behave in stalling.items():
        monkeypatch.setitem(servers.MIRRORS, name, [serve(packed, behave).base])

    def give_up(name):
        started = time.monotonic()
        with pytest.raises(MissingDataError):
            load_images(name, root=tmp_path / name, offline=False)
        return time.monotonic() - started

    with ThreadPoolExecutor() as pool:  # both at once: each takes a while
        seconds = list(pool.map(give_up, stalling))
    assert max(seconds) < 30
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def swap(first, second):
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])


def swap_with_labels(path):
    swap(path, path.with_name("train-labels-idx1-ubyte"))


def swap_with_the_test_images(path):
    swap(path, path.with_name("t10k-images-idx3-ubyte"))


def swap_two_labels(path):
    labels = path.with_name("train-labels-idx1-ubyte")
    content = bytearray(labels.read_bytes())
    content[-1], content[-2] = content[-2], content[-1]
    labels.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def replace_by_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = [
    flip_a_bit,
    cut_off_the_end,
    swap_with_labels,
    swap_with_the_test_images,
    swap_two_labels,
    empty,
    replace_by_dangling_link,
    Path.unlink,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_never_loaded(stored, pixels, damage):
    damage(stored / TRAIN_IMAGES)
    assert "switched off" in refusal(stored, offline=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_fetched_anew(mirror, stored, pixels, damage):
    damage(stored / TRAIN_IMAGES)
    assert fetch(stored).source == "download"
    assert_right(stored, pixels)


def test_folder_in_the_place_of_a_file_ends_in_a_sentence(mirror, stored):
    replace_by_folder(stored / TRAIN_IMAGES)
    assert "could not be read from or stored in" in refusal(stored, offline=False)


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off_the_end, empty])
def test_damaged_packed_file_is_never_unpacked(packed, folder, damage):
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    damage(folder / f"{TRAIN_IMAGES}.gz")
    refusal(folder, offline=True)
    assert not (folder / TRAIN_IMAGES).exists()


def test_packed_file_that_unpacks_to_gigabytes_is_stopped(
    mirror, folder, packed, monkeypatch
):
    name = f"{TRAIN_IMAGES}.gz"
    mirror.files[name] = gzip.compress(bytes(60_000_000), 1)  # MNIST's has 47 million
    found = hashlib.md5(mirror.files[name]).hexdigest()
    resources = [(name, found)] + [
        (other, hashlib.md5(content).hexdigest())
        for other, content in packed.items()
        if other != name
    ]
    monkeypatch.setattr(download.DATASETS["mnist"], "resources", resources)
    sentence = refusal(folder, offline=False)
    assert "holds far more than it should" in sentence
    assert [path.name for path in folder.iterdir()] == [name]


def in_child(function, *arguments):
    """Fork, run the function, return what it printed or the sentence that it raised.

    Only a process of its own can give up its rights, or live with a small disk.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = str(function(*arguments))
        except MissingDataError as error:
            answer = f"refused: {error}"
        except BaseException as error:
            answer = f"failed with {error!r}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    return child, reading


def answer_of(started):
    child, reading = started
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read().decode()
    os.waitpid(child, 0)
    return answer


needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this system cannot fork a process"
)


@pytest.fixture
def open_folder():
    """A folder that every user may look into; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "MNIST" / "raw"
        folder.mkdir(parents=True)
        Path(root).chmod(0o755)
        yield folder
        folder.chmod(0o755)


def without_rights(function, *arguments):
    if os.getuid() == 0:  # who may write everywhere
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    return function(*arguments)


@needs_fork
def test_folder_without_the_right_to_write_says_what_to_do(mirror, open_folder):
    open_folder.chmod(0o555)
    answer = answer_of(in_child(without_rights, fetch, open_folder))
    assert answer.startswith("refused: mnist could not be read from or stored in")
    assert "Permission denied" in answer
    assert "set GANLIB_DATA to a folder that you can read and write" in answer
    assert list(open_folder.iterdir()) == []


@needs_fork
def test_folder_without_the_right_to_look_says_what_to_do(mirror, open_folder):
    open_folder.chmod(0o000)
    answer = answer_of(in_child(without_rights, fetch, open_folder))
    assert answer.startswith("refused: mnist could not be read from or stored in")


@needs_fork
def test_file_without_the_right_to_read_says_what_to_do(mirror, open_folder, unpacked):
    for name, content in unpacked.items():
        (open_folder / name).write_bytes(content)
    (open_folder / TRAIN_IMAGES).chmod(0o000)
    answer = answer_of(in_child(without_rights, load, open_folder))
    assert answer.startswith("refused: mnist could not be read from or stored in")


@needs_fork
def test_fallback_helps_where_nothing_can_be_written(mirror, open_folder):
    open_folder.chmod(0o555)

    def name():
        return fetch(open_folder, fallback="digits").name

    assert answer_of(in_child(without_rights, name)) == "digits"


@needs_fork
@pytest.mark.parametrize("room", [1_000, 12_000])
def test_full_disk_says_what_to_do_and_leaves_no_half_file(
    mirror, folder, unpacked, room
):
    """A limit on the size of files stops writing, as a full disk does."""
    import resource

    def fetch_with_little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        return fetch(folder)

    answer = answer_of(in_child(fetch_with_little_room))
    assert answer.startswith("refused: mnist could not be read from or stored in")
    assert "make room there" in answer
    for path in folder.iterdir():  # what is there is whole
        assert path.suffix == ".gz"
        assert path.read_bytes() == mirror.files[path.name]


@needs_fork
def test_processes_that_fetch_at_once_do_not_disturb_each_other(mirror, folder, pixels):
    def slowly(answer, content):
        time.sleep(0.05)
        well(answer, content)

    mirror.behave = slowly

    def total():
        return fetch(folder).images.sum().item()

    answers = [answer_of(child) for child in [in_child(total) for _ in range(4)]]
    assert_right(folder, pixels)
    assert set(answers) == {str(load(folder).images.sum().item())}


@needs_fork
def test_process_that_is_killed_leaves_no_file_under_its_final_name(
    mirror, folder, pixels
):
    mirror.behave = never_after_the_middle
    child, reading = in_child(fetch, folder)
    while not list(folder.iterdir()):
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    answer_of((child, reading))
    names = {path.name for path in folder.iterdir()}
    assert not names & {*mirror.files, *(name[:-3] for name in mirror.files)}
    mirror.behave = well
    fetch(folder)
    assert_right(folder, pixels)


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
