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

"""The engine's progress callback for one job."""

from __future__ import annotations

from flmm_ros.engine.errors import Cancelled
from flmm_ros.engine.progress import Progress
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.commands.worker import Job


class JobProgress:
    """Passes progress on to whoever asked, and ends the work where the job should end. The engine
    calls `check` also between the layers within a stage."""

    def __init__(self, job: Job[Command]) -> None:
        self._job = job

    def __call__(self, progress: Progress) -> None:
        """A stage begins, or the answer has grown."""
        self.check()
        self._job.request.on_progress(progress.stage.value, progress.partial_text)

    def check(self) -> None:
        """Raises Cancelled with the reason's name."""
        reason = self._job.stop_reason()
        if reason is not None:
            raise Cancelled(reason.value)
