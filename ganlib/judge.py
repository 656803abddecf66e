"""The judge: a small classifier whose features and verdicts stand in for our eyes."""

import hashlib
import math
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganlib import __version__
from ganlib.arguments import check_count, check_path, wrong
from ganlib.checks import check_images, check_network, check_range
from ganlib.data import batch_indices
from ganlib.storage import (
    cache_folder,
    check_weights,
    tensor_bytes,
    write_atomically,
)


class Judge(nn.Module):
    """A small classifier: images (N, 1, 28, 28) in [-1, 1] → logits (N, 10).

    ``features`` gives the 64 numbers before the last layer. ``accuracy`` is its share
    of right answers on images that it was not trained on, ``hash`` its name: a number
    in its features means something only beside the name of the judge.

    Raises TypeError or ValueError when the images have a wrong dtype, shape or device.
    """

    num_features = 64

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, 10)
        self.accuracy = float("nan")
        self.eval()

    def train(self, mode: bool = True) -> "Judge":
        """Stay in eval mode, whatever is asked for.

        A judge inside another module (torchmetrics' metrics are modules) would follow
        that module's ``train()``, and with BatchNorm or dropout its numbers would then
        depend on who asked.
        """
        return super().train(False)

    @property
    def hash(self) -> str:
        """The first 12 hex digits of the SHA-256 of all weights, names and values."""
        digest = hashlib.sha256()
        for name, values in sorted(self.state_dict().items()):
            digest.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
            digest.update(tensor_bytes(values))
        return digest.hexdigest()[:12]

    def features(self, images: Tensor) -> Tensor:
        check_images(images, (1, 28, 28), self)
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def train_judge(
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int = 2,
    seed: int = 0,
) -> Judge:
    """Train a judge on images (N, 1, 28, 28) in [-1, 1] with labels (N,) in 0 … 9.

    A tenth of the images is kept back for ``judge.accuracy``. Small sets are cut into
    smaller batches and gone through more often, so that there are at least 400 steps.

    Raises TypeError or ValueError for images, labels, epochs or seeds that do not fit.
    """
    check_images(images)  # the judge looks at their size
    check_range(images)
    check_count(epochs, "epochs")
    check_count(seed, "seed", 0)
    _check_labels(labels, images)
    if len(images) < 20:
        raise ValueError(
            f"there are {len(images)} images, too few to train and to test a judge: "
            "use at least 1,000."
        )
    order = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(images), generator=order)
    held_out, used = shuffled.tensor_split([len(images) // 10])
    batch_size = max(32, min(256, len(used) // 200))
    epochs = max(epochs, math.ceil(400 * batch_size / len(used)))
    judge = _new_judge(seed).to(images.device)
    optimizer = torch.optim.Adam(judge.parameters(), 4e-3, fused=True)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - epoch / epochs)
        for batch in batch_indices(len(used), batch_size, generator=order):
            chosen = used[batch]
            loss = cross_entropy(judge(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    judge.requires_grad_(False)
    right = judge(images[held_out]).argmax(1) == labels[held_out]
    judge.accuracy = right.float().mean().item()
    return judge


@torch.no_grad()
def judge_features(judge: Judge, images: Tensor) -> Tensor:
    """Return the judge's features (N, 64) of images (N, 1, 28, 28) in [-1, 1].

    Raises TypeError or ValueError for what is no judge, or images that do not fit it.
    """
    check_network(judge, "judge")
    check_images(images, (1, 28, 28), judge)
    check_range(images)
    return torch.cat([judge.features(part) for part in images.split(1000)])


def judge_verdicts(judge: Judge, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the digit (N,) that the judge sees in each image, and its confidence (N,).

    The confidence is the largest softmax probability, in [0.1, 1].

    Raises TypeError or ValueError for what is no judge, or images that do not fit it.
    """
    check_network(judge, "judge")
    check_images(images, (1, 28, 28), judge)
    check_range(images)
    with torch.no_grad():
        logits = torch.cat([judge(part) for part in images.split(1000)])
    confidence, digit = logits.softmax(1).max(1)
    return digit, confidence


def save_judge(judge: Judge, folder: str | Path | None = None) -> Path:
    """Write a judge to ``folder``, under its hash; return the path of the file.

    Without a folder it goes into the cache, where ``load_judge`` finds it by its hash.
    The accuracy stands in the file, too.

    Raises TypeError or ValueError for what is no Judge, or has diverged.
    """
    check_network(judge, "judge")
    check_weights(judge, _new_judge(0), "judge")
    name, accuracy = judge.hash, repr(float(judge.accuracy))
    facts = {"accuracy": accuracy, "check": _checksum(name, accuracy)}
    weights = {key: values.cpu() for key, values in judge.state_dict().items()}
    path = Path(folder or cache_folder("judges")) / f"{name}.safetensors"
    write_atomically(path, save(weights, facts))
    return path


def load_judge(name: str | Path) -> Judge:
    """Return a judge by its hash, or from a path: on the CPU, frozen.

    Raises FileNotFoundError when there is none, ValueError when the file is damaged or
    holds another judge than its name says.
    """
    if isinstance(name, str) and re.fullmatch("[0-9a-f]{12}", name):
        name = cache_folder("judges") / f"{name}.safetensors"
    check_path(name, ".safetensors")
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no judge in {path}: save one with save_judge(judge), which "
            "returns the path to load it from."
        )
    judge = _new_judge(0)
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        judge.load_state_dict(weights)
        judge.accuracy = float(facts["accuracy"])
        if facts["check"] != _checksum(judge.hash, facts["accuracy"]):
            raise ValueError("the checksum is wrong")
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        cause = str(error).partition("\n")[0].rstrip(".:")
        raise ValueError(
            f"{path} is damaged ({cause}): delete it, train the judge again with "
            "train_judge(images, labels), and save it."
        ) from None
    if judge.hash != path.stem:
        came, mend = f"{path} holds the judge {judge.hash}", "give it its name back"
        raise wrong(ValueError, came, f"{path.stem}, as its name says", mend)
    return judge.requires_grad_(False)


def load_or_train_judge(images: Tensor, labels: Tensor) -> Judge:
    """Return the judge that ``train_judge(images, labels)`` gives, on the CPU.

    It is loaded from the cache when it was trained before, by this version of ganlib on
    these images and labels, and otherwise trained and saved. Says in one line which it
    was, the judge's hash and its accuracy.

    Raises what ``train_judge`` raises.
    """
    check_images(images)
    _check_labels(labels, images)
    digest = hashlib.sha256(f"{__version__} {tuple(images.shape)}".encode())
    for values in (images, labels):
        digest.update(tensor_bytes(values))
    note = cache_folder("judges") / f"{digest.hexdigest()[:16]}.txt"  # holds a hash
    try:
        judge, how = load_judge(note.read_text().strip()), "Loaded"
    except (OSError, ValueError):  # none yet, or damaged
        judge, how = train_judge(images, labels).cpu(), "Trained"
        try:
            save_judge(judge)
            write_atomically(note, judge.hash.encode())
        except OSError as error:
            print(f"The judge could not be stored for next time ({error}).")
    share = f"right on {judge.accuracy:.1%} of images that it never saw"
    print(f"{how} the judge {judge.hash}, {share}.")
    return judge


def _new_judge(seed: int) -> Judge:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone, which is forked
        return Judge()


def _checksum(name: str, accuracy: str) -> str:
    """Guard the accuracy, which is no part of the hash, against a flipped bit."""
    return hashlib.sha256(f"{name} {accuracy}".encode()).hexdigest()[:12]


def _check_labels(labels: Tensor, images: Tensor) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        came = f"labels came as {getattr(labels, 'dtype', type(labels).__name__)}"
        mend = "write torch.as_tensor(labels).long()"
        raise wrong(TypeError, came, "an int64 tensor of digits in 0 … 9", mend)
    if labels.shape != (len(images),) or labels.device != images.device:
        came = f"labels have shape {tuple(labels.shape)} on {labels.device}"
        expected = f"({len(images)},) on {images.device}, one digit for each image"
        mend = 'load both together with load_images("digits")'
        raise wrong(ValueError, came, expected, mend)
    if labels.min() < 0 or labels.max() > 9:
        came = f"labels reach from {labels.min()} to {labels.max()}"
        mend = "write labels - labels.min()"
        raise wrong(ValueError, came, "int64 in 0 … 9", mend)
