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

"""Time to mask and time to first word of the real node, by image size: JSON as ros2_benchmark's.

Goals go to the node's action one after another while a camera publishes, every image different, so
that each command finds an image nobody has looked at. Times are the client's wall-clock time: from
sending the goal to the result with its masks (a command that points), and to the first feedback
with text (a question).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rich.progress import Progress
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from benchmarks.machine import describe_machine
from flmm_ros.ros.client.client import GroundingClient
from flmm_ros.ros.messages.conversions import image_to_msg
from flmm_sim.processes import ChildProcess
from flmm_sim.tabletop.tabletop import Tabletop

NAMESPACE = "/latency"
SIZES_HW = ((480, 640), (1080, 1920))
SEEDS = (2_600_100, 2_600_101, 2_600_102)  # neither trained nor evaluated on
START_S, ANSWER_S = 180.0, 60.0
WARM_UP = 3  # commands of each kind that are not counted


@dataclass(frozen=True)
class LatencySettings:
    """What is measured. commands: of each kind and size. model, device: parameters of the node."""

    commands: int = 50
    camera_hz: float = 10.0
    model: str = "tabletop"
    device: str = "cpu"


class ChangingCamera:
    """Publishes tabletop scenes at a fixed rate on its own thread; no two images are equal."""

    def __init__(self, node: Node, scenes: Sequence[NDArray[np.uint8]], rate_hz: float) -> None:
        self._node, self._scenes, self._period_s = node, scenes, 1.0 / rate_hz
        self._publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
        self.published = 0
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._is_closed.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + self._period_s, time.monotonic())
            image = self._scenes[self.published // 20 % len(self._scenes)].copy()
            image[0, 0] = [self.published >> shift & 255 for shift in (0, 8, 16)]
            stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(image_to_msg(image, Header(stamp=stamp, frame_id="camera")))
            self.published += 1

    def close(self) -> None:
        """Ends the thread."""
        self._is_closed.set()
        self._thread.join()


def time_to_mask_ms(client: GroundingClient, command: str) -> float:
    """From sending a command that points to its masks.

    Raises:
        RuntimeError: it was refused, or points at nothing.
    """
    start_s = time.perf_counter()
    result = client.ground(command, timeout_s=ANSWER_S, intent="ground")
    took_s = time.perf_counter() - start_s
    if not result.is_ok or not result.objects:
        raise RuntimeError(
            f"expected masks for {command!r}, got {result.error} {result.error_text}"
        )
    return 1e3 * took_s


def time_to_first_word_ms(client: GroundingClient, question: str) -> float:
    """From sending a question to the first feedback with text.

    Raises:
        RuntimeError: it was refused, or no feedback came before the answer.
    """
    first_s: list[float] = []

    def on_feedback(stage: str, text: str, elapsed_s: float) -> None:
        if text:
            first_s.append(time.perf_counter())

    start_s = time.perf_counter()
    result = client.ground(question, timeout_s=ANSWER_S, intent="answer", on_feedback=on_feedback)
    if not result.is_ok or not first_s:
        raise RuntimeError(f"expected words for {question!r}, got {result.error_text or 'none'}")
    return 1e3 * (first_s[0] - start_s)


def measure_size(
    size_hw: tuple[int, int], settings: LatencySettings, out: Path, progress: Progress
) -> dict[str, Any]:
    """Both times at one image size; see `summarise`.

    Raises:
        RuntimeError, TimeoutError, GroundingError: the node did not come up or did not answer.
    """
    height, width = size_hw
    task = progress.add_task(f"{width}x{height}", total=2 * (settings.commands + WARM_UP))
    with Tabletop(width, height) as table:
        scenes = [table.render(seed) for seed in SEEDS]
    names = [f"the {scene.objects[0].name}" for scene in scenes]
    parameters = (f"model:={settings.model}", f"device:={settings.device}", "autostart:=true")
    arguments = ["--ros-args", "-r", f"__ns:={NAMESPACE}"]
    arguments += [word for value in parameters for word in ("-p", value)]
    with ExitStack() as stack:
        context = rclpy.context.Context()
        context.init()
        stack.callback(context.shutdown)
        node = Node("latency", namespace=NAMESPACE, context=context)
        stack.callback(node.destroy_node)
        camera = ChangingCamera(node, [s.rgb for s in scenes], settings.camera_hz)
        stack.callback(camera.close)
        log = out / f"node_{width}x{height}.log"
        child = ChildProcess("the node", "flmm_ros.ros.node.grounding_node", arguments, log)
        stack.enter_context(child)
        client = stack.enter_context(GroundingClient(node))
        _wait_until_active(client, child)
        times_ms: dict[str, list[float]] = {"time_to_mask": [], "time_to_first_word": []}
        start_s, published = time.monotonic(), camera.published
        for number in range(settings.commands + WARM_UP):
            asked = (
                time_to_mask_ms(client, f"point at {names[number % len(names)]}"),
                time_to_first_word_ms(client, "what is on the table?"),
            )
            progress.advance(task, 2)
            if number >= WARM_UP:
                for values, took_ms in zip(times_ms.values(), asked, strict=True):
                    values.append(took_ms)
        took_s = time.monotonic() - start_s
        rate_hz = (camera.published - published) / took_s
    return summarise(times_ms, rate_hz)


def _wait_until_active(client: GroundingClient, child: ChildProcess) -> None:
    end_s = time.monotonic() + START_S
    while True:
        child.check()
        error = client.ground("are you there?", timeout_s=5.0, wait_for_node_s=START_S).error
        if error not in ("NOT_ACTIVE", "NO_IMAGE"):
            return
        if time.monotonic() > end_s:
            raise TimeoutError(f"expected an active node within {START_S:g} s; see {child.log}")
        time.sleep(0.2)


def summarise(times_ms: dict[str, list[float]], camera_rate_hz: float) -> dict[str, Any]:
    """Per metric: count, mean, p50, p90, p99, minimum and maximum; and the camera's real rate."""
    found: dict[str, Any] = {"camera_rate_hz": round(camera_rate_hz, 2)}
    for name, values in times_ms.items():
        percentiles = {f"p{p}_ms": float(np.percentile(values, p)) for p in (50, 90, 99)}
        found[name] = {
            "commands": len(values),
            "mean_ms": float(np.mean(values)),
            **percentiles,
            "min_ms": min(values),
            "max_ms": max(values),
        }
    return found


def measure_latency(
    settings: LatencySettings, out: Path, sizes_hw: Sequence[tuple[int, int]] = SIZES_HW
) -> dict[str, Any]:
    """Everything, for JSON: machine, versions, commit, settings, and each size's times."""
    with Progress() as progress:
        results = {
            f"{size[1]}x{size[0]}": measure_size(size, settings, out, progress) for size in sizes_hw
        }
    return {
        "name": "flmm_ros grounding node",
        "metadata": {
            **describe_machine(settings.device),
            "rmw": os.environ.get("RMW_IMPLEMENTATION", "default"),
            "load_average": psutil.getloadavg()[0],
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        },
        "settings": {
            "model": settings.model,
            "camera_hz": settings.camera_hz,
            "commands": settings.commands,
        },
        "results": results,
    }
