"""Several processes that train one pair of networks: each takes its share of a batch.

``torchrun --nproc-per-node 2 -m ganlib train …`` starts them, on one machine or more.
All draw the same noise and the same order of images, and each keeps its own rows. Then
gradients are averaged before each optimizer step, so all take the same step, and their
weights stay equal bit for bit. BatchNorm normalizes each share by itself; its running
statistics, like gradients, become those of all shares.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlib.checks import wrong


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun started, if it did; yield the device to use.

    They communicate over gloo on CPUs, over nccl on GPUs, one GPU for each process.
    """
    if "RANK" not in os.environ:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if "cuda" in device else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process; 0 is the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def own_rows(batch: Tensor) -> Tensor:
    """Return the rows of a batch (N, …) that are this process's: every nth.

    Raises ValueError unless all get as many, two or more (for BatchNorm).
    """
    if not dist.is_initialized():
        return batch
    count = dist.get_world_size()
    share = max(2, math.ceil(len(batch) / count))
    if len(batch) != share * count:
        got, fix = f"batch_size is {len(batch)}", f"write {share * count}"
        raise wrong(ValueError, got, f"two or more for each of {count} processes", fix)
    return batch[rank() :: count]


def connect(network: nn.Module, optimizer: Optimizer) -> None:
    """Give the network the weights of process 0, and let all take the same steps.

    Before each step, gradients and BatchNorm's statistics become their means over all
    processes. As in DistributedDataParallel, that is the gradient of the mean loss; as
    it is done to whatever gradients there are, penalties and turns stay as they are.
    """
    if not dist.is_initialized():
        return
    for values in network.state_dict().values():
        dist.broadcast(values, 0)

    def average(*_step: object) -> None:
        found = [w.grad for w in network.parameters() if w.grad is not None]
        found += [b for b in network.buffers() if b.is_floating_point()]
        flat = torch.cat([values.flatten() for values in found])  # one message
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        parts = flat.split([values.numel() for values in found])
        for values, mean in zip(found, parts, strict=True):
            values.copy_(mean.view_as(values))

    optimizer.register_step_pre_hook(average)
