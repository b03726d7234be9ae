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

"""`flmm replay`: how well, and how fast, are the recordings of a robot's camera understood?

    python -m flmm_sim.recording out/mugs                     # something to replay
    flmm replay out/mugs                                      # its own scenario.yaml
    flmm replay BAG --scenario S.yaml                         # every image once, without ROS
    flmm replay BAG --scenario S.yaml --mode online --rate 1  # into the running node
    flmm replay FOLDER_OF_BAGS --scenario S.yaml --workers 4
    flmm replay compare out/replay/a out/replay/b

Writes result.jsonl, summary.json and index.html. The exit status is 0 where every threshold of the
scenario is met, 1 where one is not, 2 where it could not run, 3 where a recording is damaged and
only its beginning was judged. See docs/replay.md.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from typer.core import TyperGroup

from flmm_ros.cli.command_line import ros_arguments, run_app
from flmm_ros.engine.errors import ConfigError

try:
    from flmm_ros.replay.judging.judged_answer import JudgedAnswer
    from flmm_ros.replay.judging.summary import check_thresholds
    from flmm_ros.replay.pages.comparison import compare as compare_runs
    from flmm_ros.replay.pages.comparison import render_comparison, worse
    from flmm_ros.replay.recording.bag import Bag, BagError
    from flmm_ros.replay.recording.bag_topics import check_topics
    from flmm_ros.replay.run_summary import show_comparison, show_run
    from flmm_ros.replay.runs.evaluate import LOCKSTEP, ONLINE, ReplaySettings, evaluate
    from flmm_ros.replay.runs.local_pool import LocalPool
    from flmm_ros.replay.runs.many_recordings import (
        BagWorker,
        evaluate_many,
        is_folder_of_bags,
        make_tasks,
    )
    from flmm_ros.replay.runs.ray_pool import RayPool
    from flmm_ros.replay.runs.schedule import FrameCounts
    from flmm_ros.replay.runs.worker_pool import FinishedTask, WorkerPool
    from flmm_ros.replay.scenario import Scenario, load_scenario
except ModuleNotFoundError as error:
    raise ConfigError(
        f"flmm replay needs the package {error.name}, which is not installed; run: "
        "pip install 'flmm_ros[replay]'"
    ) from error


class ReplayMode(str, Enum):
    """How a recording is looked at."""

    lockstep = LOCKSTEP
    online = ONLINE


class _RecordingFirst(TyperGroup):
    """What is no other verb is a recording: `flmm replay BAG` stands for `flmm replay run BAG`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Names the verb where a user left it out."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["run", *args]
        return super().parse_args(ctx, args)


replay = typer.Typer(
    name="replay",
    cls=_RecordingFirst,
    help="Judge a recording: `flmm replay RECORDING`, short for `flmm replay run RECORDING`, whose "
    "--help lists the options. `flmm replay compare A B` sets two finished runs side by side.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True)
class _ManyRecordings:
    """Who evaluates many recordings. ray: address of a cluster, or empty. fresh: all anew."""

    workers: int
    ray: str
    fresh: bool


@dataclass(frozen=True)
class _Playback:
    """How a recording is played into the node."""

    rate: float
    node: str


@replay.command("run")
def run(  # noqa: PLR0913  each is an option of the command line
    bag: Annotated[
        Path,
        typer.Argument(help="rosbag2 folder, .db3 or .mcap file, or a folder of recordings."),
    ],
    scenario: Annotated[
        Path | None, typer.Option(help="YAML file; by default scenario.yaml in the recording.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; by default out/replay/NAME.")
    ] = None,
    mode: Annotated[
        ReplayMode, typer.Option(help="The engine alone, or the running node.")
    ] = ReplayMode.lockstep,
    model: Annotated[str, typer.Option(help="As the node's parameter.")] = "tabletop",
    set: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="Setting of the engine.")
    ] = [],  # noqa: B006  Typer copies it
    workers: Annotated[
        int, typer.Option(min=0, help="Many recordings: processes, or actors of Ray.")
    ] = 0,
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Many recordings: of a Ray cluster, or local.")
    ] = "",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Many recordings: do finished ones again.")
    ] = False,
    rate: Annotated[float, typer.Option(help="Online: how fast; 2 is twice as recorded.")] = 1.0,
    node: Annotated[str, typer.Option(help="Online: the node's name.")] = "grounding_node",
) -> int:
    """Replay a recording and judge every answer.

    Exit status: 0 thresholds met, 1 not met, 2 could not run, 3 recording damaged.
    """
    if not 0 < rate < 1000:
        raise ConfigError(f"--rate: expected more than 0 and less than 1000, got {rate:g}")
    console = Console()
    out = out or Path("out/replay") / bag.resolve().name
    settings = ReplaySettings(model, tuple(set), mode.value)
    if is_folder_of_bags(bag):
        if mode is ReplayMode.online:
            raise ConfigError("mode online: expected one recording, got a folder of them")
        many = _ManyRecordings(workers, ray, fresh)
        return show_run(_replay_many(bag, scenario, settings, out, many, console), out, console)
    found = scenario_for(bag, scenario)
    check_thresholds(found)
    if mode is ReplayMode.online:
        summary = _online(bag, found, out, _Playback(rate, node), console)
    else:
        summary = _lockstep(bag, found, settings, out, console)
    return show_run(summary, out, console)


@replay.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(help="Folder of a run.")],
    after: Annotated[Path, typer.Argument(help="Folder of another run.")],
    out: Annotated[
        Path | None, typer.Option(help="Page to write; by default AFTER/compare.html.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Share, such as 0.02; timings count as well.")
    ] = None,
) -> int:
    """Compare two finished runs.

    Exit status: 1 where a number became worse by more than --tolerance, if it is given.
    """
    console, names = Console(), (str(before), str(after))
    found = compare_runs(before, after)
    page = out or after / "compare.html"
    page.write_text(render_comparison(found, names), encoding="utf-8")
    show_comparison(found, names, console)
    console.print(Text(f"page: {page}"))
    return int(tolerance is not None and bool(worse(found, tolerance)))


def scenario_for(bag: Path, given: Path | None) -> Scenario:
    """The scenario that was asked for, or the one in the recording's folder.

    Raises:
        BagError: there is no such recording.
        ConfigError: there is no scenario, or it cannot be used.
    """
    if given is None and not bag.exists():
        raise BagError(f"{bag}: expected a rosbag2 folder, .db3 or .mcap file, nothing there")
    own = (bag.parent if bag.is_file() else bag) / "scenario.yaml"
    if given is None and not own.is_file():
        raise ConfigError(
            f"{bag}: expected --scenario S.yaml, or {own}, got neither; docs/replay.md shows one"
        )
    return load_scenario(given or own)


def _replay_many(
    folder: Path,
    given: Path | None,
    settings: ReplaySettings,
    out: Path,
    how: _ManyRecordings,
    console: Console,
) -> dict[str, Any]:
    """All recordings of a folder, by several workers."""
    tasks = make_tasks(folder, given, out)
    for task in tasks:
        check_thresholds(load_scenario(task.scenario))
        if how.fresh:
            (Path(task.out) / "summary.json").unlink(missing_ok=True)
    make_worker = functools.partial(BagWorker, settings, share=0 if how.ray else how.workers)
    pool: WorkerPool[Any] = LocalPool(how.workers or 1, make_worker)
    if how.ray:
        pool = RayPool(how.ray, how.workers, make_worker)
    common = given or folder / "scenario.yaml"
    scenario = load_scenario(common) if common.is_file() or given else None
    with _bar(console, "recordings") as progress:
        bar = progress.add_task("recordings", total=len(tasks))

        def on_finished(finished: FinishedTask) -> None:
            progress.advance(bar)
            if finished.error:
                words = f"{finished.task.name}: not evaluated: {finished.error}"
                progress.console.print(Text(words, style="bold yellow"))

        return evaluate_many(tasks, scenario, settings, pool, out, on_finished)


def _online(
    bag: Path, scenario: Scenario, out: Path, how: _Playback, console: Console
) -> dict[str, Any]:
    """One recording, played into the node, with a bar of its frames."""
    try:
        from flmm_ros.replay.online.evaluate_online import evaluate_online
        from flmm_ros.replay.online.playback import Playback
    except ImportError as error:
        raise ConfigError(
            f"mode online: expected ROS 2 with flmm_ros's messages, got {error}; source them "
            "(scripts/env.sh) or use --mode lockstep"
        ) from error
    with _bar(console) as progress:
        task = progress.add_task("frames", total=None)
        return evaluate_online(
            bag,
            scenario,
            out,
            Playback(rate=how.rate),
            lambda row, counts, total: progress.update(task, completed=counts.in_bag, total=total),
            node=how.node,
            ros_arguments=ros_arguments(),
        )


def _lockstep(
    bag: Path, scenario: Scenario, settings: ReplaySettings, out: Path, console: Console
) -> dict[str, Any]:
    """One recording with a bar of its frames."""
    with Bag(bag) as opened:  # a model may take minutes to load: not for what cannot be used
        check_topics(opened, scenario)
    from flmm_ros.engine.grounder import Grounder  # seconds, too

    with console.status(Text(f"loading {settings.model} ...")):
        grounder = Grounder.from_config(settings.grounder_config())
    with _bar(console) as progress:
        task = progress.add_task("frames", total=None)

        def on_row(row: JudgedAnswer, counts: FrameCounts, total: int) -> None:
            progress.update(task, completed=counts.in_bag, total=total)

        try:
            return evaluate(bag, scenario, settings, grounder, out, on_row)
        finally:
            grounder.close()


def _bar(console: Console, what: str = "frames") -> Progress:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    return run_app(replay, argv, "flmm replay")


if __name__ == "__main__":
    sys.exit(main())
