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

"""Picking up by instruction over ROS: the simulated arm, the grounding node, a robot program.

    make grasp       or, in a shell that is set up:      python -m examples.grasping

Three processes that communicate over topics alone, and a monitor that knows where things really
are. Every world of `--seeds` gives one instruction, the kinds of task in turn. Prints what was
told, what the robot said and what physics says; writes contact_sheet.png, grasp.gif and
attempts.jsonl. For the statistics of many worlds without topics, see grasp_eval.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rclpy
import typer
from numpy.typing import NDArray
from PIL import Image
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from examples.grasping.pictures import contact_sheet, save_film, tile_of
from examples.grasping.tasks import KINDS_OF_TASK, PICK, GraspTask, judge_task, task_in
from examples.grasping.world_monitor import WorldMonitor
from flmm_ros.cli.command_line import BAD_INPUT, run_command
from flmm_ros.ros.client.client import GroundingClient, GroundingError
from flmm_sim.arm.world import GraspWorld
from flmm_sim.processes import ChildProcess
from flmm_sim.tabletop.seeds import seed_range

START_S, TASK_S, SETTLE_S = 120.0, 240.0, 1.5


@dataclass(frozen=True)
class TaskResult:
    """What became of a task. problem: empty where physics says it was done."""

    task: GraspTask
    said: str
    problem: str
    duration_s: float


def tasks_for(seeds: range) -> list[GraspTask]:
    """A task for every world, the kinds in turn; where a world has none of a kind, the next."""
    tasks: list[GraspTask] = []
    for number, seed in enumerate(seeds):
        with GraspWorld(seed) as world:
            turn = number % len(KINDS_OF_TASK)
            for kind in (*KINDS_OF_TASK[turn:], PICK):
                task = task_in(world, kind)
                if task is not None:
                    tasks.append(task)
                    break
    return tasks


def carry_out(task: GraspTask, monitor: WorldMonitor) -> tuple[TaskResult, Image.Image]:
    """Shows the world, tells the robot, looks how the things stand afterwards: with a tile."""
    start_s = time.monotonic()
    monitor.show(task.seed, START_S)
    before = monitor.places(START_S)
    said = _tell(task.instruction)
    time.sleep(SETTLE_S)  # what was not held falls now
    problem = judge_task(task, before, monitor.places(START_S))
    tile = tile_of(task.instruction, problem, monitor.overlay, monitor.film[-1])
    return TaskResult(task, said, problem, time.monotonic() - start_s), tile


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
    child = ChildProcess(
        "node", "flmm_ros.ros.node.grounding_node", arguments, out / "grounding_node.log"
    )
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


def table_of(results: list[TaskResult]) -> Table:
    """Every instruction and what became of it."""
    table = Table("world", "told", "the robot said", "physics", "s", title="told and done")
    for a in results:
        verdict = Text(a.problem or "right", style="red" if a.problem else "green")
        row = (str(a.task.seed), Text(a.task.instruction), Text(a.said), verdict)
        table.add_row(*row, f"{a.duration_s:.0f}")
    return table


def grasping(
    seeds: Annotated[str, typer.Option(metavar="A:B", help="Worlds.")] = "2000107:2000112",
    model: Annotated[str, typer.Option(help="The node's parameter `model`.")] = "tabletop",
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("out/grasp_ros"),
) -> int:
    """Tell a simulated arm what to pick up and where to put it.

    Exit status: 0 every instruction was carried out, or rightly not; 1 one was not; 2 it could not
    run.
    """
    worlds = seed_range(seeds)
    out.mkdir(parents=True, exist_ok=True)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    results: list[TaskResult] = []
    tiles: list[Image.Image] = []
    film: list[NDArray[np.uint8]] = []
    try:
        with ExitStack() as stack:
            stack.callback(rclpy.try_shutdown)
            stack.enter_context(grounding_node(model, out))
            tasks = tasks_for(worlds)
            world = ChildProcess("world", "flmm_sim.nodes.arm_node", [], out / "world.log")
            monitor = stack.enter_context(WorldMonitor(stack.enter_context(world).check))
            lines = stack.enter_context((out / "attempts.jsonl").open("w", encoding="utf-8"))
            for task in track(tasks, description="instructions"):
                result, tile = carry_out(task, monitor)
                results.append(result)
                tiles.append(tile)
                film += monitor.film
                lines.write(json.dumps(asdict(result)) + "\n")
                lines.flush()
    except (RuntimeError, TimeoutError, GroundingError) as error:
        tail = ChildProcess.tail_of(out / "grounding_node.log")
        print(f"error: {error}\n{tail}", file=sys.stderr)
        return BAD_INPUT
    Console().print(table_of(results))
    contact_sheet(tiles).save(out / "contact_sheet.png")
    save_film(film, out / "grasp.gif")
    done = sum(not r.problem for r in results)
    print(f"{done} of {len(results)} as told; {out}/contact_sheet.png, {out}/grasp.gif")
    return 0 if done == len(results) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(grasping, argv)
