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

"""Transforms between frames through tf2, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from flmm_ros.engine.errors import TargetError
from flmm_ros.ros.messages.poses import matrix_of


class TransformError(TargetError):
    """There is no transform; the targets stay in the camera's frame or are not known."""

    code = "TF_ERROR"


class Transforms:
    """Listens to /tf and /tf_static from its first use on."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tf2: Any = None
        self._buffer: Any = None
        self._listener: Any = None

    def open(self) -> None:
        """Begins to listen, where tf2_ros is installed; `matrix` says it where it is not."""
        if self._buffer is None and importlib.util.find_spec("tf2_ros") is not None:
            self._tf2 = importlib.import_module("tf2_ros")
            self._buffer = self._tf2.Buffer()
            self._listener = self._tf2.TransformListener(self._buffer, self._node)

    def close(self) -> None:
        """Ends listening."""
        if self._listener is not None:
            self._listener.unregister()
        self._listener = self._buffer = None

    def matrix(self, target_frame: str, header: Header, timeout_s: float) -> NDArray[np.float64]:
        """T_target_source [4, 4] at the header's stamp, from the header's frame.

        Raises:
            TransformError: tf2 is missing, or knows no such transform within timeout_s.
        """
        if self._buffer is None:
            self.open()
        if self._buffer is None:
            raise TransformError(
                f"target_frame: expected the package tf2_ros to bring targets into "
                f"{target_frame!r}, it is not installed; install ros-$ROS_DISTRO-tf2-ros-py or set "
                "target_frame to nothing"
            )
        try:
            found = self._buffer.lookup_transform(
                target_frame,
                header.frame_id,
                Time.from_msg(header.stamp),
                timeout=Duration(seconds=timeout_s),
            )
        except self._tf2.TransformException as error:
            raise TransformError(
                f"target_frame: expected a transform from {header.frame_id!r} to {target_frame!r} "
                f"at the image's stamp within {timeout_s:g} s (parameter tf_timeout), got: {error}"
            ) from error
        try:
            return matrix_of(found.transform)
        except ValueError as error:
            raise TransformError(
                f"target_frame: the transform from {header.frame_id!r} to {target_frame!r} is not "
                f"one: {error}; check who publishes it"
            ) from error
