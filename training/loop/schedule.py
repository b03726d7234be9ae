"""How fast the heads learn: warm-up and cosine, and weights averaged over steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


def rate_at(step: int, steps: int, *, peak: float, warmup: float) -> float:
    """The learning rate of step 0..steps-1: linear up over the share `warmup`, then half a cosine
    down to zero."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising + 1) / max(1, steps - rising + 1)))


class AveragedWeights:
    """An exponential average of the trained weights.

    decay: of one step; it begins smaller, so that the first weights are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = {
            name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Takes the weights of one more step in."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, weight in module.named_parameters():
            if name in self.average:
                self.average[name].lerp_(weight.detach(), 1 - decay)

    @contextmanager
    def used_by(self, module: nn.Module) -> Iterator[None]:
        """The module has the average for a while, then its own weights again."""
        own = {n: p.detach().clone() for n, p in module.named_parameters() if n in self.average}
        _copy(self.average, module)
        try:
            yield
        finally:
            _copy(own, module)

    def state(self) -> dict[str, object]:
        """What `restore` needs."""
        return {"updates": self.updates, "average": self.average}

    def restore(self, updates: int, average: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a saved state."""
        self.updates = updates
        for name, value in average.items():
            self.average[name].copy_(value)


@torch.no_grad()
def _copy(weights: Mapping[str, torch.Tensor], module: nn.Module) -> None:
    parameters = dict(module.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)
