"""Lets the node work while everything around it goes wrong, and counts what gets lost.

    python scripts/own_domain.py python -m benchmarks.soak --minutes 10

A camera at 10 Hz, commands at 2 Hz, cancels; and one disturbance after another: the node killed and
started again, lifecycle cycles, a camera that leaves, hangs, comes back with another QoS or type, a
clock that is set back, more commands than may wait, exceptions and a lack of memory inside the
model (`faulty_node`). The node is the real one with the embedded model. The first disturbances end
processes; after them one process lives on, and its memory is followed.

Prints what was sent, answered, refused by code and lost, and writes soak.json and soak.png. Exit
status: 0 every floor holds, 1 one does not, 2 it could not run.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.soak import report as soak_report
from benchmarks.soak.camera import SoakCamera
from benchmarks.soak.disturbances import DISTURBANCES, FATAL, Event, World, happen
from benchmarks.soak.event_log import Ledger
from benchmarks.soak.node_process import SoakProcess
from benchmarks.soak.robot import SoakRobot
from flmm_sim.tabletop.tabletop import Tabletop

NAMESPACE = "/soak"
SEEDS = (1_000_003, 1_000_005, 1_000_010)
MAX_AGE_S = 1.0
MAX_QUEUE = 4
FATAL_SHARE = 0.25  # of the time; the rest is one process's life
DRAIN_S = 60.0
FAULTS = "exception=17,out_of_memory=29,load=2"


def soak(args: argparse.Namespace, bar: Progress) -> soak_report.Outcome:
    """Runs one soak; see the module's docstring.

    Raises:
        RuntimeError, TimeoutError: the node did not come up, or ended by itself.
    """
    task = bar.add_task("drawing scenes", total=60 * args.minutes)
    pictures, names = _scenes()
    ledger = Ledger(MAX_AGE_S)
    parameters = _parameters(args)
    with ExitStack() as stack:
        context = rclpy.context.Context()
        context.init()
        stack.callback(context.shutdown)
        node = Node("soak_robot", namespace=NAMESPACE, context=context)
        stack.callback(node.destroy_node)
        camera = SoakCamera(node, pictures, args.camera_hz, ledger)
        stack.callback(camera.close)
        process = stack.enter_context(SoakProcess(NAMESPACE, parameters, args.faults, args.out))
        robot = stack.enter_context(SoakRobot(node, names, args.command_hz, ledger, args.seed))
        bar.update(task, description="loading the model")
        robot.wait_until_ready(process.check)
        start_s = time.monotonic()
        robot.talk()
        events: list[Event] = []
        world, failure = World(process, robot, camera, ledger), ""
        try:
            for name in _names_of_events(60 * args.minutes, start_s):
                bar.update(task, description=name or "calm", completed=time.monotonic() - start_s)
                if name:
                    events.append(happen(name, world))
                else:
                    process.check()
                    time.sleep(0.5)
        except (RuntimeError, TimeoutError) as error:  # what was measured until then counts
            failure = str(error)
        robot.be_quiet()
        bar.update(task, description="waiting for the last answers")
        _drain(ledger)
        count = ledger.count()
    return soak_report.Outcome(
        start_s=start_s,
        minutes=args.minutes,
        settings={"faults": args.faults, "seed": args.seed, **parameters},
        machine={
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "load_average": psutil.getloadavg(),
        },
        count=count,
        stale=ledger.stale,
        events=events,
        samples=process.samples,
        unanswered_probes=robot.unanswered_probes,
        failure=failure,
    )


def _scenes() -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Pictures of the tabletop, and the names of the things in them."""
    with Tabletop() as table:
        scenes = [table.render(seed) for seed in SEEDS]
    return [s.rgb for s in scenes], [o.name for s in scenes for o in s.objects]


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": args.model,
        "threads": args.threads,
        "autostart": True,
        "use_sim_time": True,
        "max_image_age": MAX_AGE_S,
        "max_queue": MAX_QUEUE,
    }


def _names_of_events(duration_s: float, start_s: float) -> Iterator[str]:
    """What is to happen next, "" for a moment of calm; ends with the time.

    Calm grows with the duration, up to as much as the disturbances themselves take.
    """
    calm_s = min(10.0, duration_s / 60)
    fatal, others = cycle(FATAL), cycle([name for name in DISTURBANCES if name not in FATAL])
    happened = 0
    while (now_s := time.monotonic()) < start_s + duration_s:
        is_early = now_s < start_s + FATAL_SHARE * duration_s
        yield next(fatal) if is_early or happened < len(FATAL) else next(others)
        happened += 1
        calm_until_s = min(time.monotonic() + calm_s, start_s + duration_s)
        while time.monotonic() < calm_until_s:
            yield ""


def _drain(ledger: Ledger) -> None:
    """Until every command is answered, or nobody will answer any more."""
    end_s = time.monotonic() + DRAIN_S
    while ledger.open_keys() and time.monotonic() < end_s:
        time.sleep(0.1)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Lets the node work while everything around it goes wrong, and counts.",
        epilog="Exit status: 0 every floor holds, 1 one does not, 2 it could not run.",
    )
    add = arguments.add_argument
    add("--minutes", type=float, default=10.0, help="how long, default: %(default)g")
    add("--out", type=Path, default=Path("out/soak"), help="folder, default: %(default)s")
    add("--seed", type=int, default=0, help="of what is said when, default: %(default)s")
    add("--camera-hz", type=float, default=10.0, help="pictures a second, default: %(default)g")
    add("--command-hz", type=float, default=2.0, help="commands a second, default: %(default)g")
    add("--model", default="tabletop", help="default: %(default)s")
    add("--threads", type=int, default=0, help="CPU threads of the node; 0: all (default)")
    add("--faults", default=FAULTS, help="see benchmarks.soak.faulty_node, default: %(default)s")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    args = parser().parse_args(argv)
    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the node on the way out
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as bar:
            outcome = soak(args, bar)
    except (RuntimeError, TimeoutError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    soak_report.show(outcome, console)
    soak_report.write(outcome, args.out)
    console.print(f"{args.out}/soak.json, soak.png, node_*.log")
    return 0 if outcome.is_passed else 1


if __name__ == "__main__":
    sys.exit(main())
