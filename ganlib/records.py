"""What a training tells at one moment, and the way back to that moment."""

import copy
import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Record:
    """What a training tells at one moment; means run over the steps since the last."""

    step: int
    images_seen: int  # real ones
    seconds: float  # spent in steps, without what the notebook does in between
    d_loss: float
    g_loss: float
    d_real: float  # mean D(x), a probability
    d_fake: float  # mean D(G(z)), before G's update
    d_accuracy: float  # share of real and fake images that D puts on the right side
    averaged: nn.Module = field(repr=False)  # G's running average, the same every time


class Meter:
    """Keeps what the steps return; no step waits for a number to reach Python."""

    def __init__(self, batch_size: int, averaged: nn.Module):
        self.batch_size, self.averaged = batch_size, averaged
        self.kept: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self.steps = self.steps_before = 0
        self.seconds = 0.0
        self.go_on()

    def go_on(self) -> None:
        self.started = time.perf_counter()

    def add(self, verdict: tuple[Tensor, Tensor, Tensor], g_loss: Tensor) -> None:
        self.kept.append((*verdict, g_loss))
        self.steps += 1

    def record(self, step: int) -> Record:
        means = self._means()  # the one place where the device must catch up
        self.seconds += time.perf_counter() - self.started
        self.kept.clear()
        self.steps_before = self.steps
        seen = step * self.batch_size
        return Record(step, seen, self.seconds, *means, self.averaged)

    def _means(self) -> list[float]:
        if not self.kept:
            return [math.nan] * 5
        d_loss, real_logits, fake_logits, g_loss = map(
            torch.stack, zip(*self.kept, strict=True)
        )
        right = (real_logits > 0).float().mean() + (fake_logits < 0).float().mean()
        d_real, d_fake = real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()
        means = [d_loss.mean(), g_loss.mean(), d_real, d_fake, right / 2]
        return torch.stack(means).tolist()


class Snapshot:
    """The weights at a record, to go back to."""

    def __init__(self, step: int, networks: list[nn.Module]):
        self.step, self.networks = step, networks
        self.states = [copy.deepcopy(network.state_dict()) for network in networks]

    def restore(self) -> None:
        for network, state in zip(self.networks, self.states, strict=True):
            network.load_state_dict(state)
