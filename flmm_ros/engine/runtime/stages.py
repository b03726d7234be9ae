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

"""Says which stage a command is in, and measures how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flmm_ros.engine.progress import Progress, ProgressCallback, Stage


class StageClock:
    """One command's progress and timings. Whatever the callback raises stops the command."""

    def __init__(self, on_stage: ProgressCallback | None) -> None:
        self._on_stage = on_stage
        self._spent_ms: dict[str, float] = {}
        self._start = time.perf_counter()

    @property
    def check(self) -> Callable[[], None] | None:
        """What the callback wants to be asked within a stage, if anything."""
        return getattr(self._on_stage, "check", None)

    @property
    def is_watched(self) -> bool:
        """Whether anybody listens; partial texts need not be made otherwise."""
        return self._on_stage is not None

    def report(self, stage: Stage, partial_text: str = "") -> None:
        """Tells the callback, if there is one."""
        if self._on_stage is not None:
            self._on_stage(Progress(stage, partial_text))

    @contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        """Reports a stage before it starts, and adds up the time spent in it."""
        self.report(stage)
        start = time.perf_counter()
        yield
        spent = (time.perf_counter() - start) * 1e3
        self._spent_ms[stage.value] = self._spent_ms.get(stage.value, 0.0) + spent

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds of each stage that ran, and "total" since the clock was made."""
        return {**self._spent_ms, "total": (time.perf_counter() - self._start) * 1e3}
