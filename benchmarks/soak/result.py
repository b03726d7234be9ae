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

"""What a soak measured, the requirements it has to meet, and all of it as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.soak.disturbances import DisturbanceResult
from benchmarks.soak.event_log import CommandTotals, StaleAnswers, percentile
from benchmarks.soak.soak_process import ProcessSample, growth_percent

MAX_CANCEL_MS = 200.0
MAX_GROWTH_PERCENT = 2.0


@dataclass(frozen=True)
class SoakCheck:
    """One requirement: what was measured and the most it may be. NaN: nothing was measured, which
    fails unless the check is optional."""

    name: str
    value: float
    most: float
    is_optional: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the requirement is met."""
        return self.is_optional if math.isnan(self.value) else self.value <= self.most


@dataclass(frozen=True)
class SoakResult:
    """Everything a soak has measured. Times are monotonic seconds; the soak began at start_s.

    failure: why it ended early, for example because the node ended by itself.
    """

    start_s: float
    minutes: float
    settings: dict[str, Any]
    machine: dict[str, Any]
    count: CommandTotals
    stale: StaleAnswers
    events: Sequence[DisturbanceResult]
    samples: Sequence[ProcessSample]
    unanswered_probes: int
    failure: str = ""

    @property
    def checks(self) -> tuple[SoakCheck, ...]:
        """The requirements. Memory growth is only measured where one process lives long enough."""
        return (
            SoakCheck("commands lost", len(self.count.lost), 0),
            SoakCheck(
                "answers without a command, or twice", sum(self.count.unexpected.values()), 0
            ),
            SoakCheck("stale results", sum(self.stale.by_reason.values()), 0),
            SoakCheck(
                "cancel latency p99, ms", percentile(self.count.cancel_ms, 99), MAX_CANCEL_MS
            ),
            SoakCheck(
                "memory growth after warm-up, %",
                growth_percent(self.samples),
                MAX_GROWTH_PERCENT,
                is_optional=True,
            ),
            SoakCheck(
                "disturbances not named by diagnostics",
                sum(event.diagnosed == "" for event in self.events),
                0,
            ),
            SoakCheck(
                "disturbances not recovered from",
                sum(event.recovered_s is None for event in self.events),
                0,
            ),
        )

    @property
    def is_passed(self) -> bool:
        """Every requirement is met, and the soak ran to its end."""
        return not self.failure and all(check.is_met for check in self.checks)


def to_json(result: SoakResult) -> dict[str, Any]:
    """Everything but the timeline. NaN is no JSON: what was not measured is None."""
    count = asdict(result.count)
    del count["timeline"]
    content = {
        "is_passed": result.is_passed,
        "minutes": result.minutes,
        "failure": result.failure,
        "settings": result.settings,
        "machine": result.machine,
        "checks": [{**asdict(check), "is_met": check.is_met} for check in result.checks],
        "cancel_latency_ms": {p: percentile(result.count.cancel_ms, p) for p in (50, 90, 99)},
        "commands": count,
        "stale": {"by_reason": result.stale.by_reason, "examples": result.stale.examples},
        "events": [
            {**asdict(event), "at_s": event.at_s - result.start_s} for event in result.events
        ],
        "memory_mib": [
            {"at_s": round(s.at_s - result.start_s, 1), "life": s.life, "rss": round(s.rss_mib, 1)}
            for s in result.samples
        ],
    }
    return _without_nan(content)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
