"""Networks and judges on disk: saved whole or not at all, checked when loaded."""

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pooch
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ganlib.checks import wrong
from ganlib.conditional import (
    ConditionalGenerator,
    ProjectionDiscriminator,
    train_conditional,
)
from ganlib.data import fingerprint
from ganlib.judge import Judge, train_judge
from ganlib.models import Discriminator, Generator, new_networks
from ganlib.training import TrainConfig, train

# The code that decides how networks turn out: when it changes, they are trained again.
CODE = ("data", "latent", "losses", "models", "steps", "training")
CODE += ("conditional", "judge")
PLAIN = (Generator, Discriminator)
CONDITIONAL = (ConditionalGenerator, ProjectionDiscriminator)

Pair = tuple[nn.Module, nn.Module]  # G and D, of one of these two pairs of types


def save_networks(G: nn.Module, D: nn.Module, path: str | Path) -> None:
    """Write both networks to ``path`` (.safetensors), with their sizes and a checksum.

    They are a ``Generator`` and a ``Discriminator``, or a ``ConditionalGenerator`` and
    a ``ProjectionDiscriminator``. The file is moved into place when it is complete. The
    tensors are called "G.net.0.weight" and so on. Of a network from ``torch.compile``,
    the original is saved.

    Raises TypeError for networks that are not ganlib's: they could not be loaded.
    """
    G, D = (getattr(network, "_orig_mod", network) for network in (G, D))
    kinds = type(G), type(D)
    if kinds not in (PLAIN, CONDITIONAL):
        got = "the networks are a {} and a {}".format(*(k.__name__ for k in kinds))
        ours = [" and ".join(k.__name__ for k in p) for p in (PLAIN, CONDITIONAL)]
        expected = f"ganlib's {', or '.join(ours)}"
        fix = "write torch.save(network.state_dict(), path) for each"
        raise wrong(TypeError, got, expected, fix)
    facts = {"latent_dim": G.latent_dim, "image_shape": list(G.image_shape)}
    if kinds == CONDITIONAL:
        facts |= {"classes": G.classes, "size": G.embedding.embedding_dim}
    write(nn.ModuleDict({"G": G, "D": D}), Path(path).expanduser(), facts)


def load_networks(path: str | Path) -> Pair:
    """Return G and D as saved under ``path``: on the CPU, in eval mode, trainable.

    Raises FileNotFoundError if there is no such file, ValueError if it is damaged.
    """

    def build(facts: dict) -> nn.ModuleDict:
        if "classes" in facts:
            G = ConditionalGenerator(**facts)
            D = ProjectionDiscriminator(facts["image_shape"], facts["classes"])
        else:
            G, D = Generator(**facts), Discriminator(facts["image_shape"])
        return nn.ModuleDict({"G": G, "D": D})

    pair, _ = read(Path(path).expanduser(), build)
    return pair["G"], pair["D"]


def load_or_train(
    config: TrainConfig, images: Tensor, labels: Tensor | None = None
) -> Pair:
    """Return the averaged G and the D of this recipe on images (N, C, H, W) in [-1, 1].

    With labels (N,), these are a ``ConditionalGenerator`` and a
    ``ProjectionDiscriminator``, as in notebook 10.
    They are loaded from the cache if they are there, and otherwise trained and saved;
    one printed line says which. Their file's name is made from every setting, the
    images, and the code that trains: when one changes, they are trained again. Both are
    on the CPU, in eval mode and frozen.

    Raises what ``train`` raises, and KeyboardInterrupt if the run is stopped.
    """
    data = [images] if labels is None else [images, labels]
    path = cache_path("networks", config, *data)
    try:
        pair = load_networks(path)
        print("Loaded the networks that were trained before.")
    except (FileNotFoundError, ValueError) as error:
        why = "are damaged" if isinstance(error, ValueError) else "are not here yet"
        print(f"Trained networks {why}: training them for {config.steps} steps.")
        kinds, run = (PLAIN, train)
        if labels is not None:
            classes = labels.max().item() + 1
            kinds = [partial(kind, classes=classes) for kind in CONDITIONAL]
            run = train_conditional
        networks = new_networks(config.seed, tuple(images.shape[1:]), *kinds)
        G, D = (network.to(images.device) for network in networks)
        *_, record = run(G, D, *data, config)
        if record.step < config.steps:
            raise KeyboardInterrupt("stopped early: nothing was saved") from None
        pair = record.averaged.cpu(), D.cpu()
        _try(save_networks, *pair, path)
    G, D = (network.requires_grad_(False).eval() for network in pair)
    return G, D


def load_or_train_judge(images: Tensor, labels: Tensor) -> Judge:
    """Return the judge that ``train_judge(images, labels)`` gives, on the CPU.

    It is loaded from the cache if the same code has trained it before on the same
    images, and otherwise trained and saved.
    """
    path = cache_path("judges", "", images, labels)
    try:
        judge, facts = read(path, lambda _facts: Judge())
        judge.accuracy = facts["accuracy"]
    except (FileNotFoundError, ValueError):
        judge = train_judge(images, labels).cpu()
        _try(write, judge, path, {"accuracy": judge.accuracy})
    return judge.requires_grad_(False)


def cache_path(kind: str, settings: object, *data: Tensor) -> Path:
    """Return the path for what was trained with these settings on this data."""
    folder = Path(os.environ.get("GANLIB_CACHE") or pooch.os_cache("ganlib"))
    code = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in CODE]
    digest = hashlib.sha256(b"".join(code))
    digest.update(f"{torch.__version__} {settings} {fingerprint(*data)}".encode())
    return folder.expanduser() / kind / f"{digest.hexdigest()[:16]}.safetensors"


def write(network: nn.Module, path: Path, facts: dict) -> None:
    """Write weights and facts under a temporary name, then move the file into place."""
    weights = {k: v.cpu().contiguous() for k, v in network.state_dict().items()}
    words = json.dumps(facts)
    content = save(weights, {"facts": words, "sha256": checksum(words, weights)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        with open(Path(folder) / path.name, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)


def checksum(words: str, weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of everything that a file holds."""
    values = fingerprint(*(weights[name] for name in sorted(weights)))
    return hashlib.sha256(f"{words} {sorted(weights)} {values}".encode()).hexdigest()


def read(path: Path, build: Callable[[dict], nn.Module]) -> tuple[nn.Module, dict]:
    """Return the network that ``build(facts)`` makes, with weights, and the facts."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: save networks there with save_networks(G, D, path)."
        )
    try:
        with safe_open(path, "pt") as file:
            words, right = (file.metadata()[key] for key in ("facts", "sha256"))
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if checksum(words, weights) != right:
            raise ValueError("the checksum is wrong")
        facts = json.loads(words)
        with torch.random.fork_rng(devices=[]):
            network = build(facts)
        network.load_state_dict(weights)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        cause = str(error).partition("\n")[0].rstrip(".:")
        raise ValueError(
            f"{path} is damaged ({cause}): delete it, train again, and save it again."
        ) from None
    return network.eval(), facts


def _try(save_it: Callable, *arguments: object) -> None:
    try:
        save_it(*arguments)
    except OSError as error:
        print(f"The weights could not be stored for next time ({error}).")
