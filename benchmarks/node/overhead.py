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

"""What the node costs above the engine: the same command to both, in turns.

A pair is one direct call of the engine in this process and one command to the node in its own
process, by topic or by action, about a 640x480 picture of a camera that runs at 10 Hz meanwhile.
The engine is one that does next to nothing (`plain_node`), so that what differs is the node:
transport, executor, pairing with the newest image, decoding, parameters, checks, messages with mask
and runs, and the way back. Overhead = the node's answer time minus the direct call's of the same
pair.

Other work on the machine is measured too: the load average stands beside the result, and the CPU
time of the node's process for one command.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from benchmarks.node.plain_engine import PlainGrounder, engine_ms
from flmm_ros.action import Ground
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.messages.conversions import image_to_msg
from flmm_sim.processes import ChildProcess

NAMESPACE, NODE = "/overhead", "grounding_node"
SIZE_HW = (480, 640)
CAMERA_HZ = 10.0
MAX_P99_MS = 5.0
IDLE_S = 3.0
# At most, between two pairs. Goals that have ended stand in every status message for ten seconds
# more; at a high rate that alone would be measured.
PAUSE_S = {"topic": 0.02, "action": 0.2}
WARM_UP = 20  # first calls of everything, discovery among them
ANSWER_S = 20.0
COMMAND = "point at the rectangle"


@dataclass
class PairTimes:
    """Milliseconds of each pair, and of the node's own parts of it."""

    direct: list[float] = field(default_factory=list)
    node: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)  # worker: image, parameters, message
    wait: list[float] = field(default_factory=list)  # before the worker began
    cpu_ms: float = 0.0  # of the node's process for one command, above what it uses when idle

    @property
    def overhead(self) -> NDArray[np.float64]:
        """Of each pair."""
        return np.array(self.node) - np.array(self.direct)

    @property
    def way(self) -> NDArray[np.float64]:
        """Of each pair: there and back, executors and messages."""
        return np.array(self.node) - np.array(self.work) - np.array(self.wait)


class CommandSender:
    """Sends one command at a time and waits for its answer."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self._executor, self._asked = executor, 0
        self._answers: list[GroundedAnswer] = []
        node.create_subscription(GroundedAnswer, f"{NODE}/grounding", self._answers.append, 10)
        self._command = node.create_publisher(String, "command", 10)
        self._action: Any = ActionClient(node, Ground, f"{NODE}/ground")

    def by_topic(self) -> GroundedAnswer:
        """By command and ~/grounding."""
        self._asked += 1
        text = f"{COMMAND} {self._asked}"  # goals are answered on the topic too, perhaps only now
        self._answers.clear()
        self._command.publish(String(data=text))
        self._spin_until(lambda: any(msg.command == text for msg in self._answers))
        return self._answers[-1]

    def by_action(self) -> GroundedAnswer:
        """By the action's goal and result."""
        sent = self._action.send_goal_async(Ground.Goal(command=COMMAND))
        self._spin_until(sent.done)
        result = sent.result().get_result_async()
        self._spin_until(result.done)
        answer: GroundedAnswer = result.result().result.answer
        return answer

    def wait_for_node(self, child: ChildProcess) -> None:
        """Until commands arrive and are answered with OK."""
        end_s = time.monotonic() + 180.0
        while time.monotonic() < end_s:
            child.check()
            self._executor.spin_once(timeout_sec=0.1)
            is_there = self._command.get_subscription_count() and self._action.server_is_ready()
            if is_there and self.by_action().error_code == GroundedAnswer.OK:
                self.by_topic()
                return
        raise TimeoutError("expected an active node within 180 s, got none; see its log")

    def _spin_until(self, is_done: Any) -> None:
        end_s = time.monotonic() + ANSWER_S
        while not is_done():
            self._executor.spin_once(timeout_sec=0.5)
            if time.monotonic() > end_s:
                raise TimeoutError(f"expected an answer within {ANSWER_S:g} s, got none")


class Camera:
    """Publishes one picture at CAMERA_HZ on a thread of its own."""

    def __init__(self, node: Node, picture: NDArray[np.uint8]) -> None:
        self._publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
        self._node, self._picture = node, picture
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._is_over.wait(1.0 / CAMERA_HZ):
            stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(image_to_msg(self._picture, Header(stamp=stamp)))

    def close(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self._thread.join()


def measure(count: int, out: Path) -> dict[str, PairTimes]:
    """Runs `count` pairs by topic and by action.

    Raises:
        RuntimeError, TimeoutError: the node did not come up or did not answer.
    """
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    arguments = ["--ros-args", "-r", f"__ns:={NAMESPACE}", "-p", "autostart:=true"]
    with ExitStack() as stack:
        context = rclpy.context.Context()
        context.init()
        stack.callback(context.shutdown)
        node = Node("asker", namespace=NAMESPACE, context=context)
        stack.callback(node.destroy_node)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        stack.callback(executor.shutdown)
        stack.callback(Camera(node, picture).close)
        sender = CommandSender(node, executor)
        child = ChildProcess("the node", "benchmarks.node.plain_node", arguments, out / "node.log")
        stack.enter_context(child)
        sender.wait_for_node(child)
        engine = PlainGrounder(GrounderConfig())
        found = {"topic": PairTimes(), "action": PairTimes()}
        pause = random.Random(0)
        process = psutil.Process(child.pid)
        for name, ask in (("topic", sender.by_topic), ("action", sender.by_action)):
            for _ in range(WARM_UP):
                ask()
            idle = _cpu_share(process)
            start_s, used_s = time.monotonic(), sum(process.cpu_times()[:2])
            for _ in track(range(count), description=f"pairs by {name}"):
                time.sleep(pause.uniform(0.0, PAUSE_S[name]))  # not in step with camera and timers
                _pair(found[name], engine, picture, ask)
            used_s = sum(process.cpu_times()[:2]) - used_s
            used_s -= idle * (time.monotonic() - start_s)
            found[name].cpu_ms = 1e3 * used_s / count
    return found


def _cpu_share(process: psutil.Process) -> float:
    """CPU seconds a second that the node uses without commands: for images and timers."""
    start_s, used_s = time.monotonic(), sum(process.cpu_times()[:2])
    time.sleep(IDLE_S)
    return float(sum(process.cpu_times()[:2]) - used_s) / (time.monotonic() - start_s)


def _pair(pairs: PairTimes, engine: PlainGrounder, picture: NDArray[np.uint8], ask: Any) -> None:
    start_s = time.perf_counter()
    engine.open(picture).chat().say(COMMAND)
    middle_s = time.perf_counter()
    msg = ask()
    end_s = time.perf_counter()
    if msg.error_code != GroundedAnswer.OK:
        raise RuntimeError(f"expected an answer, got a refusal: {msg.error_text}")
    pairs.direct.append(1e3 * (middle_s - start_s))
    pairs.node.append(1e3 * (end_s - middle_s))
    pairs.work.append(msg.total_ms - engine_ms(msg.answer))
    pairs.wait.append(msg.wait_ms)


def percentiles(values: NDArray[np.float64] | Sequence[float]) -> dict[str, float]:
    """Milliseconds at p50, p90, p99 and at most."""
    named = {f"p{p}": float(np.percentile(values, p)) for p in (50, 90, 99)}
    return {**named, "max": float(np.max(values))}


def summary(found: dict[str, PairTimes]) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "floor_p99_ms": MAX_P99_MS,
        "size_hw": SIZE_HW,
        "camera_hz": CAMERA_HZ,
        "cpus": os.cpu_count(),
        "load_average": psutil.getloadavg(),
        **{
            name: {
                "pairs": len(pairs.node),
                "direct_ms": percentiles(pairs.direct),
                "overhead_ms": percentiles(pairs.overhead),
                "way_ms": percentiles(pairs.way),
                "work_ms": percentiles(pairs.work),
                "wait_ms": percentiles(pairs.wait),
                "cpu_ms": pairs.cpu_ms,
            }
            for name, pairs in found.items()
        },
    }


def show(content: dict[str, Any], console: Console) -> None:
    """Prints the table."""
    table = Table("milliseconds", "p50", "p90", "p99", "max", title="the node above the engine")
    rows = {
        "overhead_ms": "overhead",
        "way_ms": "  there and back, executors",
        "wait_ms": "  wait for the worker",
        "work_ms": "  image, parameters, message",
        "direct_ms": "(the engine itself, direct)",
    }
    for name in ("topic", "action"):
        for key, label in rows.items():
            values = (f"{content[name][key][p]:.2f}" for p in ("p50", "p90", "p99", "max"))
            table.add_row(f"{name}: {label}" if key == "overhead_ms" else f"  {label}", *values)
        table.add_row("  CPU time of the node, mean", f"{content[name]['cpu_ms']:.2f}")
    console.print(table)
    load = content["load_average"][0]
    pairs, cpus = content["topic"]["pairs"], content["cpus"]
    console.print(f"{pairs} pairs each; load average {load:.1f} on {cpus} CPUs", highlight=False)
