"""Networks on disk: saved whole or not at all, and checked when they come back."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ganlib import __version__
from ganlib.arguments import check_path, wrong
from ganlib.checks import check_images, check_network
from ganlib.models import Discriminator, Generator, init_orthogonal_
from ganlib.storage import (
    cache_folder,
    check_weights,
    tensor_bytes,
    write_atomically,
)
from ganlib.training import TrainConfig, check_config, train


def save_networks(G: Generator, D: Discriminator, path: str | Path) -> None:
    """Write both networks to ``path`` (.safetensors) and their sizes to a .json.

    Both files are moved in place when they are complete; the second holds the SHA-256
    of the first. The tensors are called "G.net.0.weight" and so on.

    Raises TypeError or ValueError for networks that are not ganlib's or have diverged,
    for two that do not fit, and for another ending.
    """
    check_path(path, ".safetensors")
    _check_pair(G, D)
    path = Path(path)
    named = (("G", G.state_dict()), ("D", D.state_dict()))
    weights = save(
        {
            f"{n}.{key}": value.cpu()
            for n, state in named
            for key, value in state.items()
        }
    )
    facts = {
        "latent_dim": G.latent_dim,
        "image_shape": list(G.image_shape),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_atomically(path, weights)
    write_atomically(path.with_suffix(".json"), json.dumps(facts, indent=2).encode())


def load_networks(path: str | Path) -> tuple[Generator, Discriminator]:
    """Return G and D as saved under ``path``: on the CPU, in eval mode, frozen.

    Raises FileNotFoundError when they are not there, ValueError when the file is
    damaged or has another ending.
    """
    check_path(path, ".safetensors")
    path = Path(path)
    sizes = path.with_suffix(".json")
    for file in (path, sizes):
        if not file.is_file():
            raise FileNotFoundError(
                f"there is no {file}: save the networks with save_networks(G, D, path) "
                "first; it writes a .safetensors and a .json file."
            )
    weights = path.read_bytes()
    try:
        facts = json.loads(sizes.read_text())
        if hashlib.sha256(weights).hexdigest() != facts["sha256"]:
            raise ValueError("the checksum is wrong")
        image_shape = tuple(facts["image_shape"])
        with torch.random.fork_rng(devices=[]):
            pair = (
                Generator(facts["latent_dim"], image_shape),
                Discriminator(image_shape),
            )
        nn.ModuleDict(zip("GD", pair, strict=True)).load_state_dict(load(weights))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        cause = str(error).partition("\n")[0].rstrip(".:")
        raise ValueError(
            f"{path} or the .json beside it is damaged ({cause}): delete both and save "
            "the networks again."
        ) from None
    G, D = (network.requires_grad_(False).eval() for network in pair)
    return G, D


def new_networks(
    config: TrainConfig, image_shape: tuple = (1, 28, 28)
) -> tuple[Generator, Discriminator]:
    """Return G and D with the orthogonal first weights that ``config.seed`` gives.

    The global random state is left as it was.

    Raises TypeError or ValueError when config is no TrainConfig, or for other shapes.
    """
    check_config(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        G = Generator(image_shape=image_shape).apply(init_orthogonal_)
        D = Discriminator(image_shape).apply(init_orthogonal_)
    return G, D


def networks_path(config: TrainConfig, images: Tensor) -> Path:
    """Return where the networks of this recipe on these images belong in the cache.

    The name is made from ganlib's version, every setting and the bytes of the images.

    Raises TypeError or ValueError when config is no TrainConfig, or images no images.
    """
    check_config(config)
    check_images(images)
    digest = hashlib.sha256(json.dumps([__version__, asdict(config)]).encode())
    digest.update(str(tuple(images.shape)).encode())
    digest.update(tensor_bytes(images))
    return cache_folder("networks") / f"{digest.hexdigest()[:16]}.safetensors"


def load_or_train(
    config: TrainConfig, images: Tensor
) -> tuple[Generator, Discriminator]:
    """Return the averaged G and the D of this recipe on images (N, C, H, W) in [-1, 1].

    They are loaded from the cache when they are there, and trained and saved when not.
    Says in one line which it was. Both are on the CPU, in eval mode and frozen.

    Raises what ``train`` raises, and KeyboardInterrupt when the training is stopped.
    """
    path = networks_path(config, images)
    try:
        pair = load_networks(path)
        print("Loaded the networks that were trained before.")
        return pair
    except FileNotFoundError:
        print(f"No trained networks here yet: training them, {config.steps} steps.")
    except ValueError:
        print(f"The stored networks are damaged: training anew, {config.steps} steps.")
    networks = new_networks(config, tuple(images.shape[1:]))
    G, D = (network.to(images.device) for network in networks)
    for record in train(G, D, images, config):
        averaged = record.averaged
    if record.step < config.steps:
        raise KeyboardInterrupt("stopped before the end: nothing was saved")
    averaged, D = averaged.cpu(), D.cpu().requires_grad_(False).eval()
    try:
        save_networks(averaged, D, path)
    except OSError as error:
        print(f"The networks could not be stored for next time ({error}).")
    return averaged, D


def _check_pair(G: nn.Module, D: nn.Module) -> None:
    """Refuse what ``load_networks`` could not bring back, or nobody wants back."""
    check_network(G, "G")
    check_network(D, "D")
    if tuple(D.image_shape) != tuple(G.image_shape):
        came, expected = f"D takes images of shape {D.image_shape}", f"{G.image_shape}"
        mend = f"pass Discriminator({G.image_shape})"
        raise wrong(ValueError, came, f"{expected}, which G draws", mend)
    with torch.device("meta"):
        known = Generator(G.latent_dim, G.image_shape), Discriminator(G.image_shape)
    for name, network, like in zip("GD", (G, D), known, strict=True):
        check_weights(network, like, name)
