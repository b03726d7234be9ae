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

"""Evaluates one recording into a folder: result.jsonl line by line, then summary and report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flmm_ros.engine.config import GrounderConfig, with_overrides
from flmm_ros.replay.judging.judged_answer import JudgedAnswer, read_rows, to_json
from flmm_ros.replay.judging.summary import PASSED, BagFacts, summarise, write_summary
from flmm_ros.replay.pages.run_page import write_report
from flmm_ros.replay.recording.bag import Bag
from flmm_ros.replay.recording.bag_topics import check_topics, image_topic
from flmm_ros.replay.runs.lockstep import replay_lockstep
from flmm_ros.replay.runs.process_usage import ProcessUsage
from flmm_ros.replay.runs.run_fingerprint import model_version, run_fingerprint
from flmm_ros.replay.runs.schedule import FrameCounts
from flmm_ros.replay.scenario import Scenario

if TYPE_CHECKING:
    from flmm_ros.engine.grounder import Grounder

LOCKSTEP, ONLINE = "lockstep", "online"
OnAnswer = Callable[
    [JudgedAnswer, FrameCounts, int], None
]  # the row, frames so far, frames there are


@dataclass(frozen=True)
class ReplaySettings:
    """What a run is made with. overrides: "key=value" of GrounderConfig."""

    model: str = "tabletop"
    overrides: tuple[str, ...] = ()
    mode: str = LOCKSTEP

    def grounder_config(self) -> GrounderConfig:
        """For the engine.

        Raises:
            ConfigError: an override that cannot be used.
        """
        return with_overrides(GrounderConfig(model=self.model), list(self.overrides))

    def fingerprint(self, bag_sha256: str, scenario: Scenario) -> str:
        """The same for two runs that have to give the same results."""
        return run_fingerprint(self.grounder_config(), self.mode, bag_sha256, scenario)


def evaluate(
    bag_path: Path,
    scenario: Scenario,
    settings: ReplaySettings,
    grounder: Grounder,
    out: Path,
    on_row: OnAnswer = lambda row, counts, total: None,
    *,
    name: str = "",
) -> dict[str, Any]:
    """Looks at a whole recording in lockstep and returns the content of summary.json.

    name: of the recording in the results; empty: that of its folder. Whatever ends it early, the
    rows so far are in `out`; a damaged recording ends at its damage and says so in the summary.

    Raises:
        FlmmError: the recording cannot be read, or has not what the scenario names.
    """
    with Bag(bag_path, name) as bag:
        check_topics(bag, scenario)
        total, sha256 = bag.topics[image_topic(bag, scenario)].count, bag.sha256()
        counts, clock = FrameCounts(), ProcessUsage(os.getpid())
        rows = replay_lockstep(bag, scenario, grounder, counts)
        found = store_rows(rows, out, lambda row: on_row(row, counts, total))
        facts = facts_of(bag, sha256, counts, clock, found)
    made_with = {
        "mode": settings.mode,
        "model": grounder.model_name,
        "model_version": model_version(settings.model),
        "parameters": asdict(grounder.config),
        "fingerprint": settings.fingerprint(sha256, scenario),
    }
    return conclude(out, found, [facts], scenario, made_with)


def store_rows(
    rows: Iterable[JudgedAnswer], out: Path, on_row: Callable[[JudgedAnswer], None]
) -> list[JudgedAnswer]:
    """Writes each row as it comes, and gives all of them back."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").unlink(missing_ok=True)  # of an earlier run: this one is not done
    found: list[JudgedAnswer] = []
    with (out / "result.jsonl").open("w", encoding="utf-8", buffering=1) as lines:
        for row in rows:
            lines.write(to_json(row) + "\n")
            found.append(row)
            on_row(row)
    return found


def facts_of(
    bag: Bag, sha256: str, counts: FrameCounts, usage: ProcessUsage, rows: Sequence[JudgedAnswer]
) -> BagFacts:
    """What a run over one recording used and lost."""
    return BagFacts(
        name=bag.name,
        path=str(bag.path),
        sha256=sha256,
        damage=bag.damage,
        frames={
            "in_bag": counts.in_bag,
            "used": counts.used,
            "dropped": {reason: n for reason, n in counts.dropped.items() if n},
            "without": dict(counts.gaps),
        },
        notes=(*bag.notes, *counts.gap_notes()),
        seconds=round(usage.seconds, 3),
        cpu_percent=usage.cpu_percent,
        rss_peak_mb=max((r.rss_mb for r in rows if r.rss_mb is not None), default=None),
    )


def conclude(
    out: Path,
    rows: Sequence[JudgedAnswer],
    bags: Sequence[BagFacts],
    scenario: Scenario,
    made_with: Mapping[str, Any],
    *,
    scenarios: Mapping[str, Scenario] | None = None,
    at_best: str = PASSED,
) -> dict[str, Any]:
    """Sums up, writes summary.json and the report, and returns the summary.

    scenarios: of each recording by name, where they are not all the same.
    """
    summary = summarise(rows, bags, scenario, made_with, at_best)
    own = scenarios or {}
    sources = {bag.name: (Path(bag.path), own.get(bag.name, scenario)) for bag in bags}
    write_report(out, summary, rows, sources)
    write_summary(out, summary)  # last: where it is, everything is
    return summary


def rows_in(directory: Path) -> Iterator[JudgedAnswer]:
    """The rows of a run over one recording or over many.

    Raises:
        ResultError: there are none, or they are broken.
    """
    single = directory / "result.jsonl"
    many = sorted(directory.glob("bags/*/result.jsonl"))
    for path in many or [single]:
        yield from read_rows(path)
