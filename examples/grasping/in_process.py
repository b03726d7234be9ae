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

"""A grasp world and the engine in this process, with the interfaces that they have over ROS.

`InProcessArm` offers what `ArmClient` does and `InProcessClient` what `GroundingClient` does, so
that the program of robot.py runs on both. Answers are made and read by the node's own code and
messages, but nothing is sent: no ROS graph is needed. Time passes only while the arm waits.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.ros.client.grounding_result import GroundingResult, result_from_msg
from flmm_ros.ros.commands.answer_message import answer_to_msg
from flmm_ros.ros.depth.depth_images import DepthImages
from flmm_ros.ros.interface.node_config import SpaceConfig
from flmm_ros.ros.targets.target_finding import find_targets, settings_from
from flmm_ros.ros.targets.target_messages import add_targets
from flmm_sim.arm.arm_client import (
    ARRIVED_M,
    GRIP_REPORTS,
    HOLDING_M,
    PICTURE_S,
    REPORT_S,
    is_at_rest,
)
from flmm_sim.arm.kinematics import UnreachableError
from flmm_sim.arm.world import GraspWorld
from flmm_sim.nodes.camera_node import FRAME_ID, depth_to_msg, info_to_msg
from flmm_sim.tabletop.camera import Picture

_MOVE_S = 60.0  # of the world: no motion takes that long
_AS_THE_NODE = settings_from(TargetConfig(), SpaceConfig(), "image")


@dataclass(frozen=True)
class AnsweredCommand:
    """One answer: as a robot program has it, as the engine gave it, and what it is about."""

    result: GroundingResult
    objects: tuple[Grounding, ...]
    picture: Picture


class InProcessArm:
    """Moves the finger tips and the fingers of a world's arm, and lets time pass meanwhile.

    moves: how often it was told to move. grips: how often the fingers were closed. puts: how often
    they let something go.
    """

    def __init__(self, world: GraspWorld) -> None:
        self._world = world
        self._is_closed = False
        self.moves = self.grips = self.puts = 0

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """The camera's pose [4, 4], optical convention (z forward, x right, y down)."""
        return self._world.T_world_camera

    @property
    def T_world_tip(self) -> NDArray[np.float64]:
        """Where the finger tips are [4, 4]."""
        return self._world.arm.tip

    @property
    def width_m(self) -> float:
        """How far the fingers are apart."""
        return self._world.arm.width_m

    @property
    def holds_something(self) -> bool:
        """Closed fingers that do not meet."""
        return self.width_m > HOLDING_M

    def wait_for_picture(self) -> None:
        """Lets as much time pass as the camera takes."""
        self._world.step(PICTURE_S)

    def move(self, T_world_tip: NDArray[np.float64]) -> bool:
        """Brings the finger tips to a pose [4, 4]; False: the arm came to rest somewhere else."""
        self.moves += 1
        try:
            self._world.arm.go_to(T_world_tip)
        except UnreachableError:
            return False
        tips_m: list[NDArray[np.float64]] = []
        while not is_at_rest(tips_m) and len(tips_m) < _MOVE_S / REPORT_S:
            self._world.step(REPORT_S)
            tips_m.append(self._world.arm.tip[:3, 3])
        return bool(np.linalg.norm(tips_m[-1] - T_world_tip[:3, 3]) < ARRIVED_M)

    def open_to(self, width_m: float) -> None:
        """Sends the fingers apart by so much; less than what is between them means: grip."""
        self.puts += self._is_closed and self.holds_something
        self._is_closed = width_m == 0.0
        self.grips += self._is_closed
        self._world.arm.open_to(width_m)
        self._world.step(GRIP_REPORTS * REPORT_S)


class InProcessClient:
    """Asks the engine about what the world's camera sees now, as the node would.

    asked: every answer so far.
    """

    def __init__(self, grounder: Grounder, world: GraspWorld) -> None:
        self._grounder, self._world = grounder, world
        self.asked: list[AnsweredCommand] = []

    def ground(
        self, command: str, *, timeout_s: float = 0.0, wait_for_node_s: float = 0.0
    ) -> GroundingResult:
        """The answer; it may take as long as it takes."""
        picture = self._world.picture()
        header = Header(stamp=Time(sec=1 + len(self.asked)), frame_id=FRAME_ID)
        answer = self._grounder.open(picture.rgb).ask(command)
        camera = DepthImages()
        camera.put_depth(serialize_message(depth_to_msg(picture.depth_m, header)))
        camera.put_info(info_to_msg(picture.K, picture.depth_m.shape, header))
        msg = answer_to_msg(answer, header, picture.depth_m.shape)
        watch = camera.watch(header)
        add_targets(msg, find_targets(answer.objects, header, watch, _NoFrames(), _AS_THE_NODE))
        result = dataclasses.replace(result_from_msg(msg), command=command)
        self.asked.append(AnsweredCommand(result, answer.objects, picture))
        return result


class _NoFrames:
    """Targets stay in the camera's frame."""

    def matrix(self, target_frame: str, header: Header, timeout_s: float) -> NDArray[np.float64]:
        raise TargetError(f"no transform to {target_frame}")
