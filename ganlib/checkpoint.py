"""Generators on disk: saved whole or not at all, and checked when they come back."""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import pooch
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ganlib import __version__
from ganlib.checks import check_images, check_network, check_path, wrong
from ganlib.models import Discriminator, Generator, init_orthogonal_
from ganlib.training import TrainConfig, check_config, train


def save_generator(G: Generator, path: str | Path) -> None:
    """Write G's weights to ``path`` (.safetensors) and its sizes to a .json beside it.

    Both files are moved in place when they are complete; the second holds the SHA-256
    of the first.

    Raises TypeError or ValueError for what is no ``Generator`` or has diverged, and for
    another ending.
    """
    check_network(G, "G")
    check_path(path, ".safetensors")
    _check_weights(G)
    path = Path(path)
    weights = save({name: value.cpu() for name, value in G.state_dict().items()})
    facts = {
        "latent_dim": G.latent_dim,
        "image_shape": list(G.image_shape),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_atomically(path, weights)
    _write_atomically(path.with_suffix(".json"), json.dumps(facts, indent=2).encode())


def load_generator(path: str | Path) -> Generator:
    """Return the generator saved under ``path``: on the CPU, in eval mode, frozen.

    Raises FileNotFoundError when it is not there, ValueError when it is damaged or has
    another ending.
    """
    check_path(path, ".safetensors")
    path = Path(path)
    sizes = path.with_suffix(".json")
    for file in (path, sizes):
        if not file.is_file():
            raise FileNotFoundError(
                f"there is no {file}: save a generator with save_generator(G, path) "
                "first; it writes a .safetensors and a .json file."
            )
    weights = path.read_bytes()
    try:
        facts = json.loads(sizes.read_text())
        if hashlib.sha256(weights).hexdigest() != facts["sha256"]:
            raise ValueError("the checksum is wrong")
        with torch.random.fork_rng(devices=[]):
            G = Generator(facts["latent_dim"], tuple(facts["image_shape"]))
        G.load_state_dict(load(weights))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        cause = str(error).partition("\n")[0].rstrip(".:")
        raise ValueError(
            f"{path} or the .json beside it is damaged ({cause}): delete both and save "
            "the generator again."
        ) from None
    return G.requires_grad_(False).eval()


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


def generator_path(config: TrainConfig, images: Tensor) -> Path:
    """Return where the generator of this recipe on these images belongs in the cache.

    The name is made from ganlib's version, every setting and the bytes of the images.

    Raises TypeError or ValueError when config is no TrainConfig, or images no images.
    """
    check_config(config)
    check_images(images)
    digest = hashlib.sha256(json.dumps([__version__, asdict(config)]).encode())
    digest.update(str(tuple(images.shape)).encode())
    pixels = images.detach().cpu().contiguous()
    digest.update(pixels.view(torch.uint8).numpy())  # NumPy has no bfloat16
    folder = os.environ.get("GANLIB_CACHE") or pooch.os_cache("ganlib")
    return Path(folder) / "generators" / f"{digest.hexdigest()[:16]}.safetensors"


def load_or_train(config: TrainConfig, images: Tensor) -> Generator:
    """Return the averaged generator of this recipe on images (N, C, H, W) in [-1, 1].

    It is loaded from the cache when it is there, and trained and saved when not. Says
    in one line which it was. The result is on the CPU and in eval mode.

    Raises what ``train`` raises, and KeyboardInterrupt when the training is stopped.
    """
    path = generator_path(config, images)
    try:
        G = load_generator(path)
        print("Loaded the generator that was trained before.")
        return G
    except FileNotFoundError:
        print(f"No trained generator here yet: training one, {config.steps} steps.")
    except ValueError:
        print(f"The stored generator is damaged: training one, {config.steps} steps.")
    networks = new_networks(config, tuple(images.shape[1:]))
    G, D = (network.to(images.device) for network in networks)
    for record in train(G, D, images, config):
        averaged = record.averaged
    if record.step < config.steps:
        raise KeyboardInterrupt("stopped before the end: nothing was saved")
    averaged = averaged.cpu()
    try:
        save_generator(averaged, path)
    except OSError as error:
        print(f"The generator could not be stored for next time ({error}).")
    return averaged


def _check_weights(G: nn.Module) -> None:
    """Refuse what ``load_generator`` could not bring back, or nobody wants back."""
    weights = G.state_dict()
    with torch.device("meta"):
        known = Generator(G.latent_dim, G.image_shape).state_dict()
    shapes = [{k: v.shape for k, v in state.items()} for state in (weights, known)]
    if shapes[0] != shapes[1]:
        came, mend = type(G).__name__, "write torch.save(G.state_dict(), path)"
        came, expected = f"G came as {came} with other layers", "ganlib's Generator"
        raise wrong(TypeError, came, expected, mend)
    if not all(values.isfinite().all() for values in weights.values()):
        mend = "train it again with a lower lr_g and lr_d"
        raise wrong(ValueError, "G holds NaN or infinite weights", "numbers", mend)


def _write_atomically(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
