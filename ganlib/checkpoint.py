"""Weights on disk, and networks and judges that are trained once, then loaded."""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pooch
import torch
from torch import Tensor, nn

from ganlib import storage
from ganlib.conditional import (
    ConditionalGenerator,
    ProjectionDiscriminator,
    train_conditional,
)
from ganlib.data import fingerprint
from ganlib.judge import Judge, train_judge
from ganlib.models import new_networks
from ganlib.training import TrainConfig, train

# The code that decides how networks turn out: when it changes, they are trained again.
CODE = "conditional", "data", "judge", "latent", "losses", "models", "steps", "training"


def save_weights(path: str | Path, **networks: nn.Module) -> None:
    """Write the weights of networks to ``path`` (.safetensors), with a checksum.

    The file is moved into place when it is complete. The tensors are named after the
    networks: ``save_weights(path, G=G, D=D)`` writes "G.net.0.weight" and so on.
    """
    weights = nn.ModuleDict(networks).state_dict()
    storage.write(Path(path).expanduser(), weights, {})


def load_weights(path: str | Path, **networks: nn.Module) -> None:
    """Give networks the weights that ``save_weights`` wrote under the same names.

    Raises FileNotFoundError if there is no such file, ValueError if it is damaged, or
    holds weights of other networks.
    """
    path = Path(path).expanduser()
    try:
        weights, _ = storage.read(path)
        nn.ModuleDict(networks).load_state_dict(weights)
    except storage.DAMAGE as error:
        cause = " ".join(str(error).split()).rstrip(".:")
        fix = "load it into networks of the same kind, or delete it and save it again"
        raise ValueError(f"{path} does not fit ({cause}): {fix}.") from None


def load_or_train(
    config: TrainConfig, images: Tensor, labels: Tensor | None = None
) -> tuple[nn.Module, nn.Module]:
    """Return the averaged G and the D of this recipe on images (N, C, H, W) in [-1, 1].

    With labels (N,), these are a ``ConditionalGenerator`` and a
    ``ProjectionDiscriminator``, as in notebook 10.
    They are loaded from the cache if they are there, and otherwise trained and saved;
    one printed line says which. Their file's name is made from every setting, the
    images, and the code that trains: when one changes, they are trained again. Both are
    on the CPU, in eval mode and frozen.

    Raises what ``train`` raises, and KeyboardInterrupt if the run is stopped.
    """
    data, kinds, learn = [images], [], train
    if labels is not None:
        data, learn = [images, labels], train_conditional
        pair, classes = (
            (ConditionalGenerator, ProjectionDiscriminator),
            labels.max() + 1,
        )
        kinds = [partial(kind, classes=classes.item()) for kind in pair]
    path = cache_path("networks", config, *data)
    start = partial(new_networks, config.seed, tuple(images.shape[1:]), *kinds)
    G, D = start()
    try:
        load_weights(path, G=G, D=D)
        print("Loaded the networks that were trained before.")
    except (FileNotFoundError, ValueError) as error:
        why = "are damaged" if isinstance(error, ValueError) else "are not here yet"
        print(f"Trained networks {why}: training them for {config.steps} steps.")
        G, D = (network.to(images.device) for network in start())
        *_, record = learn(G, D, *data, config)
        if record.step < config.steps:
            raise KeyboardInterrupt("stopped early: nothing was saved") from None
        G = record.averaged
        _try(save_weights, path, G=G, D=D)
    G, D = (network.cpu().requires_grad_(False).eval() for network in (G, D))
    return G, D


def load_or_train_judge(images: Tensor, labels: Tensor) -> Judge:
    """Return the judge that ``train_judge(images, labels)`` gives, on the CPU.

    It is loaded from the cache if the same code has trained it before on the same
    images, and otherwise trained and saved.
    """
    path, judge = cache_path("judges", "", images, labels), Judge()
    try:
        weights, facts = storage.read(path)
        judge.load_state_dict(weights)
        judge.accuracy = facts["accuracy"]
    except (FileNotFoundError, *storage.DAMAGE):
        judge = train_judge(images, labels).cpu()
        facts = {"accuracy": judge.accuracy}
        _try(storage.write, path, judge.state_dict(), facts)
    return judge.requires_grad_(False)


def cache_path(kind: str, settings: object, *data: Tensor) -> Path:
    """Return the path for what was trained with these settings on this data."""
    folder = Path(os.environ.get("GANLIB_CACHE") or pooch.os_cache("ganlib"))
    code = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in CODE]
    digest = hashlib.sha256(b"".join(code))
    digest.update(f"{torch.__version__} {settings} {fingerprint(*data)}".encode())
    return folder.expanduser() / kind / f"{digest.hexdigest()[:16]}.safetensors"


def _try(save_it: Callable, *arguments: object, **networks: nn.Module) -> None:
    try:
        save_it(*arguments, **networks)
    except (OSError, *storage.DAMAGE) as error:
        print(f"The weights could not be stored for next time ({error}).")
