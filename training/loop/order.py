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

"""Which sample comes when: the same for any number of processes, and known for every step.

Each epoch is a permutation drawn from the seed; a step takes the next `batch * accumulate *
processes` of it. Nothing is remembered between steps, so a run goes on from any step exactly, and
no process sees what another one does in the same epoch. What an epoch leaves over is less than a
step and differs from epoch to epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import ConfigError

Draw = tuple[int, int]  # epoch, index of a sample


@dataclass(frozen=True)
class SampleOrder:
    """The order of `count` samples. batch: samples a process and forward; accumulate: forwards a
    step; processes, rank: how many there are, and which one this is."""

    count: int
    batch: int
    accumulate: int = 1
    processes: int = 1
    rank: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < self.samples_a_step:
            raise ConfigError(
                f"data: expected at least {self.samples_a_step} samples (batch {self.batch} x "
                f"accumulate {self.accumulate} x {self.processes} processes), got {self.count}; "
                "make batch or accumulate smaller"
            )

    @property
    def samples_a_step(self) -> int:
        """Of all processes together."""
        return self.batch * self.accumulate * self.processes

    @property
    def identity(self) -> dict[str, int]:
        """What decides which samples a step has, whatever number of processes shares them."""
        return {"count": self.count, "seed": self.seed, "samples_a_step": self.samples_a_step}

    @property
    def steps_an_epoch(self) -> int:
        """Whole steps only."""
        return self.count // self.samples_a_step

    def draws(self, step: int) -> list[list[Draw]]:
        """What this process takes in a step: `accumulate` lists of `batch` draws."""
        epoch, within = divmod(step, self.steps_an_epoch)
        start = within * self.samples_a_step
        chosen = _permutation(self.count, self.seed, epoch)[start : start + self.samples_a_step]
        mine = chosen.reshape(self.accumulate, self.processes, self.batch)[:, self.rank]
        return [[(epoch, int(index)) for index in forward] for forward in mine]


class StepRange:
    """The forwards of steps first..stop one after another: a batch sampler of a DataLoader."""

    def __init__(self, order: SampleOrder, first: int, stop: int) -> None:
        self.order, self.first, self.stop = order, first, stop

    def __len__(self) -> int:
        return (self.stop - self.first) * self.order.accumulate

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.first, self.stop):
            yield from self.order.draws(step)


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
