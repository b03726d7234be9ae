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

"""Starts the real node in a process of its own, and talks to it over DDS as a robot would."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.node_thread import NodeThread
from flmm_ros.ros.client.repeated_call import RepeatedCall
from flmm_ros.ros.messages import conversions

ROOT = Path(__file__).resolve().parents[2]
MODEL = os.environ.get("FLMM_TEST_MODEL", "tabletop")  # the embedded one
PATIENCE = float(os.environ.get("FLMM_TEST_PATIENCE", "1"))  # more on a very busy machine
START_S, ANSWER_S = 60.0 * PATIENCE, 20.0 * PATIENCE  # generous as it is


def wait_until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The condition's first true value."""
    end_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.005)
    return value


class NodeProcess:
    """One grounding node as a process, in a namespace of its own."""

    def __init__(
        self,
        namespace: str,
        log: Path,
        *,
        script: str | None = None,
        module: str = "flmm_ros.ros.node.grounding_node",
        **parameters: Any,
    ):
        self.namespace, self.log = namespace, log
        program = [str(ROOT / "tests" / "ros" / script)] if script else ["-m", module]
        arguments = ["--ros-args", "-r", f"__ns:=/{namespace}"]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ["-p", f"{name}:={text}"]
        self._file = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    def text(self) -> str:
        """What the process has printed so far."""
        return self.log.read_text()

    def stop(self, number: int) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(START_S)

    def close(self) -> None:
        """Ends it in any case."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._file.close()


@dataclass
class Seen:
    """Everything the node has published, in order."""

    grounding: list[GroundedAnswer] = field(default_factory=list)
    answer: list[String] = field(default_factory=list)
    mask: list[Image] = field(default_factory=list)
    overlay: list[Image] = field(default_factory=list)
    diagnostics: list[DiagnosticArray] = field(default_factory=list)


class Robot:
    """The test's side of the topics: a camera, a microphone, and ears for all outputs."""

    def __init__(self, namespace: str) -> None:
        self.node = Node("robot", namespace=f"/{namespace}")
        self.seen = Seen()
        self._overlay: Any = None
        node, group = self.node, ReentrantCallbackGroup()
        sensor = qos_profile_sensor_data
        self.camera = node.create_publisher(Image, "image", sensor)
        self.compressed_camera: Any = None
        self.microphone = node.create_publisher(String, "command", 100)
        for kind, name in ((GroundedAnswer, "grounding"), (String, "answer"), (Image, "mask")):
            store = getattr(self.seen, name).append
            node.create_subscription(kind, f"grounding_node/{name}", store, 100)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, 10)
        self.action = ActionClient(node, Ground, "grounding_node/ground", callback_group=group)
        self._state = node.create_client(GetState, "grounding_node/get_state")
        self._change = node.create_client(ChangeState, "grounding_node/change_state")
        self._set = node.create_client(SetParameters, "grounding_node/set_parameters")
        self._thread = NodeThread(node)
        self._thread.start()

    def close(self) -> None:
        self._thread.close()
        self.node.destroy_node()

    def _diagnose(self, msg: DiagnosticArray) -> None:
        if msg.status[0].name.startswith(self.node.get_namespace() + "/"):
            self.seen.diagnostics.append(msg)

    # Lifecycle and parameters.

    def call(self, client: Any, request: Any, timeout_s: float = START_S) -> Any:
        """An answer for certain: whatever means the same when asked twice is asked again."""
        assert client.wait_for_service(timeout_s), f"{client.srv_name} is not there"
        if not isinstance(request, ChangeState.Request):
            return wait_until(RepeatedCall(client, request).answer, timeout_s, client.srv_name)
        future = client.call_async(request)
        wait_until(future.done, timeout_s, client.srv_name)
        return future.result()

    @property
    def state(self) -> str:
        return self.call(self._state, GetState.Request()).current_state.label

    def change(self, transition: str) -> bool:
        number = getattr(Transition, f"TRANSITION_{transition.upper()}")
        return self.call(
            self._change, ChangeState.Request(transition=Transition(id=number))
        ).success

    def set(self, **values: Any) -> list[str]:
        """Sets parameters; returns the reasons of those that were refused."""
        parameters = [Parameter(name, value=v).to_parameter_msg() for name, v in values.items()]
        reply = self.call(self._set, SetParameters.Request(parameters=parameters))
        return [result.reason for result in reply.results if not result.successful]

    def wait_for_state(self, state: str) -> None:
        wait_until(lambda: self.state == state, START_S, f"state {state}")

    # Camera and commands.

    def show(self, rgb: np.ndarray, header: Header | None = None) -> Header:
        """Publishes an image and waits until the node can have it."""
        header = header or self.header()
        self.publish(conversions.image_to_msg(rgb, header))
        return header

    def header(self, age_s: float = 0.0) -> Header:
        now_ns = self.node.get_clock().now().nanoseconds - int(age_s * 1e9)
        header = Header(frame_id="camera_color_optical_frame")
        header.stamp.sec, header.stamp.nanosec = divmod(now_ns, 1_000_000_000)
        return header

    def publish(self, msg: Image | CompressedImage) -> None:
        """Waits for the subscriber, publishes, and waits until the node has counted the image."""
        camera = self.camera if isinstance(msg, Image) else self.compressed()
        wait_until(camera.get_subscription_count, ANSWER_S, "the node's image subscription")
        time.sleep(0.05)
        camera.publish(msg)
        time.sleep(0.15)  # best effort has no acknowledgement

    def compressed(self) -> Any:
        if self.compressed_camera is None:
            profile = QoSProfile(depth=1)
            self.node.destroy_publisher(self.camera)
            time.sleep(0.5)  # one topic has one type; the old one goes when the executor lets go
            self.compressed_camera = self.node.create_publisher(CompressedImage, "image", profile)
        return self.compressed_camera

    def watch_overlay(self) -> None:
        store = self.seen.overlay.append
        self._overlay = self.node.create_subscription(Image, "grounding_node/overlay", store, 10)
        time.sleep(0.5)

    def say(self, text: str) -> GroundedAnswer:
        """A command by topic; returns its one answer."""
        return self.say_all([text])[0]

    def say_all(self, texts: list[str]) -> list[GroundedAnswer]:
        """Commands by topic, one right after another; returns their answers as they came."""
        wait_until(self.microphone.get_subscription_count, START_S, "the command subscription")
        before = len(self.seen.grounding)
        for text in texts:
            self.microphone.publish(String(data=text))
        seen = self.seen.grounding
        wait_until(lambda: len(seen) >= before + len(texts), ANSWER_S, f"answers to {texts}")
        return seen[before:]

    def send(self, command: str, **fields: Any) -> "Goal":
        """A goal; does not wait for its end."""
        assert self.action.wait_for_server(START_S)
        return Goal(self._thread, self.action, Ground.Goal(command=command, **fields))

    def ask(self, command: str, rgb: np.ndarray | None = None, **fields: Any) -> GroundedAnswer:
        """A goal, with its own image where one is given; returns its answer."""
        if rgb is not None:
            fields |= {"use_image": True, "image": conversions.image_to_msg(rgb, Header())}
        return self.send(command, **fields).result()


class Goal:
    """One action goal, its feedback and its end."""

    def __init__(self, thread: NodeThread, client: Any, goal: Ground.Goal) -> None:
        self.feedback: list[Ground.Feedback] = []
        self.handle: Any = None
        self._result: Any = None

        def on_accepted(future: Any) -> None:
            self.handle = future.result()
            self._result = self.handle.get_result_async()

        def send() -> None:
            sent = client.send_goal_async(goal, lambda msg: self.feedback.append(msg.feedback))
            sent.add_done_callback(on_accepted)

        thread.call(send)  # on its thread: see flmm_ros/ros/client/asked_goal.py
        wait_until(lambda: self._result, ANSWER_S, "acceptance of the goal")
        assert self.handle.accepted

    @property
    def stages(self) -> list[str]:
        """Stages reported so far, each once."""
        return list(dict.fromkeys(f.stage for f in list(self.feedback)))

    def wait_for_stage(self, stage: str) -> None:
        wait_until(lambda: stage in self.stages, ANSWER_S, f"feedback {stage}")

    def cancel(self) -> None:
        self.handle.cancel_goal_async()

    def result(self) -> GroundedAnswer:
        wait_until(self._result.done, ANSWER_S, "result of the goal")
        return self._result.result().result.answer

    @property
    def status(self) -> int:
        """action_msgs/GoalStatus of the finished goal."""
        return self._result.result().status
