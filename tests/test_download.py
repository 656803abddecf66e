"""The files of MNIST: found, checked, fetched from a server on this machine, refused.

The real files are too large for tests, so small ones stand in for them: checksums,
mirrors and contents belong together, there are only fewer bytes.
"""

import gzip
import multiprocessing
import os
import socket
import threading
import time
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock

import numpy as np
import pytest
import requests
import torch
from requests.exceptions import SSLError
from tqdm import tqdm

from ganlib import data, download
from ganlib.data import MissingDataError, load_images


def idx_file(values):
    """The format of MNIST's files: two zeros, type (8: bytes), rank, sizes, bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def flipped(content):
    return content[:-1] + bytes(byte ^ 1 for byte in content[-1:])


IMAGES = "train-images-idx3-ubyte"
NOISE = np.random.default_rng(0).integers(0, 4, (30, 28, 28), "u1") * 85
LABELS = np.arange(30, dtype="u1")
UNPACKED = {
    IMAGES: idx_file(NOISE[:20]),
    "train-labels-idx1-ubyte": idx_file(LABELS[:20]),
    "t10k-images-idx3-ubyte": idx_file(NOISE[20:]),
    "t10k-labels-idx1-ubyte": idx_file(LABELS[20:]),
}
PACKED = {f"{name}.gz": gzip.compress(content) for name, content in UNPACKED.items()}
MD5 = {name: md5(content).hexdigest() for name, content in PACKED.items()}
SHA256 = {MD5[f"{n}.gz"][:8]: sha256(c).hexdigest() for n, c in UNPACKED.items()}
BEHAVIOR = {  # of a mirror: the status, what it sends for a file, what is said of it
    "well": (200, bytes, ""),
    "forbidden": (403, lambda file: b"", "answered 403"),
    "login page": (200, lambda file: b"<title>Welcome", "sent something else"),
    "wrong": (200, flipped, "sent something else"),
    "breaks off": (200, lambda file: file[:100], "did not answer"),
    "silent later": (200, lambda file: file[:100], "did not answer"),
    "silent": (200, bytes, "did not answer"),
}


class Answer(BaseHTTPRequestHandler):
    """What /0/ and /1/ answer, two mirrors."""

    def do_GET(self):
        self.server.asked.append(self.path)
        behave = self.server.behave[int(self.path[1])]
        status, send, _ = BEHAVIOR[behave]
        file = PACKED.get(self.path[3:], b"")
        content = send(file)
        self.send_response(status)
        whole = file if file.startswith(content) else content
        self.send_header("Content-Length", str(len(whole)))
        if behave != "silent":
            self.end_headers()
            self.wfile.write(content)
        if behave == "silent" or (file and behave == "silent later"):
            self.server.released.wait(5)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def server(running, monkeypatch):
    """Let ganlib take the small files for the published ones, and this for the net."""
    running.behave, running.asked = ["well", "well"], []
    running.released = threading.Event()
    running.host = f"127.0.0.1:{running.server_port}"
    bases = [f"http://{running.host}/{mirror}/" for mirror in (0, 1)]
    for name, dataset in download.DATASETS.items():
        monkeypatch.setattr(dataset, "resources", list(MD5.items()))
        monkeypatch.setitem(download.MIRRORS, name, list(bases))
    monkeypatch.setattr(download, "SHA256", dict(SHA256))
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)  # before a retry
    yield running
    running.released.set()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "MNIST" / "raw"


def fetch(folder, name="mnist", *, offline=False, wait=5):
    return download.ensure_files(name, folder, offline=offline, wait=wait)


def refusal(folder, **words):
    with pytest.raises(MissingDataError, match=r'.+ pass fallback="digits"\.$') as got:
        fetch(folder, **words)
    assert "/" not in got.value.short
    return str(got.value)


def names(folder):
    return {path.name for path in folder.glob("*")}


def assert_right(folder):
    """See that what the folder holds is what was published, to the last value."""
    for split, part in (("train", slice(20)), ("test", slice(20, None))):
        found = load_images("mnist", split, root=folder.parents[1], offline=True)
        assert (found.name, found.source) == ("mnist", "cache")
        expected = torch.tensor(NOISE[part])[:, None].float() / 127.5 - 1
        torch.testing.assert_close(found.images, expected, rtol=0, atol=0)
        torch.testing.assert_close(found.labels, torch.tensor(LABELS[part]).long())


# --- where the files are, and whether they may be fetched


def test_root_comes_before_the_variable(folder, monkeypatch, tmp_path):
    fetch(folder)
    assert_right(folder)  # conftest.py has set the variable to an empty folder
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_images("mnist", root="~").source == "cache"
    monkeypatch.setenv("GANLIB_DATA", "~")
    assert load_images("mnist").source == "cache"
    assert data.data_folder() == tmp_path
    monkeypatch.setenv("GANLIB_DATA", "")
    monkeypatch.setattr(data.pooch, "os_cache", lambda name: tmp_path / name)
    assert data.data_folder() == tmp_path / "ganlib"


@pytest.mark.parametrize("value", ["1", "yes", "", "0", "False", "no", "off"])
def test_variable_switches_the_network_off(monkeypatch, tmp_path, value):
    monkeypatch.setenv("GANLIB_OFFLINE", value)
    monkeypatch.setattr(data, "ensure_files", ensure := Mock())
    for fallback, wait in ((None, 15), ("digits", 2.5)):
        with pytest.raises(FileNotFoundError):  # since nothing was fetched
            load_images("mnist", root=tmp_path, fallback=fallback)
        assert ensure.call_args[1] == {"offline": value in ("1", "yes"), "wait": wait}


def test_fallback_gives_the_digits_and_one_line(tmp_path, capsys):
    where = {"root": tmp_path, "offline": True}
    found = load_images("mnist", "test", fallback="digits", **where)
    assert (found.name, len(found.images)) == ("digits", 360)
    short = "it is not on this machine and the network is switched off."
    expected = f"Using the embedded digits in place of mnist: {short}\n"
    assert capsys.readouterr().out == expected
    with pytest.raises(MissingDataError, match=r"\(looked in .*raw\) and the net"):
        load_images("mnist", **where)


# --- files that are missing or damaged


def test_missing_files_are_fetched_once(server, folder, capsys):
    assert fetch(folder) == "download"
    assert "100%" in capsys.readouterr().err
    assert names(folder) == {*PACKED, *UNPACKED}
    assert fetch(folder) == "cache"
    assert sorted(server.asked) == sorted(["/0/", *(f"/0/{name}" for name in PACKED)])
    assert_right(folder)


DAMAGES = [
    lambda path: path.write_bytes(flipped(path.read_bytes())),
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(UNPACKED["t10k-images-idx3-ubyte"]),  # swapped
    os.unlink,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_noticed_and_replaced(server, folder, damage):
    fetch(folder)
    server.asked.clear()
    damage(folder / IMAGES)
    assert fetch(folder, offline=True) == "cache"  # its .gz is beside it
    damage(folder / IMAGES)
    DAMAGES[0](folder / f"{IMAGES}.gz")
    state = "not on this machine" if damage is os.unlink else f"damaged ({IMAGES})"
    assert f"mnist is {state} (looked in" in refusal(folder, offline=True)
    assert server.asked == []
    for name in PACKED:
        os.unlink(folder / name)
    assert fetch(folder) == "download"
    assert server.asked == ["/0/", f"/0/{IMAGES}.gz"]
    assert_right(folder)


def test_packed_files_of_fashion_mnist_vouch_for_the_unpacked_ones(tmp_path):
    download.SHA256.clear()  # nobody has published them
    folder, name = tmp_path / "FashionMNIST" / "raw", "fashion-mnist"
    assert fetch(folder, name) == "download"
    before = (folder / IMAGES).stat().st_ino
    assert load_images(name, root=tmp_path, offline=True).name == name
    assert (folder / IMAGES).stat().st_ino == before  # not written again
    DAMAGES[0](folder / IMAGES)
    assert fetch(folder, name, offline=True) == "cache"
    assert (folder / IMAGES).read_bytes() == UNPACKED[IMAGES]
    os.unlink(folder / f"{IMAGES}.gz")
    assert fetch(folder, name) == "download"


# --- mirrors at their worst


@pytest.mark.parametrize("behave", [*BEHAVIOR][1:])
def test_bad_mirror_is_left_for_the_next(server, folder, behave):
    server.behave, started = [behave, behave], time.monotonic()
    sentence = refusal(folder, wait=0.2 if "silent" in behave else 5)
    assert f"{server.host} and {server.host} {BEHAVIOR[behave][2]}" in sentence
    assert time.monotonic() - started < 4
    assert names(folder) == set()
    server.behave = [behave, "well"]
    server.released.set()
    assert fetch(folder) == "download"
    assert_right(folder)


def test_mirror_that_refuses_connections_is_left_for_the_next(server, folder):
    download.MIRRORS["mnist"][0] = "http://127.0.0.1:1/"
    server.behave[1] = "forbidden"
    assert f"127.0.0.1:1 did not answer; {server.host} answered" in refusal(folder)
    server.behave[1] = "well"
    assert fetch(folder) == "download"


def test_certificates_that_are_wrong_say_how_to_fix_it(folder, monkeypatch):
    monkeypatch.setattr(requests, "head", Mock(side_effect=SSLError))
    assert "set REQUESTS_CA_BUNDLE to the file with its proxy's" in refusal(folder)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "nowhere.pem"))
    assert "REQUESTS_CA_BUNDLE does not name a file (correct or" in refusal(folder)


def test_mirror_that_is_busy_is_asked_again(server, folder, monkeypatch):
    server.behave = ["forbidden", "well"]
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: server.behave.reverse())
    assert fetch(folder) == "download"
    assert "/1/" not in server.asked


def test_looking_up_a_name_may_hang(server, folder, monkeypatch):
    """No time-out of a socket holds for it."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: server.released.wait(5))
    started = time.monotonic()
    assert "did not answer" in refusal(folder, wait=0.2)
    assert time.monotonic() - started < 4


# --- disks and processes at their worst


@pytest.mark.parametrize("room", [1_000, 10_000])
def test_full_disk_is_one_sentence_and_leaves_no_half_file(folder, room):
    """A limit on the size of files stops writing, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        sentence = refusal(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "reading or storing failed (File too large): make room there" in sentence
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert left.items() <= {**PACKED, **UNPACKED}.items()
    assert (IMAGES in left, f"{IMAGES}.gz" in left) == (False, room > 1_000)


@pytest.fixture
def fork():
    """Processes that inherit what the fixtures have changed."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork a process")
    return multiprocessing.get_context("fork")


def take_own_lock():
    """Take a lock for tqdm that no other process has.

    Its own is shared: a child that is killed while it draws its bar would keep it for
    ever, and a child that is born while another thread draws would never get it.
    """
    tqdm.set_lock(threading.RLock())


def fetch_with_own_lock(folder):
    take_own_lock()
    fetch(folder)


def refusal_of_nobody(folder):
    if os.getuid() == 0:  # who may write everywhere
        os.setuid(65534)
    return refusal(folder)


def test_folder_without_permission_is_one_sentence(fork):
    with TemporaryDirectory() as root, fork.Pool(1, take_own_lock) as pool:
        os.chmod(root, 0o755)  # pytest's own are closed to other users
        Path(root, "raw").mkdir(mode=0o555)
        sentence = pool.apply(refusal_of_nobody, [Path(root, "raw")])
    assert "failed (PermissionError): make room there, set GANLIB_DATA" in sentence


def test_process_that_is_killed_leaves_no_half_file(fork, server, folder):
    server.behave[0] = "silent later"
    child = fork.Process(target=fetch_with_own_lock, args=[folder])
    child.start()
    while not names(folder):
        server.released.wait(0.01)
    child.kill()
    child.join()
    assert not names(folder) & {*PACKED, *UNPACKED}
    server.behave[0] = "well"
    assert fetch(folder) == "download"
    assert_right(folder)


def test_processes_may_fetch_at_the_same_time(fork, folder):
    with fork.Pool(3, take_own_lock) as pool:
        assert set(pool.map(fetch, [folder] * 3)) <= {"download", "cache"}
    assert names(folder) == {*PACKED, *UNPACKED}
    assert_right(folder)
