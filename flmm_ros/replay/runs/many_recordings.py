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

"""Many recordings: each is evaluated once by one of several workers, then all are summed up.

A run that was interrupted goes on where it stopped: recordings whose results are there, made with
the same scenario, model and settings, are not done again. Workers are processes of this machine
(pool.py) or of a Ray cluster (ray_pool.py); recordings and results lie where all of them can reach
them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flmm_ros.engine.errors import ConfigError, FlmmError
from flmm_ros.replay.judging.judged_answer import JudgedAnswer, ResultError
from flmm_ros.replay.judging.metrics import described
from flmm_ros.replay.judging.summary import DAMAGED, FAILED, PASSED, BagFacts, read_summary
from flmm_ros.replay.recording.bag import Bag
from flmm_ros.replay.recording.bag_files import storage_files_in
from flmm_ros.replay.runs.evaluate import ReplaySettings, conclude, evaluate, rows_in
from flmm_ros.replay.runs.worker_pool import FinishedTask, RecordingTask, WorkerPool
from flmm_ros.replay.scenario import Scenario, load_scenario


class BagWorker:
    """What one worker does, task by task; it loads the model once."""

    def __init__(self, settings: ReplaySettings, share: int = 0) -> None:
        """share: how many workers share this machine's cores; 0 = not known."""
        threads = max(1, (os.cpu_count() or 1) // share) if share else 0
        self._config = settings.grounder_config()
        if threads and not self._config.threads:
            self._config = dataclasses.replace(self._config, threads=threads)
        self._settings = settings
        self._grounder: Any = None

    def do(self, task: RecordingTask) -> str:
        """Evaluates one recording; returns why it could not, or nothing."""
        from flmm_ros.engine.grounder import Grounder  # seconds, and only workers need it

        try:
            if self._grounder is None:
                self._grounder = Grounder.from_config(self._config)
            evaluate(
                Path(task.bag),
                load_scenario(task.scenario),
                self._settings,
                self._grounder,
                Path(task.out),
                name=task.name,
            )
        except FlmmError as error:
            return str(error)
        return ""


def is_folder_of_bags(path: Path) -> bool:
    """Whether a folder holds recordings instead of being one."""
    if not path.is_dir() or (path / "metadata.yaml").is_file():
        return False
    return not storage_files_in(path) and bool(find_bags(path))


def find_bags(folder: Path) -> list[Path]:
    """All recordings below a folder: those with metadata, and those that were not finished."""
    folders = (p for p in folder.rglob("*") if p.is_dir() and storage_files_in(p))
    return sorted(folders)


def make_tasks(folder: Path, scenario: Path | None, out: Path) -> list[RecordingTask]:
    """A task for every recording of a folder.

    scenario: for all of them; None: the folder's scenario.yaml, or each recording's own.

    Raises:
        ConfigError: one has no scenario.
    """
    common = scenario or folder / "scenario.yaml"
    tasks = []
    for bag in find_bags(folder):
        own = common if common.is_file() else bag / "scenario.yaml"
        if not own.is_file():
            raise ConfigError(
                f"{bag}: expected --scenario S.yaml, {folder / 'scenario.yaml'} or {own}, got none"
            )
        name = "__".join(bag.relative_to(folder).parts)
        paths = (bag.resolve(), own.resolve(), (out / "bags" / name).resolve())
        tasks.append(RecordingTask(name, *map(str, paths)))
    return tasks


def is_done(task: RecordingTask, settings: ReplaySettings) -> bool:
    """Whether the results of a task are there already, and made in the same way."""
    try:
        summary = read_summary(Path(task.out))
        with Bag(task.bag) as bag:
            fingerprint = settings.fingerprint(bag.sha256(), load_scenario(task.scenario))
    except FlmmError:  # no results, or a recording that is reported when it is evaluated
        return False
    return bool(summary.get("fingerprint") == fingerprint)


def evaluate_many(
    tasks: Sequence[RecordingTask],
    scenario: Scenario | None,
    settings: ReplaySettings,
    pool: WorkerPool,
    out: Path,
    on_finished: Callable[[FinishedTask], None] = lambda finished: None,
) -> dict[str, Any]:
    """Does what is not done yet and returns the content of the summary over all.

    scenario: the common one, whose thresholds hold for the sum; None: every recording is held to
    the thresholds of its own.

    Raises:
        ConfigError: there are no recordings.
    """
    if not tasks:
        raise ConfigError("expected at least one recording, found none")
    out.mkdir(parents=True, exist_ok=True)
    waiting = []
    for task in tasks:
        if is_done(task, settings):
            on_finished(FinishedTask(task))
        else:
            waiting.append(task)
    errors = dict(_errors(pool.run(waiting), on_finished))
    return _sum_up(tasks, errors, scenario, settings, out)


def _errors(
    finished: Iterable[FinishedTask], on_finished: Callable[[FinishedTask], None]
) -> Iterator[tuple[str, str]]:
    for each in finished:
        on_finished(each)
        if each.error:
            yield each.task.name, each.error


def _sum_up(
    tasks: Sequence[RecordingTask],
    errors: dict[str, str],
    scenario: Scenario | None,
    settings: ReplaySettings,
    out: Path,
) -> dict[str, Any]:
    facts, statuses, made_with = [], [PASSED], {"mode": settings.mode, "model": settings.model}
    rows: list[JudgedAnswer] = []
    for task in tasks:
        try:
            if task.name in errors:
                raise ResultError(errors[task.name])
            summary = read_summary(Path(task.out))
            rows += rows_in(Path(task.out))
        except ResultError as error:
            facts.append(_not_evaluated(task, str(error)))
            continue
        found = BagFacts(**summary["bags"][0])
        if scenario is None:
            found = dataclasses.replace(found, status=summary["status"], missed=_missed(summary))
        facts.append(found)
        statuses.append(summary["status"])
        made_with |= {key: summary[key] for key in ("model", "model_version", "parameters")}
    scenarios = {task.name: load_scenario(task.scenario) for task in tasks}
    together = scenario or Scenario(name=out.name, commands=())
    at_best = PASSED if scenario else max(statuses, key=[PASSED, DAMAGED, FAILED].index)
    return conclude(out, rows, facts, together, made_with, scenarios=scenarios, at_best=at_best)


def _not_evaluated(task: RecordingTask, error: str) -> BagFacts:
    frames: dict[str, Any] = {"in_bag": 0, "used": 0, "dropped": {}}
    return BagFacts(task.name, task.bag, "", "", frames, 0.0, error=error)


def _missed(summary: dict[str, Any]) -> tuple[str, ...]:
    """The thresholds a recording missed, with what was measured."""
    return tuple(
        f"{t['metric']} {t['rule']}: {described(t['value'])}"
        for t in summary["thresholds"]
        if not t["is_met"]
    )
