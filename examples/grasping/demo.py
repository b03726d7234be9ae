"""Picking up by instruction over ROS: the simulated arm, the grounding node, a robot program.

    make grasp       or, in a shell that is set up:      python -m examples.grasping

Three processes that know one another by topics alone, and a judge who knows where things really
are. Every world of `--seeds` gives one instruction, the kinds of task in turn. Prints what was
told, what the robot said and what physics says; writes contact_sheet.png, grasp.gif and
attempts.jsonl. For the statistics of many worlds without topics, see grasp_eval.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rclpy
from numpy.typing import NDArray
from PIL import Image
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from examples.grasping.judge import Watch
from examples.grasping.pictures import contact_sheet, save_film, tile_of
from examples.grasping.tasks import KINDS_OF_TASK, PICK, Task, judge, task_in
from flmm_ros.ros.client.client import GroundingClient, GroundingError
from flmm_sim.arm.world import GraspWorld
from flmm_sim.processes import ChildProcess
from flmm_sim.tabletop.tabletop import seed_range

START_S, TASK_S, SETTLE_S = 120.0, 240.0, 1.5


@dataclass(frozen=True)
class Attempt:
    """What became of a task. problem: empty where physics says it was done."""

    task: Task
    said: str
    problem: str
    duration_s: float


def tasks_for(seeds: range) -> list[Task]:
    """A task for every world, the kinds in turn; where a world has none of a kind, the next."""
    tasks: list[Task] = []
    for number, seed in enumerate(seeds):
        with GraspWorld(seed) as world:
            turn = number % len(KINDS_OF_TASK)
            for kind in (*KINDS_OF_TASK[turn:], PICK):
                task = task_in(world, kind)
                if task is not None:
                    tasks.append(task)
                    break
    return tasks


def carry_out(task: Task, watch: Watch) -> tuple[Attempt, Image.Image]:
    """Shows the world, tells the robot, looks how the things stand afterwards: with a tile."""
    start_s = time.monotonic()
    watch.show(task.seed, START_S)
    before = watch.places(START_S)
    said = _tell(task.instruction)
    time.sleep(SETTLE_S)  # what was not held falls now
    problem = judge(task, before, watch.places(START_S))
    tile = tile_of(task.instruction, problem, watch.overlay, watch.film[-1])
    return Attempt(task, said, problem, time.monotonic() - start_s), tile


def _tell(instruction: str) -> str:
    """Runs the robot program, a process like anybody's; returns the last that it says."""
    robot = [sys.executable, "-m", "examples.grasping.robot", *instruction.split()]
    try:
        run = subprocess.run(robot, capture_output=True, text=True, timeout=TASK_S, check=False)
    except subprocess.TimeoutExpired:
        return f"(nothing within {TASK_S:g} s)"
    said = (run.stdout.strip() or run.stderr.strip()).splitlines()
    return said[-1] if said else "(nothing)"


@contextmanager
def grounding_node(model: str, out: Path) -> Iterator[None]:
    """The grounding node's process, for as long as it lasts; returns when it answers."""
    arguments = ["--ros-args", "-p", f"model:={model}", "-p", "autostart:=true"]
    child = ChildProcess("node", "flmm_ros.ros.node.grounding_node", arguments, out / "grounding_node.log")
    with child, GroundingClient(rclpy.create_node("grasp_start")) as client:
        end_s = time.monotonic() + START_S
        while True:  # without a camera it refuses, which is an answer all the same
            child.check()
            error = client.ground("are you there?", timeout_s=5.0, wait_for_node_s=START_S).error
            if error != "NOT_ACTIVE":
                break
            if time.monotonic() > end_s:
                raise TimeoutError(f"the grounding node did not become active in {START_S:g} s")
            time.sleep(0.5)
        yield


def table_of(attempts: list[Attempt]) -> Table:
    """Everything that was told, for people."""
    table = Table("world", "told", "the robot said", "physics", "s", title="told and done")
    for a in attempts:
        verdict = Text(a.problem or "right", style="red" if a.problem else "green")
        row = (str(a.task.seed), Text(a.task.instruction), Text(a.said), verdict)
        table.add_row(*row, f"{a.duration_s:.0f}")
    return table


def main(argv: list[str] | None = None) -> int:
    """Command line. 0 = every instruction was carried out, or rightly not."""
    parser = argparse.ArgumentParser(description="Tell a simulated arm what to pick up and put.")
    parser.add_argument("--seeds", type=seed_range, default=(2_000_107, 2_000_112), metavar="A:B")
    parser.add_argument("--model", default="tabletop", help="the node's parameter `model`")
    parser.add_argument("--out", type=Path, default=Path("out/grasp_ros"), help="for the results")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    attempts: list[Attempt] = []
    tiles: list[Image.Image] = []
    film: list[NDArray[np.uint8]] = []
    try:
        with ExitStack() as stack:
            stack.callback(rclpy.try_shutdown)
            stack.enter_context(grounding_node(args.model, args.out))
            tasks = tasks_for(range(*args.seeds))
            world = ChildProcess("world", "flmm_sim.nodes.arm_node", [], args.out / "world.log")
            watch = stack.enter_context(Watch(stack.enter_context(world).check))
            lines = stack.enter_context((args.out / "attempts.jsonl").open("w", encoding="utf-8"))
            for task in track(tasks, description="instructions"):
                attempt, tile = carry_out(task, watch)
                attempts.append(attempt)
                tiles.append(tile)
                film += watch.film
                lines.write(json.dumps(asdict(attempt)) + "\n")
                lines.flush()
    except (RuntimeError, TimeoutError, GroundingError) as error:
        print(f"error: {error}\n{ChildProcess.tail_of(args.out / 'grounding_node.log')}", file=sys.stderr)
        return 2
    Console().print(table_of(attempts))
    contact_sheet(tiles).save(args.out / "contact_sheet.png")
    save_film(film, args.out / "grasp.gif")
    done = sum(not a.problem for a in attempts)
    print(f"{done} of {len(attempts)} as told; {args.out}/contact_sheet.png, {args.out}/grasp.gif")
    return 0 if done == len(attempts) else 1


if __name__ == "__main__":
    sys.exit(main())
