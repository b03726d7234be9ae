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

"""Seconds of a command and of its stages.

On one CPU thread seconds are processor time of this process: other work on the machine then hardly
counts. On several threads, and on a GPU, they are wall-clock time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.progress import Progress

Seconds = dict[str, float]


class StageTimer:
    """Times commands, and the stages of those that report their progress to `on_stage`."""

    def __init__(self, grounder: Grounder) -> None:
        self._is_cuda = grounder.lmm.device.type == "cuda"
        self._stages: Seconds = {}
        self._stage, self._since = "", 0.0

    def now(self) -> float:
        """Seconds since some moment."""
        if self._is_cuda:
            torch.cuda.synchronize()
        is_alone = not self._is_cuda and torch.get_num_threads() == 1
        return time.process_time() if is_alone else time.perf_counter()

    def on_stage(self, progress: Progress) -> None:
        """A stage begins, or goes on."""
        now = self.now()
        self._close(now)
        self._stage, self._since = progress.stage.value, now

    def timed(self, run: Callable[[], object]) -> Seconds:
        """Runs a command: seconds of each stage it reported, and "total"."""
        self._stages, self._stage = {}, ""
        start = self.now()
        run()
        end = self.now()
        self._close(end)
        return {**self._stages, "total": end - start}

    def _close(self, now: float) -> None:
        if self._stage:
            self._stages[self._stage] = self._stages.get(self._stage, 0.0) + now - self._since
        self._stage = ""
