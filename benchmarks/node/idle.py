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

"""What the node costs while a camera runs and nobody asks: the share of one core, by image size.

    python scripts/own_domain.py python -m benchmarks.node.idle

The node is the real one around an engine that does nothing; hold is off. Its processor time is
read from the operating system while a camera publishes at a fixed rate, so that other work on the
machine matters little. The camera's own time is another process's and is not counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import rclpy
import typer
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from flmm_ros.cli.command_line import run_command
from flmm_ros.ros.messages.conversions import image_to_msg
from flmm_sim.processes import ChildProcess

NAMESPACE = "/idle"
START_S = 180.0
SETTLE_S = 2.0
CASES = ((480, 640, 30.0, 0.05), (1080, 1920, 30.0, 0.15))  # height, width, Hz, allowed share


@dataclass(frozen=True)
class IdleCost:
    """One camera. share: seconds of one core a second. received_hz: what the node counted."""

    height_px: int
    width_px: int
    camera_hz: float
    has_depth: bool
    share: float
    received_hz: float
    allowed_share: float


class Camera:
    """Publishes one picture, with depth and camera_info where asked, at a fixed rate; hears the
    node's diagnostics."""

    def __init__(self, node: Node, size_hw: tuple[int, int], *, has_depth: bool) -> None:
        self.node = node
        self.executor = SingleThreadedExecutor(context=node.context)
        self.executor.add_node(node)
        profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        picture = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
        self._sent = [
            (node.create_publisher(Image, "image", profile), image_to_msg(picture, Header()))
        ]
        if has_depth:
            depth = image_to_msg(np.full(size_hw, 800, np.uint16), Header())
            depth.encoding = "16UC1"
            focal_px = float(size_hw[1])
            k = [focal_px, 0.0, size_hw[1] / 2, 0.0, focal_px, size_hw[0] / 2, 0.0, 0.0, 1.0]
            info = CameraInfo(height=size_hw[0], width=size_hw[1], k=k)
            self._sent.append((node.create_publisher(Image, "depth", profile), depth))
            self._sent.append((node.create_publisher(CameraInfo, "camera_info", profile), info))
        self.received = 0
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def run(self, seconds: float, rate_hz: float) -> None:
        """Publishes for so long."""
        due_s = time.monotonic()
        end_s = due_s + seconds
        while due_s < end_s:
            stamp = self.node.get_clock().now().to_msg()
            for publisher, msg in self._sent:
                msg.header = Header(stamp=stamp, frame_id="camera")
                publisher.publish(msg)
            due_s += 1.0 / rate_hz
            self.executor.spin_once(timeout_sec=0.0)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            values = {value.key: value.value for value in status.values}
            self.received = int(values.get("images received", self.received))


def measure(
    size_hw: tuple[int, int], rate_hz: float, *, has_depth: bool, seconds: float, out: Path
) -> tuple[float, float]:
    """The node's share of one core, and the images a second that it counted.

    Raises:
        RuntimeError, TimeoutError: the node did not come up, or receives nothing.
    """
    arguments = ["--ros-args", "-r", f"__ns:={NAMESPACE}", "-p", "autostart:=true"]
    with ExitStack() as stack:
        context = rclpy.context.Context()
        context.init()
        stack.callback(context.shutdown)
        node = Node("camera", namespace=NAMESPACE, context=context)
        stack.callback(node.destroy_node)
        camera = Camera(node, size_hw, has_depth=has_depth)
        stack.callback(camera.executor.shutdown)
        child = ChildProcess(
            "the node", "benchmarks.node.plain_node", arguments, out / "idle_node.log"
        )
        stack.enter_context(child)
        end_s = time.monotonic() + START_S
        while camera.received == 0:
            child.check()
            if time.monotonic() > end_s:
                raise TimeoutError(f"expected the node to receive images within {START_S:g} s")
            camera.run(0.5, rate_hz)
        camera.run(SETTLE_S, rate_hz)
        process = psutil.Process(child.pid)
        start_s, used_s, before = time.monotonic(), sum(process.cpu_times()[:2]), camera.received
        camera.run(seconds, rate_hz)
        took_s = time.monotonic() - start_s
        share = (sum(process.cpu_times()[:2]) - used_s) / took_s
        return float(share), (camera.received - before) / took_s


def idle(
    seconds: Annotated[float, typer.Option(help="How long each size is measured.")] = 10.0,
    depth: Annotated[bool, typer.Option(help="Also with depth and camera_info.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for idle.json and the node's log.")] = Path(
        "out/overhead"
    ),
) -> int:
    """What the node costs while a camera runs and nobody asks.

    Exit status: 0 every share is within what is allowed, 1 one is not, 2 it could not run.
    """
    found = []
    cases = [
        (case, has_depth) for case in CASES for has_depth in ((False, True) if depth else (False,))
    ]
    for (height, width, rate_hz, allowed), has_depth in track(cases, description="cameras"):
        share, received_hz = measure(
            (height, width), rate_hz, has_depth=has_depth, seconds=seconds, out=out
        )
        # Depth is measured, not judged: what is allowed is stated for one image topic.
        found.append(IdleCost(height, width, rate_hz, has_depth, share, received_hz, allowed))
    table = Table("camera", "share of a core", "allowed", "images/s counted", title="an idle node")
    for cost in found:
        name = f"{cost.width_px}x{cost.height_px} at {cost.camera_hz:g} Hz"
        allowed_text = "-" if cost.has_depth else f"{cost.allowed_share:.0%}"
        name += " with depth" if cost.has_depth else ""
        table.add_row(name, f"{cost.share:.1%}", allowed_text, f"{cost.received_hz:.1f}")
    Console().print(table)
    load = psutil.getloadavg()[0]
    Console().print(f"load average {load:.1f} on {os.cpu_count()} CPUs", highlight=False)
    content = {"cpus": os.cpu_count(), "load_average": load, "cases": [asdict(c) for c in found]}
    out.mkdir(parents=True, exist_ok=True)
    (out / "idle.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0 if all(c.share <= c.allowed_share for c in found if not c.has_depth) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    try:
        return run_command(idle, argv)
    except (RuntimeError, TimeoutError) as error:
        print(f"idle: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
