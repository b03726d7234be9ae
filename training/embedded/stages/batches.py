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

"""Batches made ahead of the step that needs them, in worker processes, in order.

A batch is a function of its step, so that a resumed run, and one with more workers, sees the same.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


@dataclass(frozen=True)
class StagePlan:
    """How a stage trains: steps, images a step, the learning rate at its peak, the seed of its
    draws, and how many processes make batches ahead."""

    steps: int
    images: int
    peak_rate: float
    seed: int
    workers: int = 0

    @property
    def made_with(self) -> dict[str, float]:
        """What decides the numbers of a stage, for its checkpoint."""
        return {
            "steps": self.steps,
            "images": self.images,
            "peak_rate": self.peak_rate,
            "seed": self.seed,
        }


class _Steps(Dataset[T], Generic[T]):
    def __init__(self, make: Callable[[int], T], steps: range) -> None:
        self.make, self.steps = make, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> T:
        if index >= len(self.steps):
            raise IndexError(index)
        return self.make(self.steps[index])


def ahead(make: Callable[[int], T], steps: range, workers: int) -> Iterator[tuple[int, T]]:
    """Every step with what `make` makes of it; workers: 0 makes them here, one by one."""
    if workers == 0 or len(steps) == 0:
        yield from ((step, make(step)) for step in steps)
        return
    loader: DataLoader[T] = DataLoader(
        _Steps(make, steps),
        batch_size=None,
        num_workers=min(workers, len(steps)),
        collate_fn=_as_it_is,
        prefetch_factor=4,
        multiprocessing_context=multiprocessing.get_context("fork"),  # `make` holds the scenes
    )
    yield from zip(steps, loader, strict=True)


def _as_it_is(item: T) -> T:
    return item
