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

"""Lets the node work while everything around it goes wrong, and counts what gets lost.

A camera, commands, cancels; and one disturbance after another: the node killed and started again,
lifecycle cycles, a camera that leaves, hangs, comes back with another QoS or type, a clock that is
set back, more commands than may wait, exceptions and a lack of memory inside the model
(`faulty_node`). The node is the real one with the embedded model. The first disturbances end
processes; after them one process lives on, and its memory is sampled.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rich.progress import Progress

from benchmarks.soak.camera import SoakCamera
from benchmarks.soak.disturbances import (
    DISTURBANCES,
    FATAL,
    DisturbanceResult,
    SoakParts,
    run_disturbance,
)
from benchmarks.soak.event_log import EventLog
from benchmarks.soak.result import SoakResult
from benchmarks.soak.robot import SoakRobot
from benchmarks.soak.soak_process import SoakProcess
from flmm_sim.tabletop.tabletop import Tabletop

NAMESPACE = "/soak"
SEEDS = (1_000_003, 1_000_005, 1_000_010)
MAX_AGE_S = 1.0
MAX_QUEUE = 4
FATAL_SHARE = 0.25  # of the time; the rest is one process's life
DRAIN_S = 60.0
FAULTS = "exception=17,out_of_memory=29,load=2"


@dataclass(frozen=True)
class SoakSettings:
    """What a soak does. threads: CPU threads of the node, 0 for all. faults: see `faulty_node`."""

    minutes: float = 10.0
    seed: int = 0
    camera_hz: float = 10.0
    command_hz: float = 2.0
    model: str = "tabletop"
    threads: int = 0
    faults: str = FAULTS


def run_soak(settings: SoakSettings, out: Path, bar: Progress) -> SoakResult:
    """Runs one soak.

    Raises:
        RuntimeError, TimeoutError: the node did not come up, or ended by itself.
    """
    progress = bar.add_task("drawing scenes", total=60 * settings.minutes)
    pictures, names = _scenes()
    log = EventLog(MAX_AGE_S)
    parameters = _parameters(settings)
    with ExitStack() as stack:
        context = rclpy.context.Context()
        context.init()
        stack.callback(context.shutdown)
        node = Node("soak_robot", namespace=NAMESPACE, context=context)
        stack.callback(node.destroy_node)
        camera = SoakCamera(node, pictures, settings.camera_hz, log)
        stack.callback(camera.close)
        process = stack.enter_context(SoakProcess(NAMESPACE, parameters, settings.faults, out))
        robot = stack.enter_context(SoakRobot(node, names, settings.command_hz, log, settings.seed))
        bar.update(progress, description="loading the model")
        robot.wait_until_ready(process.check)
        start_s = time.monotonic()
        robot.start_sending()
        events: list[DisturbanceResult] = []
        parts, failure = SoakParts(process, robot, camera, log), ""
        try:
            for name in _schedule(60 * settings.minutes, start_s):
                bar.update(
                    progress, description=name or "calm", completed=time.monotonic() - start_s
                )
                if name:
                    events.append(run_disturbance(name, parts))
                else:
                    process.check()
                    time.sleep(0.5)
        except (RuntimeError, TimeoutError) as error:  # what was measured until then counts
            failure = str(error)
        robot.stop_sending()
        bar.update(progress, description="waiting for the last answers")
        _wait_for_answers(log)
        count = log.totals()
    return SoakResult(
        start_s=start_s,
        minutes=settings.minutes,
        settings={"faults": settings.faults, "seed": settings.seed, **parameters},
        machine={
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "load_average": psutil.getloadavg(),
        },
        count=count,
        stale=log.stale,
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


def _parameters(settings: SoakSettings) -> dict[str, Any]:
    return {
        "model": settings.model,
        "threads": settings.threads,
        "autostart": True,
        "use_sim_time": True,
        "max_image_age": MAX_AGE_S,
        "max_queue": MAX_QUEUE,
    }


def _schedule(duration_s: float, start_s: float) -> Iterator[str]:
    """The next disturbance, or "" for a moment of calm; ends with the time.

    Calm grows with the duration, up to about as long as the disturbances take.
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


def _wait_for_answers(log: EventLog) -> None:
    """Waits until every command is answered, at most DRAIN_S."""
    end_s = time.monotonic() + DRAIN_S
    while log.open_commands() and time.monotonic() < end_s:
        time.sleep(0.1)
