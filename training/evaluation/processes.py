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

"""Several processes measure one data set: who does what, and everything together at the end.

Started by `torchrun --nproc-per-node N -m training.evaluate ...`. Samples are dealt out like cards,
so that shards may be uneven; cases are gathered whole and put into the data set's order, so that N
processes give the numbers of one to the last bit. Gathering goes over gloo: a few counts a phrase
need no GPU.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import distributed

from flmm_ros.engine.errors import ConfigError
from training.evaluation.cases import Case

T = TypeVar("T")
_PATIENCE = timedelta(hours=6)  # the fastest process waits for the slowest shard


@dataclass(frozen=True)
class EvaluationProcess:
    """This one of `count` processes; `local` is its number on this machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @classmethod
    def from_environment(cls) -> EvaluationProcess:
        """What torchrun says; a single process without it.

        Raises:
            ConfigError: torchrun's variables are incomplete or no numbers.
        """
        try:
            count = int(os.environ.get("WORLD_SIZE", "1"))
            if count == 1:
                return cls()
            return cls(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"WORLD_SIZE, RANK, LOCAL_RANK: expected the numbers torchrun sets, got {error}; "
                "start several processes with torchrun --nproc-per-node N -m training.evaluate"
            ) from error

    @property
    def is_first(self) -> bool:
        """Whether this one talks to people and writes files."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """The device for this process: with "auto" or "cuda" every process takes its own GPU."""
        if self.count > 1 and wanted in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return wanted

    def share(self, indices: Sequence[int]) -> list[int]:
        """This process's part of `indices`: every `count`-th one."""
        return list(indices[self.rank :: self.count])

    def __enter__(self) -> EvaluationProcess:
        if self.count > 1:
            distributed.init_process_group("gloo", timeout=_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        if self.count > 1:
            distributed.destroy_process_group()

    def gather(self, own: Sequence[T]) -> list[T]:
        """What all processes hold, one process after another; the same list in every process."""
        if self.count == 1:
            return list(own)
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, list(own))
        return [item for part in parts for item in part]


def in_order(cases: Sequence[Case]) -> list[Case]:
    """Gathered cases as they stand in the data set.

    Raises:
        ValueError: a phrase was measured twice; the numbers would be wrong.
    """
    ordered = sorted(cases, key=lambda case: case.place)
    for one, following in pairwise(ordered):
        if one.place == following.place:
            raise ValueError(f"expected every phrase once, got {one.key} phrase {one.number} twice")
    return ordered
