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

"""The demo's client, a ROS node: changes the scene, waits until the camera shows it, asks.

Everything goes through the interfaces a user has: the camera's parameter service, the topics, the
action.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import String

from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.client import GroundingClient, GroundingResult, result_from_msg
from flmm_ros.ros.client.node_thread import NodeThread
from flmm_ros.ros.client.repeated_call import RepeatedCall
from flmm_ros.ros.messages.conversions import rgb_from_msg

CAMERA, GROUNDING = "camera", "grounding_node"
_POLL_S = 0.1
_SERVICE_S = 30.0  # for a call of a service that is there
_UNCONFIGURED_S = 3.0  # a node that starts by itself leaves this state at once, or has failed


class DemoClient:
    """Works a camera and a grounding node. A context manager: leaving it ends its thread.

    Args:
        node: its own node; spun here and nowhere else.
        check: called while it waits; raises where waiting is in vain (a process has ended).
    """

    def __init__(self, node: Node, check: Callable[[], None]) -> None:
        self._node, self._check = node, check
        self._lock = threading.Lock()
        self._frames = 0
        self._frame: Image | None = None
        self._answers: queue.Queue[GroundedAnswer] = queue.Queue()
        node.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)
        node.create_subscription(GroundedAnswer, f"{GROUNDING}/grounding", self._answers.put, 10)
        self._command = node.create_publisher(String, "command", 10)
        self._set_parameters = node.create_client(SetParameters, f"{CAMERA}/set_parameters")
        self._get_state = node.create_client(GetState, f"{GROUNDING}/get_state")
        self._client = GroundingClient(node, GROUNDING)
        self._thread = NodeThread(node)
        self._thread.start()

    def __enter__(self) -> DemoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._thread.close()
        self._node.destroy_node()

    def wait_for_camera(self, timeout_s: float) -> None:
        """Returns when a picture has come and the camera's parameters can be set."""
        self._wait(lambda: self._frames > 0, timeout_s, "a picture on the topic image")
        self._wait(self._set_parameters.service_is_ready, timeout_s, "the camera's parameters")

    def wait_until_active(self, timeout_s: float) -> None:
        """Returns when the grounding node is active; RuntimeError where it failed to load."""
        self._wait(self._get_state.service_is_ready, timeout_s, "the grounding node")
        since_s, has_begun = time.monotonic(), False

        def is_active() -> bool:
            nonlocal has_begun
            state = self._call(self._get_state, GetState.Request()).current_state
            is_waiting = state.id == State.PRIMARY_STATE_UNCONFIGURED
            late = time.monotonic() - since_s > _UNCONFIGURED_S
            if is_waiting and (has_begun or late):
                why = self.ask("are you there?", _SERVICE_S).error_text
                raise RuntimeError(f"the grounding node did not load its model: {why}")
            has_begun = has_begun or not is_waiting
            return bool(state.id == State.PRIMARY_STATE_ACTIVE)

        self._wait(is_active, timeout_s, "an active grounding node")

    def show_scene(self, seed: int, picture: NDArray[np.uint8], timeout_s: float) -> int:
        """Changes the scene and waits until the camera shows exactly `picture`, RGB [H, W, 3].

        Returns the stamp in nanoseconds of the first such image: no later answer may be older.
        """
        value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed)
        request = SetParameters.Request(parameters=[Parameter(name="seed", value=value)])
        result = self._call(self._set_parameters, request).results[0]
        if not result.successful:
            raise RuntimeError(f"the camera refused seed {seed}: {result.reason}")
        self._wait(lambda: self._shows(picture), timeout_s, f"the picture of scene {seed}")
        with self._lock:
            first = self._frame
        if first is None:  # cannot be: `_shows` has seen it
            raise RuntimeError("the camera's first image is missing")
        return Time.from_msg(first.header.stamp).nanoseconds

    def ask(
        self,
        command: str,
        timeout_s: float,
        *,
        since_ns: int = 0,
        by_topic: bool = False,
        chat_id: str = "",
    ) -> GroundingResult:
        """Asks by action or by topic, and again while the node has not seen the new scene yet.

        since_ns: no answer may be about an older picture than this (0 = any picture, or none).
        Discovery takes a moment: pictures may reach this process before they reach the node.
        """
        end_s = time.monotonic() + timeout_s
        while True:
            if by_topic:
                result = self._ask_by_topic(command, timeout_s)
            else:
                result = self._client.ground(command, timeout_s=timeout_s, chat_id=chat_id)
            stamp_ns = Time.from_msg(result.header.stamp).nanoseconds
            is_early = result.error == "NO_IMAGE" or (result.is_ok and stamp_ns < since_ns)
            if since_ns == 0 or not is_early:
                return result
            if time.monotonic() > end_s:
                raise TimeoutError(
                    f"expected an answer about the new scene to {command!r} in {timeout_s:g} s; "
                    "the grounding node does not see the new pictures"
                )
            self._check()
            time.sleep(_POLL_S)

    def _ask_by_topic(self, command: str, timeout_s: float) -> GroundingResult:
        """The answer is the next one on the grounding topic with this text."""
        while not self._answers.empty():
            self._answers.get_nowait()
        self._wait(
            lambda: self._command.get_subscription_count() > 0, timeout_s, "a listener on command"
        )
        self._command.publish(String(data=command))
        heard: list[GroundedAnswer] = []

        def is_answered() -> bool:
            while not self._answers.empty():
                msg = self._answers.get_nowait()
                if msg.command == command and msg.command_id.startswith("topic-"):
                    heard.append(msg)
            return bool(heard)

        self._wait(is_answered, timeout_s, f"an answer to {command!r} on the grounding topic")
        return result_from_msg(heard[0])

    def _on_image(self, msg: Image) -> None:
        with self._lock:
            self._frame = msg
            self._frames += 1

    def _shows(self, picture: NDArray[np.uint8]) -> bool:
        with self._lock:
            frame = self._frame
        return frame is not None and bool(np.array_equal(rgb_from_msg(frame), picture))

    def _call(self, client: Any, request: Any) -> Any:
        call = RepeatedCall(client, request)
        return self._wait(call.answer, _SERVICE_S, f"an answer of the service {client.srv_name}")

    def _wait(self, there: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Until something is there, which is returned; raises TimeoutError that names it."""
        end_s = time.monotonic() + timeout_s
        while not (found := there()):
            self._check()
            if time.monotonic() > end_s:
                raise TimeoutError(f"expected {what} within {timeout_s:g} s, nothing came")
            time.sleep(_POLL_S)
        return found
