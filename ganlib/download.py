"""The files of MNIST and Fashion-MNIST: checked, and downloaded if missing."""

import gzip
import os
from multiprocessing import TimeoutError as NoAnswerError
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory

import pooch
import requests
import torch

try:
    from torchvision import datasets
except (ImportError, RuntimeError, OSError) as error:
    raise ImportError(
        f"torchvision does not fit the installed torch {torch.__version__} ({error}): "
        "reinstall both together and from one index, with pip install --force-reinstall"
        " torch torchvision, or, for the CPU-only builds, with the lines in README.md."
    ) from None

DATASETS = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}
# Each holds the four .gz files that torchvision's class lists, with equal checksums.
MIRRORS = {
    "mnist": [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ],
    "fashion-mnist": [
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ],
}
# Of MNIST's unpacked files, by the first digits of the MD5 of the .gz files.
SHA256 = {
    "f68b3c2d": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "d53e105e": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "9fb629c4": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ec29112d": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class MissingDataError(RuntimeError):
    """A dataset is not on this machine, and cannot be fetched or stored."""

    def __init__(self, sentence: str, short: str):
        super().__init__(sentence)
        self.short = short  # the cause in a few words, without paths


def ensure_files(name: str, folder: Path, *, offline: bool, wait: float) -> str:
    """Make sure that the four files are in ``folder``, checked; return their source.

    What is missing or damaged is unpacked from its .gz, or else downloaded from the
    mirrors in turn. The next mirror is tried when one does not answer within ``wait``
    seconds, sends something wrong twice, or falls silent for that long within a file,
    twice. Two silent mirrors cost 2 ``wait``, at the very worst 6 ``wait`` + 2 seconds.

    Raises MissingDataError.
    """
    files = [(folder / gz, md5) for gz, md5 in DATASETS[name].resources]
    state = "not on this machine"
    try:
        wrong = [(gz, md5) for gz, md5 in files if not _is_ready(gz, md5)]
        if not wrong:
            return "cache"
        damaged = [gz.stem for gz, _ in wrong if gz.with_suffix("").exists()]
        state = f"damaged ({', '.join(damaged)})" if damaged else state
        hashes = {gz.name: f"md5:{md5}" for gz, md5 in wrong}
        off = "the network is switched off"
        cause = off if offline else _fetch(MIRRORS[name], hashes, folder, wait)
        if not cause and all(_is_ready(gz, md5) for gz, md5 in wrong):
            return "download"
        fix = "load it once with a network, copy the files there"
    except OSError as error:
        cause = f"reading or storing failed ({error.strerror or type(error).__name__})"
        fix = "make room there, set GANLIB_DATA to a folder that you can read and write"
    raise MissingDataError(
        f"{name} is {state} (looked in {folder}) and {cause}: {fix}, or pass "
        'fallback="digits".',
        f"it is {state} and {cause}",
    )


def _is_ready(gz: Path, md5: str) -> bool:
    """Return whether the unpacked file is right, or could be unpacked from its .gz."""
    file = gz.with_suffix("")
    if file.is_file() and pooch.file_hash(file) == SHA256.get(md5[:8]):
        return True
    if not gz.is_file() or pooch.file_hash(gz, "md5") != md5:
        return False
    content = gzip.decompress(gz.read_bytes())
    if not file.is_file() or file.read_bytes() != content:
        with TemporaryDirectory(dir=gz.parent) as place:
            Path(place, file.name).write_bytes(content)
            Path(place, file.name).replace(file)
    return True


def _fetch(mirrors: list[str], hashes: dict, folder: Path, wait: float) -> str:
    """Let pooch download the files; return why it failed, or "" if it did not."""
    if not Path(os.environ.get("REQUESTS_CA_BUNDLE") or ".").exists():
        return "REQUESTS_CA_BUNDLE does not name a file (correct or unset it)"
    pooch.get_logger().setLevel("WARNING")  # the progress bar shows it already
    get = pooch.HTTPDownloader(progressbar=True, timeout=wait)
    failures: dict[str, list[str]] = {}
    for base in mirrors:
        mirror = pooch.create(folder, base, registry=hashes, retry_if_failed=1)
        try:
            # The timeout of a request holds for each address of a server, often 20 of
            # them, and not for looking up its name; a thread can be left waiting.
            with ThreadPool(1) as pool:
                pool.apply_async(requests.head, [base], {"timeout": wait}).get(wait)
            for gz in hashes:
                mirror.fetch(gz, downloader=get)
            return ""
        except requests.exceptions.SSLError:
            cause = "offered no trusted certificate (in a school, say, set "
            cause += "REQUESTS_CA_BUNDLE to the file with its proxy's certificate)"
        except requests.HTTPError as error:
            cause = f"answered {error.response.status_code}"
        except (requests.RequestException, NoAnswerError):
            cause = "did not answer"
        except ValueError:  # pooch found another hash
            cause = "sent something else, perhaps your network's login page"
        failures.setdefault(cause, []).append(base.split("/")[2])
    causes = [f"{' and '.join(hosts)} {cause}" for cause, hosts in failures.items()]
    return f"no mirror helped: {'; '.join(causes)}"
