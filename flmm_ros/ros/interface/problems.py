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

"""Everything that /diagnostics can complain about, each sentence once.

docs/troubleshooting.md has an entry for each, under the very template; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Problem(Enum):
    """A sentence with blanks. It says what is wrong and, where that is short, what to do."""

    TRANSITION_FAILED = "{transition} failed: {reason}"
    NO_PUBLISHER = "nobody publishes {topic}; remap image:=<camera topic>"
    MISMATCH = "no image on {topic} from {publisher}: {why}"
    SILENT_PUBLISHER = "no image on {topic} yet from {publishers}, which would match"
    STALE_IMAGE = "the newest image on {topic} is {age_s:.1f} s old; {publishers}"
    FUTURE_IMAGE = (
        "the newest image on {topic} is stamped {ahead_s:.1f} s in the future; compare the clocks "
        "of camera and node, and use_sim_time"
    )
    FAILING = "the last {count} commands failed inside the model: {reason}"
    LONG_COMMAND = "a command has been at work for {busy_s:.0f} s"
    FULL_QUEUE = "{waiting} commands wait, no more may; see the parameters busy and max_queue"
    LITTLE_MEMORY = "only {free_mib:.0f} MiB of memory are free on this machine"


@dataclass(frozen=True)
class Complaint:
    """A problem that is there, its blanks filled in."""

    problem: Problem
    text: str

    @classmethod
    def of(cls, problem: Problem, **values: object) -> Complaint:
        """A problem with its blanks filled in."""
        return cls(problem, problem.value.format(**values))

    @property
    def is_error(self) -> bool:
        """Nothing works while it lasts; the others are warnings."""
        return self.problem in (Problem.TRANSITION_FAILED, Problem.FAILING)


# What the node says of itself where there is no problem, by lifecycle state.
STATES = {
    "unconfigured": "unconfigured: no model is loaded; configure the node",
    "inactive": "inactive: the model is loaded; activate the node to take commands",
    "active": "active",
    "configuring": "configuring: the model is being loaded",
    "finalized": "finalized: the node has ended",
}
