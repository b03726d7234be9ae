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

"""The whole path, for real: a camera process, the grounding node's process, and somebody who asks.

    make demo        or, in a shell that is set up:        python -m examples.demo

Shows every answer beside the simulator's truth, and writes out/demo/index.html with masks,
attention and times. The exit code is 0 where every command was answered, or refused where a
refusal is due; whether the answers are right is counted and shown.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import rclpy
import typer
from PIL import Image
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.live import Live
from rich.text import Text

from examples.demo.answer_table import answer_row, answer_table
from examples.demo.demo_client import CAMERA, GROUNDING, DemoClient
from examples.demo.page import DemoSummary, ShownCommand, ShownObject, summarise, write_report
from examples.demo.scenario import SEEDS, DemoCommand, JudgedObject, commands_for, judge_answer
from examples.demo.truth import objects_meant, true_mask
from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.masks.mask import iou
from flmm_ros.report.machine import package_version
from flmm_ros.ros.client.client import FoundObject, GroundingError, GroundingResult
from flmm_sim.processes import ChildProcess
from flmm_sim.tabletop.tabletop import Tabletop, TabletopScene

if TYPE_CHECKING:
    from flmm_ros.engine.grounder import Grounder

START_S = 90.0  # a slow machine reads PyTorch from a cold disk
SCENE_S = 20.0
ANSWER_S = 30.0
_LOG_WIDTH = 140


def demo(
    model: Annotated[str, typer.Option(help="The node's parameter `model`.")] = "tabletop",
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("out/demo"),
    save_picture: Annotated[
        Path | None, typer.Option(help="Save the richest overlay as this PNG.")
    ] = None,
) -> int:
    """Ask the real node about a simulated camera, and show the answers.

    Exit status: 0 every command was answered, or refused where a refusal is due.
    """
    console = Console()
    if not console.is_terminal:
        console.width = _LOG_WIDTH  # a log has no window to fit into
    # SIGTERM ends like Ctrl-C, so that the processes are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    start_s = time.monotonic()
    try:
        with ExitStack() as stack:
            shown = _run(stack, model, out, console)
        with console.status("reading the attention of every phrase once more ..."):
            shown = _with_attention(shown, model)
    except (RuntimeError, TimeoutError, GroundingError, FlmmError) as error:
        console.print(Text(f"demo: {error}", style="bold red"))
        for name in (CAMERA, GROUNDING):
            console.print(Text(ChildProcess.tail_of(out / f"{name}.log"), style="dim"))
        return 1
    page = write_report(out, shown, _facts(model))
    if save_picture is not None:
        _save_picture(shown, save_picture)
    return _conclude(console, shown, page, time.monotonic() - start_s)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(demo, argv)


def _run(stack: ExitStack, model: str, out: Path, console: Console) -> list[ShownCommand]:
    """Starts both processes, asks everything, and leaves the ending of all of it to `stack`."""
    camera = stack.enter_context(
        ChildProcess(
            CAMERA,
            "flmm_sim.nodes.camera_node",
            ["--ros-args", "-p", f"seed:={SEEDS[0]}"],
            out / f"{CAMERA}.log",
        )
    )
    node = stack.enter_context(
        ChildProcess(
            GROUNDING,
            "flmm_ros.ros.node.grounding_node",
            ["--ros-args", "-p", f"model:={model}", "-p", "autostart:=true"],
            out / f"{GROUNDING}.log",
        )
    )

    def check() -> None:
        camera.check()
        node.check()

    # Our own signal handlers stay: rclpy's would end communication before the processes end.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stack.callback(rclpy.try_shutdown)
    client = stack.enter_context(DemoClient(rclpy.create_node("demo"), check))
    with console.status("starting the camera ..."):
        client.wait_for_camera(START_S)
    with console.status("starting the grounding node ..."):
        client.wait_until_active(START_S)
    return _run_scenario(client, stack.enter_context(Tabletop()), console)


def _run_scenario(client: DemoClient, world: Tabletop, console: Console) -> list[ShownCommand]:
    """Asks every command of every scene; each answer is a row of a growing table."""
    shown: list[ShownCommand] = []
    table = answer_table()
    with Live(table, console=console, refresh_per_second=8, vertical_overflow="visible"):
        for seed in SEEDS:
            scene = world.render(seed)
            since_ns = client.show_scene(seed, scene.rgb, SCENE_S)
            for asked in commands_for(scene):
                result = client.ask(
                    asked.command,
                    ANSWER_S,
                    since_ns=since_ns,
                    by_topic=asked.by_topic,
                    chat_id=asked.chat_id,
                )
                shown.append(_shown(asked, scene, result))
                table.add_row(*answer_row(len(shown), shown[-1]))
    return shown


def _shown(asked: DemoCommand, scene: TabletopScene, result: GroundingResult) -> ShownCommand:
    """An answer beside the truth. The attention comes later, see `_with_attention`."""
    objects = []
    for o in result.objects:
        grounding = Grounding(
            phrase=o.phrase,
            mask=o.mask,
            soft_mask=o.mask.astype(np.float32),
            heat=np.zeros(o.mask.shape, np.float32),
            score=min(max(o.score, 0.0), 1.0),
            box_xyxy_px=o.box_xyxy_px,
            is_present=o.is_present,
            text_span=o.text_span if o.text_span[1] > o.text_span[0] else None,
            is_ambiguous=o.is_ambiguous,
        )
        objects.append(ShownObject(grounding, _iou_of(o, scene), False))
    problem = judge_answer(
        asked,
        scene,
        error_code=result.error,
        answer=result.text,
        objects=[
            JudgedObject(g.phrase, g.is_present, o.iou or 0.0, g.is_ambiguous)
            for o in objects
            for g in (o.grounding,)
        ],
    )
    return ShownCommand(
        title=asked.title,
        command=asked.command,
        scene=f"Scene {scene.seed}: " + ", ".join(o.name for o in scene.objects),
        channel="topic" if asked.by_topic else "action",
        intent=result.intent,
        answer=result.text,
        objects=tuple(objects),
        image=scene.rgb,  # what the camera published, pixel by pixel: `show_scene` has compared it
        stages_ms=tuple((k, v) for k, v in result.timings_ms.items() if k != "total"),
        total_ms=result.timings_ms.get("total", 0.0),
        error_code=result.error,
        error_text=result.error_text,
        problem=problem,
        is_as_due=result.error == asked.expected.refusal,
    )


def _iou_of(found: FoundObject, scene: TabletopScene) -> float | None:
    """Against all that the phrase means; of one candidate of several, against the thing it fits
    best. None where the phrase names nothing that the simulator knows."""
    meant = objects_meant(found.phrase, scene)
    if not meant:
        return None
    if found.is_ambiguous:
        return max(iou(found.mask, scene.mask(thing)) for thing in meant)
    return iou(found.mask, true_mask(found.phrase, scene))


def _with_attention(shown: Sequence[ShownCommand], model: str) -> list[ShownCommand]:
    """Adds the attention of each phrase. Messages do not carry it: the same model reads again."""
    from flmm_ros.engine.grounder import Grounder  # not before the node has started: seconds

    grounder = Grounder.from_config(model)
    try:
        return [
            command if command.is_refused else _with_heat(command, grounder) for command in shown
        ]
    finally:
        grounder.close()


def _with_heat(command: ShownCommand, grounder: Grounder) -> ShownCommand:
    if not command.objects:
        return command
    again = grounder.open(command.image).ask(command.command).objects
    heats = {g.phrase: g.heat for g in again}
    objects = tuple(
        replace(o, grounding=replace(o.grounding, heat=heats[o.grounding.phrase]), has_heat=True)
        if o.grounding.phrase in heats
        else o
        for o in command.objects
    )
    return replace(command, objects=objects)


def _save_picture(shown: Sequence[ShownCommand], path: Path) -> None:
    """The overlay of the answer that points at the most objects, as a PNG."""
    best = max(shown, key=lambda c: sum(o.grounding.is_present for o in c.objects))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(best.picture()).save(path)


def _facts(model: str) -> list[tuple[str, str]]:
    """What the run was made with."""
    return [
        ("model", model),
        ("machine", f"{platform.machine()}, {os.cpu_count()} cores"),
        (
            "ROS",
            os.environ.get(
                "ROS_DISTRO", f"rclpy {package_version('ros-kilted-rclpy', absent='?')} from wheels"
            ),
        ),
        ("Python", platform.python_version()),
        ("torch", package_version("torch", absent="?")),
        ("transformers", package_version("transformers", absent="?")),
        ("made", time.strftime("%Y-%m-%d %H:%M")),
    ]


def _conclude(console: Console, shown: Sequence[ShownCommand], page: Path, seconds: float) -> int:
    """The closing lines and the exit code."""
    console.print()
    console.print(_sentence(summarise(shown)), f"in {seconds:.0f} s")
    console.print(Text(f"report: {page}"))
    failed = [c for c in shown if not c.is_as_due]
    for c in failed:
        console.print(Text(f"not answered: {c.command!r}: {c.problem}", style="bold red"))
    return 1 if failed else 0


def _sentence(summary: DemoSummary) -> Text:
    iou_words = "" if summary.mean_iou is None else f", mean IoU {summary.mean_iou:.2f}"
    time_words = "" if summary.median_ms is None else f", median {summary.median_ms:.0f} ms"
    return Text(
        f"{summary.right} of {summary.commands} commands right, "
        f"{summary.objects} objects pointed at{iou_words}{time_words}"
    )
