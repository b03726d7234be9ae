"""How well, and how fast, are the recordings of a robot's camera understood?

    python -m flmm_sim.recording out/mugs                       # something to replay
    python -m flmm_ros.replay out/mugs                       # its own scenario.yaml
    python -m flmm_ros.replay BAG --scenario S.yaml          # every image once, without ROS
    python -m flmm_ros.replay BAG --scenario S.yaml --mode online --rate 1
    python -m flmm_ros.replay FOLDER_OF_BAGS --scenario S.yaml --workers 4
    python -m flmm_ros.replay compare out/replay/a out/replay/b

Writes result.jsonl, summary.json and index.html. The exit status is 0 where every threshold of the
scenario is met, 1 where one is not, 2 where it could not run, 3 where a recording is damaged and
only its beginning was judged. See docs/replay.md.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from flmm_ros.engine.errors import ConfigError, FlmmError
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.judging.metrics import described, flat
from flmm_ros.replay.judging.summary import EXIT_CODES, PASSED, check_thresholds
from flmm_ros.replay.pages.comparison import compare, render_comparison, worse
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

CANNOT_RUN = 2
_SHOWN = (
    "commands.right",
    "masks.cIoU",
    "masks.mIoU",
    "masks.P@0.5",
    "answers.match",
    "absent.accuracy",
    "steadiness.iou",
    "target.mean_m",
    "times_ms.total.p50",
    "times_ms.total.p99",
    "times_ms.answer.p50",
    "times_ms.answer.p99",
    "times_ms.first_mask.p50",
    "times_ms.cancel.p50",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    console = Console()
    try:
        if arguments[:1] == ["compare"]:
            return _compare(arguments[1:], console)
        args = _parse(arguments)
        run = _replay_many if is_folder_of_bags(args.bag) else _replay
        return run(args, console)
    except FlmmError as error:
        console.print(Text(f"replay: {error}", style="bold red"))
        return CANNOT_RUN
    except KeyboardInterrupt:
        console.print("replay: interrupted; the rows so far are kept")
        return 130


def _replay(args: argparse.Namespace, console: Console) -> int:
    scenario = scenario_for(args.bag, args.scenario)
    check_thresholds(scenario)
    settings = ReplaySettings(args.model, tuple(args.set), args.mode)
    out = args.out or Path("out/replay") / args.bag.resolve().name
    if args.mode == ONLINE:
        summary = _online(args, scenario, out, console)
    else:
        summary = _lockstep(args, scenario, settings, out, console)
    return show(summary, out, console)


def _replay_many(args: argparse.Namespace, console: Console) -> int:
    """All recordings of a folder, by several workers."""
    if args.mode == ONLINE:
        raise ConfigError("mode online: expected one recording, got a folder of them")
    out = args.out or Path("out/replay") / args.bag.resolve().name
    common = args.scenario or args.bag / "scenario.yaml"
    scenario = load_scenario(common) if args.scenario or common.is_file() else None
    tasks = make_tasks(args.bag, args.scenario, out)
    for task in tasks:
        check_thresholds(load_scenario(task.scenario))
        if args.fresh:
            (Path(task.out) / "summary.json").unlink(missing_ok=True)
    settings = ReplaySettings(args.model, tuple(args.set))
    make_worker = functools.partial(BagWorker, settings, share=0 if args.ray else args.workers)
    pool: WorkerPool = LocalPool(args.workers or 1, make_worker)
    if args.ray:
        pool = RayPool(args.ray, args.workers, make_worker)
    with _bar(console, "recordings") as progress:
        bar = progress.add_task("recordings", total=len(tasks))

        def on_finished(finished: FinishedTask) -> None:
            progress.advance(bar)
            if finished.error:
                words = f"{finished.task.name}: not evaluated: {finished.error}"
                progress.console.print(Text(words, style="bold yellow"))

        summary = evaluate_many(tasks, scenario, settings, pool, out, on_finished)
    return show(summary, out, console)


def _compare(argv: Sequence[str], console: Console) -> int:
    """Two finished runs, side by side."""
    parser = argparse.ArgumentParser(
        prog="python -m flmm_ros.replay compare",
        description="Compare two finished runs. Exit status: 1 where a number became worse by more "
        "than --tolerance, if it is given.",
    )
    parser.add_argument("before", type=Path, help="folder of a run")
    parser.add_argument("after", type=Path, help="folder of another run")
    parser.add_argument("--out", type=Path, help="page to write (default: AFTER/compare.html)")
    parser.add_argument(
        "--tolerance", type=float, help="share, such as 0.02; timings count as well"
    )
    args = parser.parse_args(argv)
    found = compare(args.before, args.after)
    page = args.out or args.after / "compare.html"
    page.write_text(render_comparison(found, (str(args.before), str(args.after))), encoding="utf-8")
    table = Table(title=f"{found.common} answers in both, {len(found.turned)} of them turned")
    for column in ("metric", str(args.before), str(args.after), ""):
        table.add_column(column)
    for c in found.changes:
        if c.metric.endswith((".n", ".max")):  # on the page
            continue
        word = c.verdict
        style = {"better": "green", "worse": "red"}.get(word, "")
        table.add_row(c.metric, described(c.before), described(c.after), Text(word, style=style))
    console.print(table)
    console.print(Text(f"page: {page}"))
    is_worse = args.tolerance is not None and bool(worse(found, args.tolerance))
    return 1 if is_worse else 0


def scenario_for(bag: Path, given: Path | None) -> Scenario:
    """The scenario that was asked for, or the one in the recording's folder.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    if given is None and not (bag / "scenario.yaml").is_file():
        raise ConfigError(f"expected --scenario S.yaml, or scenario.yaml in {bag}, got neither")
    return load_scenario(given or bag / "scenario.yaml")


def _online(
    args: argparse.Namespace, scenario: Scenario, out: Path, console: Console
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
            args.bag,
            scenario,
            out,
            Playback(rate=args.rate),
            lambda row, counts, total: progress.update(task, completed=counts.in_bag, total=total),
            node=args.node,
            ros_arguments=args.ros_arguments,
        )


def _bar(console: Console, what: str = "frames") -> Progress:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _lockstep(
    args: argparse.Namespace,
    scenario: Scenario,
    settings: ReplaySettings,
    out: Path,
    console: Console,
) -> dict[str, Any]:
    """One recording with a bar of its frames."""
    from flmm_ros.engine.grounder import Grounder  # seconds: not before the arguments are right

    with console.status(f"loading {settings.model} ..."):
        grounder = Grounder.from_config(settings.grounder_config())
    with _bar(console) as progress:
        task = progress.add_task("frames", total=None)

        def on_row(row: JudgedAnswer, counts: FrameCounts, total: int) -> None:
            progress.update(task, completed=counts.in_bag, total=total)

        try:
            return evaluate(args.bag, scenario, settings, grounder, out, on_row)
        finally:
            grounder.close()


def show(summary: dict[str, Any], out: Path, console: Console) -> int:
    """The numbers that matter, what was missed, and the exit status."""
    numbers = flat(summary["metrics"])
    table = Table(title=f"{summary['scenario']['name']}: {summary['rows']} answers")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name in _SHOWN:
        if numbers.get(name) is not None:
            table.add_row(name, described(numbers[name]))
    console.print(table)
    for threshold in summary["thresholds"]:
        style = "green" if threshold["is_met"] else "bold red"
        mark = "met" if threshold["is_met"] else "NOT MET"
        value = described(threshold["value"])
        line = f"{threshold['metric']} {threshold['rule']}: {value}, {mark}"
        console.print(Text(line, style=style))
    for bag in summary["bags"]:
        if bag["damage"]:
            line = f"{bag['name']} is damaged, only its beginning was judged: {bag['damage']}"
            console.print(Text(line, style="bold yellow"))
        if bag["error"]:
            line = f"{bag['name']} was not evaluated: {bag['error']}"
            console.print(Text(line, style="bold yellow"))
        if bag["missed"]:
            console.print(Text(f"{bag['name']}: {'; '.join(bag['missed'])}, NOT MET", "bold red"))
    style = "bold green" if summary["status"] == PASSED else "bold red"
    console.print(Text(f"{summary['status']}; report: {out / 'index.html'}", style=style))
    return EXIT_CODES[summary["status"]]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flmm_ros.replay",
        description="Replay a recording and judge every answer.",
        epilog="`compare A B` compares two runs. Exit status: 0 thresholds met, 1 not met, "
        "2 could not run, 3 recording damaged.",
    )
    add = parser.add_argument
    add("bag", type=Path, help="rosbag2 folder, .db3 or .mcap file, or a folder of recordings")
    add("--scenario", type=Path, help="YAML file (default: scenario.yaml in the recording)")
    add("--out", type=Path, help="folder for the results (default: out/replay/NAME)")
    add("--mode", choices=(LOCKSTEP, ONLINE), default=LOCKSTEP, help="default: %(default)s")
    add("--model", default="tabletop", help="as the node's parameter (default: %(default)s)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="engine setting")
    add("--workers", type=int, default=0, help="many recordings: processes, or actors of Ray")
    add("--ray", metavar="ADDRESS", help="many recordings: of a Ray cluster, or local")
    add("--fresh", action="store_true", help="many recordings: do finished ones again")
    add("--rate", type=float, default=1.0, help="online: how fast (default: %(default)s)")
    add("--node", default="grounding_node", help="online: its name (default: %(default)s)")
    own, ros = _split(argv)
    args = parser.parse_args(own)
    args.ros_arguments = ros
    if not 0 < args.rate < 1000:
        parser.error(f"--rate: expected more than 0 and less than 1000, got {args.rate:g}")
    return args


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and those of ROS from --ros-args on."""
    at = argv.index("--ros-args") if "--ros-args" in argv else len(argv)
    return list(argv[:at]), list(argv[at:])


if __name__ == "__main__":
    sys.exit(main())
