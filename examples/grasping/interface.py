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

"""What the program of robot.py needs: an arm with a camera, and a grounding client.

`ArmClient` and `GroundingClient` offer it over ROS, the classes of in_process.py in one process.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flmm_ros.ros.client.grounding_result import GroundingResult

Pose = NDArray[np.float64]  # [4, 4], metres in the frame world


class ArmInterface(Protocol):
    """Finger tips and fingers that go where they are told, and a camera that stands still."""

    @property
    def T_world_camera(self) -> Pose:
        """The camera's pose, optical convention (z forward, x right, y down)."""
        ...

    @property
    def T_world_tip(self) -> Pose:
        """Where the finger tips are: z = approach, y = the line along which the fingers close."""
        ...

    @property
    def width_m(self) -> float:
        """How far the fingers are apart."""
        ...

    @property
    def holds_something(self) -> bool:
        """Closed fingers that do not meet."""
        ...

    def wait_for_picture(self) -> None:
        """Returns when the camera has taken a picture that begins after this call."""
        ...

    def move(self, T_world_tip: Pose) -> bool:
        """Brings the finger tips to a pose; False: the arm came to rest somewhere else."""
        ...

    def open_to(self, width_m: float) -> None:
        """Sends the fingers apart by so much; less than what is between them means: grip."""
        ...


class ClientInterface(Protocol):
    """Answers about what the camera sees now, with targets in the camera's frame."""

    def ground(
        self, command: str, *, timeout_s: float = ..., wait_for_node_s: float = ...
    ) -> GroundingResult:
        """The answer to a command; a refusal is one too."""
        ...
