# Copyright 2026 flmm_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""How fast the heads learn: warm-up and cosine, and weights averaged over steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import get_cosine_schedule_with_warmup


def rate_schedule(
    optimizer: torch.optim.Optimizer, steps: int, *, peak: float, warmup: float
) -> Callable[[int], float]:
    """The learning rate of step 0..steps-1: linear up over the share `warmup`, then half a cosine.

    A function of the step, so that a run goes on anywhere. The first step learns already and the
    last one still does: transformers' schedule has the rate 0 one step before and one after.
    """
    rising = max(1, round(steps * warmup))
    (share,) = get_cosine_schedule_with_warmup(optimizer, rising, steps + 1).lr_lambdas
    return lambda step: peak * float(share(step + 1))


class AveragedWeights:
    """An exponential average of the trained weights.

    decay: of one step; it begins smaller, so that the first weights are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        def averaged(
            average: torch.Tensor, weight: torch.Tensor, count: torch.Tensor | int
        ) -> torch.Tensor:
            steps = int(count)
            return average.lerp(weight, 1 - min(decay, (1 + steps) / (10 + steps)))

        trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._names = list(trained)
        self._model = AveragedModel(nn.ParameterList(trained.values()), avg_fn=averaged)
        self._count.fill_(1)  # the first weights count as one step: they are averaged, not copied

    @property
    def _count(self) -> torch.Tensor:
        count: torch.Tensor = self._model.n_averaged
        return count

    @property
    def updates(self) -> int:
        """Steps that were averaged."""
        return int(self._count) - 1

    @property
    def average(self) -> dict[str, torch.Tensor]:
        """The averaged weights by name."""
        return dict(zip(self._names, self._model.module.parameters(), strict=True))

    def update(self, module: nn.Module) -> None:
        """Takes the weights of one more step in."""
        weights = dict(module.named_parameters())
        self._model.update_parameters(nn.ParameterList(weights[n] for n in self._names))

    @contextmanager
    def used_by(self, module: nn.Module) -> Iterator[None]:
        """The module has the average for a while, then its own weights again."""
        parameters = dict(module.named_parameters())
        own = {n: parameters[n].detach().clone() for n in self._names}
        _copy(self.average, parameters)
        try:
            yield
        finally:
            _copy(own, parameters)

    def restore(self, updates: int, average: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a saved state."""
        self._count.fill_(updates + 1)
        _copy(average, self.average)


@torch.no_grad()
def _copy(weights: Mapping[str, torch.Tensor], into: Mapping[str, torch.Tensor]) -> None:
    for name, value in weights.items():
        into[name].copy_(value)
