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

"""Observes a simulated grasp world over ROS: where things really are, and pictures of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from flmm_ros.ros.client.node_thread import NodeThread
from flmm_ros.ros.client.repeated_call import RepeatedCall
from flmm_ros.ros.messages.conversions import rgb_from_msg

_POLL_S = 0.1
_FILM_S = 0.5  # of the world, between two pictures of the film


class WorldMonitor:
    """Listens on a thread of its own; leaving it ends that.

    Args:
        check: called while it waits; raises where waiting is in vain.

    seed: of the world that is shown; -1 before it is known. film: pictures RGB [H, W, 3] of it
    since the beginning. overlay: what the grounding node saw, with its masks; None before the first
    answer.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self.film: list[NDArray[np.uint8]] = []
        self.overlay: NDArray[np.uint8] | None = None
        self.seed = -1
        self._filmed_ns = 0
        self._places: dict[str, NDArray[np.float64]] = {}
        self._stamp_ns = 0
        self._node = rclpy.create_node("grasp_judge")
        self._set_parameters = self._node.create_client(SetParameters, "grasp_world/set_parameters")
        self._node.create_subscription(MarkerArray, "truth", self._on_truth, 1)
        self._node.create_subscription(Image, "onlooker", self._on_picture, QoSProfile(depth=2))
        self._node.create_subscription(
            Image, "grounding_node/overlay", self._on_overlay, qos_profile_sensor_data
        )
        self._thread = NodeThread(self._node)

    def __enter__(self) -> WorldMonitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.close()
        self._node.destroy_node()

    def show(self, seed: int, timeout_s: float) -> None:
        """Changes the world, and begins the film anew.

        Raises:
            TimeoutError: it did not change.
        """
        self._wait(self._set_parameters.service_is_ready, timeout_s, "the world's parameters")
        value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed)
        request = SetParameters.Request(parameters=[Parameter(name="seed", value=value)])
        call = RepeatedCall(self._set_parameters, request)
        self._wait(lambda: call.answer() and self.seed == seed, timeout_s, f"the world {seed}")
        self.film, self.overlay = [], None

    def places(self, timeout_s: float) -> dict[str, NDArray[np.float64]]:
        """Where the middle of every thing is [3], in a report of after this call; by name.

        Raises:
            TimeoutError: the world is silent.
        """
        since_ns = self._node.get_clock().now().nanoseconds
        self._wait(lambda: self._stamp_ns > since_ns and bool(self.film), timeout_s, "truth")
        return self._places

    def _wait(self, is_done: Callable[[], Any], timeout_s: float, what: str) -> None:
        end_s = time.monotonic() + timeout_s
        while not is_done():
            self._check()
            if time.monotonic() > end_s:
                raise TimeoutError(f"expected {what} within {timeout_s:g} s, nothing came")
            time.sleep(_POLL_S)

    def _on_truth(self, msg: MarkerArray) -> None:
        at = {m.ns: m.pose.position for m in msg.markers}
        self._places = {name: np.array([p.x, p.y, p.z]) for name, p in at.items()}
        self._stamp_ns = Time.from_msg(msg.markers[0].header.stamp).nanoseconds
        self.seed = msg.markers[0].id

    def _on_picture(self, msg: Image) -> None:
        stamp_ns = Time.from_msg(msg.header.stamp).nanoseconds
        if stamp_ns - self._filmed_ns >= 1e9 * _FILM_S:
            self._filmed_ns = stamp_ns
            self.film.append(rgb_from_msg(msg))

    def _on_overlay(self, msg: Image) -> None:
        self.overlay = rgb_from_msg(msg)
