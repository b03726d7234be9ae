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

"""How many CPU threads PyTorch uses."""

from __future__ import annotations

import os

import torch


def use_threads(count: int) -> None:
    """Sets the threads of this process; 0: `default_threads`, unless OMP_NUM_THREADS is set."""
    if count or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(count or default_threads())


def default_threads() -> int:
    """Half of the cores that this process may use, at least one.

    All threads wait for the slowest at the end of each operation. With as many threads as cores,
    one core that something else uses makes every operation wait: a command of the embedded model
    took 0.3 s with one thread and 2.8 s with two, on two cores that were in use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // 2)
