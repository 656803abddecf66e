"""The servers that give the files of MNIST and Fashion-MNIST, and how to ask them."""

import logging
import threading
import time
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm.auto import tqdm

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
CHUNK = 2**16  # bytes
LARGEST = 50_000_000  # bytes; MNIST's largest file, unpacked, has 47,040,016


class NoMirrorError(Exception):
    """No mirror gave a file; the message says why, as the end of a sentence."""


class Patience:
    """The seconds that are left for waiting while nothing arrives.

    Only silence uses them up, not a slow line: each ``CHUNK`` that arrives restores
    the ``limit``, the share that the mirror was given when it was asked.
    """

    def __init__(self, seconds: float):
        self.left = seconds
        self.start()

    def start(self, share: float = 1.0) -> None:
        self.limit = self.left * share
        self.renew()

    def renew(self) -> None:
        self.since = time.monotonic()

    def end(self) -> None:
        self.left = max(0.0, self.left - (time.monotonic() - self.since))

    def is_over(self) -> bool:
        return time.monotonic() - self.since >= self.limit


def answering(bases: list[str], file: str, patience: Patience) -> list[str]:
    """Return the mirrors that begin to send, or to refuse, before patience is over.

    All are asked at once, in threads, since looking up a name may hang for longer than
    any time-out of a socket. Soon after the first answer the others are left out.
    """
    answered: list[str] = []
    first = threading.Event()

    def ask(base: str) -> None:
        try:
            with requests.get(
                base + file, stream=True, timeout=patience.limit
            ) as reply:
                if reply.ok:
                    next(reply.iter_content(1024))
            answered.append(base)
            first.set()
        except (requests.RequestException, StopIteration):
            pass  # it does not count as answering

    patience.start()
    threads = [threading.Thread(target=ask, args=(b,), daemon=True) for b in bases]
    for thread in threads:
        thread.start()
    while not (first.is_set() or patience.is_over()) and any(
        thread.is_alive() for thread in threads
    ):
        first.wait(0.05)
    for thread in threads:
        thread.join(0.2)
    if not answered:
        patience.end()
    return [base for base in bases if base in answered]


def download(gz: Path, md5: str, bases: list[str], patience: Patience) -> None:
    """Fetch one file from the first mirror that has it; pooch moves it in place.

    A mirror that is busy may have time a second later, so each is asked twice, except
    one that stalled: patience is shared among the others.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # the progress bar says it already
    failures = {}
    to_ask = [*bases, *bases]
    while to_ask:
        base = to_ask.pop(0)
        if failures:
            time.sleep(0.2)

        def get(url: str, output: str, _pooch: object) -> None:
            _get(url, Path(output), gz.name, patience)

        patience.start(1 / len({base, *to_ask}))
        try:
            pooch.retrieve(
                base + gz.name,
                f"md5:{md5}",
                fname=gz.name,
                path=gz.parent,
                downloader=get,
            )
            return
        except requests.HTTPError as error:
            failures[base] = f"answered {error.response.status_code}"
        except ValueError:  # pooch found another hash, or it has no end
            failures[base] = "sent something else, perhaps your network's login page"
        except (requests.RequestException, urllib3.exceptions.HTTPError, _StalledError):
            failures[base] = "broke off"
            if patience.is_over():
                to_ask = [other for other in to_ask if other != base]
            patience.end()
    causes = "; ".join(f"{base.split('/')[2]} {why}" for base, why in failures.items())
    raise NoMirrorError(f"no mirror gave {gz.name} ({causes})")


class _StalledError(Exception):
    pass


def _get(url: str, output: Path, name: str, patience: Patience) -> None:
    """Write what ``url`` sends to ``output``, as long as it keeps coming.

    pooch's own downloader waits for ever when a byte comes now and then.
    """
    with (
        requests.get(url, stream=True, timeout=patience.limit) as reply,
        output.open("wb") as sink,
        tqdm(unit="B", unit_scale=True, desc=name) as bar,
    ):
        reply.raise_for_status()
        bar.reset(int(reply.headers.get("Content-Length", 0)) or None)
        mark = 0
        while part := reply.raw.read1(CHUNK, decode_content=True):
            sink.write(part)
            bar.update(len(part))
            if bar.n - mark >= CHUNK:
                mark = bar.n
                patience.renew()
            if bar.n > LARGEST:
                raise ValueError("this is none of our files")
            if patience.is_over():
                raise _StalledError
