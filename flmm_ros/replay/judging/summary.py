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

"""summary.json: the numbers of a run, what it was made with, and whether they are good enough."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flmm_ros.engine.errors import ConfigError
from flmm_ros.replay.judging.judged_answer import JudgedAnswer, ResultError
from flmm_ros.replay.judging.metrics import flat, measure
from flmm_ros.replay.scenario import Scenario
from flmm_ros.report.machine import commit_of, package_version, processor_name

FORMAT = 1
PASSED, FAILED, DAMAGED = "passed", "failed", "damaged"
EXIT_CODES = {PASSED: 0, FAILED: 1, DAMAGED: 3}  # 2: it could not run at all
_ANY_STAGE = "times_ms."
_COUNTED = ("frames.dropped_", "frames.without_")


@dataclass(frozen=True)
class BagFacts:
    """One recording of a run.

    damage: why only its beginning was judged. error: why it was not evaluated at all. frames:
    counts of images, used and dropped by reason. status, missed: how it did by its own thresholds,
    and which of them it missed; empty where all recordings are held to the same. notes: what was
    left out, and why.
    """

    name: str
    path: str
    sha256: str
    damage: str
    frames: Mapping[str, Any]
    seconds: float
    cpu_percent: float | None = None
    rss_peak_mb: float | None = None
    error: str = ""
    status: str = ""
    missed: Sequence[str] = ()
    notes: Sequence[str] = ()


def summarise(
    rows: Sequence[JudgedAnswer],
    bags: Sequence[BagFacts],
    scenario: Scenario,
    made_with: Mapping[str, Any],
    at_best: str = PASSED,
) -> dict[str, Any]:
    """The content of summary.json.

    made_with: mode, model, parameters and whatever else a reader has to know. at_best: the status
    is not better than this one.

    Raises:
        ConfigError: a threshold names a metric that does not exist.
    """
    metrics: dict[str, Any] = measure(rows)
    metrics["frames"] = _frame_numbers(bags)
    metrics["resources"] = {
        "rss_peak_mb": max((b.rss_peak_mb for b in bags if b.rss_peak_mb), default=None),
        "cpu_percent": max((b.cpu_percent for b in bags if b.cpu_percent), default=None),
    }
    thresholds = _checked(scenario, flat(metrics))
    is_damaged = any(b.damage or b.error for b in bags) or at_best == DAMAGED
    is_met = all(t["is_met"] for t in thresholds) and at_best != FAILED
    return {
        "format": FORMAT,
        "status": FAILED if not is_met else DAMAGED if is_damaged else PASSED,
        "scenario": {
            "name": scenario.name,
            "path": str(scenario.path),
            "sha256": scenario.sha256,
        },
        **made_with,
        "machine": machine(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "rows": len(rows),
        "thresholds": thresholds,
        "metrics": metrics,
        "bags": [vars(bag) for bag in bags],
    }


def check_thresholds(scenario: Scenario) -> None:
    """Whether all metrics exist, before hours are spent on a run.

    Raises:
        ConfigError: naming the one that does not, and those that do.
    """
    _checked(scenario, flat({**measure(()), "frames": _frame_numbers(()), **_RESOURCES}))


_RESOURCES: dict[str, dict[str, float | None]] = {
    "resources": {"rss_peak_mb": None, "cpu_percent": None}
}


def _checked(scenario: Scenario, numbers: Mapping[str, float | None]) -> list[dict[str, Any]]:
    found = []
    for threshold in scenario.thresholds:
        name = threshold.metric
        if name not in numbers and not name.startswith((_ANY_STAGE, *_COUNTED)):
            raise ConfigError(
                f"thresholds: expected one of {', '.join(numbers)} or {_ANY_STAGE}STAGE.p50|p90|"
                f"p99|max, got {name!r}"
            )
        value = numbers.get(name)
        if value is None and name.startswith(_COUNTED):
            value = 0.0  # there was none
        found.append(
            {
                "metric": name,
                "rule": threshold.rule,
                "value": value,
                "is_met": threshold.is_met_by(value),
            }
        )
    return found


def _frame_numbers(bags: Sequence[BagFacts]) -> dict[str, float]:
    numbers: dict[str, float] = {"in_bag": 0, "used": 0}
    for bag in bags:
        numbers["in_bag"] += bag.frames["in_bag"]
        numbers["used"] += bag.frames["used"]
        for reason, count in bag.frames["dropped"].items():
            numbers[f"dropped_{reason}"] = numbers.get(f"dropped_{reason}", 0) + count
        for what, count in bag.frames.get("without", {}).items():
            numbers[f"without_{what}"] = numbers.get(f"without_{what}", 0) + count
    return numbers


def machine() -> dict[str, Any]:
    """On what, and with what, a run was made."""
    packages = ("torch", "transformers", "numpy", "rosbags")
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        **{name: package_version(name) for name in packages},
        "commit": commit_of(Path(__file__).resolve().parent),
    }


def write_summary(directory: Path, content: Mapping[str, Any]) -> Path:
    """Writes summary.json, all of it or nothing: a half-written one would count as a run."""
    path = directory / "summary.json"
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
    return path


def read_summary(directory: Path) -> dict[str, Any]:
    """The summary of a finished run.

    Raises:
        ResultError: there is none, or it is not one of ours.
    """
    path = directory / "summary.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultError(
            f"{directory}: expected a folder of a finished replay with summary.json, none there"
        ) from error
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: expected JSON, got: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ResultError(f"{path}: expected a summary of format {FORMAT}, got another file")
    return content
