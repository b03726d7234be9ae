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

"""The robot program by value: on an arm that is where it is told, and answers made up here."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from invented_answers import (
    CUBE_M,
    DOWN,
    MUG_M,
    T_WORLD_CAMERA,
    answer_of,
    target_at,
)

from examples.grasping import robot as grasp_robot
from examples.grasping.geometry import shift
from examples.grasping.interface import Pose
from flmm_ros.ros.client.grounding_result import GroundingResult
from flmm_ros.ros.messages.found_target import FoundTarget

ASIDE = shift(-0.3, 0.0, 0.5) @ DOWN
PUT = "put the red mug to the left of the blue cube"
LEFT_OF_CUBE_M = (-0.15, 0.02)


@dataclass
class Arm:
    """Gets to wherever nothing is in the way, and holds what it closes on."""

    T_world_tip: Pose = field(default_factory=lambda: ASIDE.copy())
    blocked: list[bool] = field(default_factory=list)  # the next ways down
    width_m: float = 0.08
    closed_at: list[Pose] = field(default_factory=list)
    opened_at: list[tuple[Pose, float]] = field(default_factory=list)  # where it let something go
    T_world_camera: Pose = field(default_factory=lambda: T_WORLD_CAMERA)

    @property
    def holds_something(self) -> bool:
        return self.width_m == 0.04

    def wait_for_picture(self) -> None:
        np.testing.assert_allclose(self.T_world_tip, ASIDE)  # it hides nothing

    def move(self, T_world_tip: Pose) -> bool:
        if T_world_tip[2, 3] < 0.05 and self.blocked and self.blocked.pop(0):
            return False
        self.T_world_tip = T_world_tip
        return True

    def open_to(self, width_m: float) -> None:
        if width_m == 0.0:
            self.closed_at.append(self.T_world_tip)
        elif self.holds_something:
            self.opened_at.append((self.T_world_tip, width_m))
        self.width_m = max(width_m, 0.04)


@dataclass
class Client:
    """Gives one answer after the other, and always knows what is on the table."""

    answers: list[GroundingResult]
    things: list[FoundTarget] = field(default_factory=list)

    def ground(
        self, command: str, *, timeout_s: float = 0.0, wait_for_node_s: float = 0.0
    ) -> GroundingResult:
        if command == "what is on the table?":
            return answer_of(*self.things)
        return self.answers.pop(0)


def test_what_is_put_is_where_it_was_told_and_is_looked_at_again() -> None:
    arm = Arm()
    before = answer_of(target_at(*MUG_M), target_at(*CUBE_M))
    after = answer_of(target_at(-0.14, 0.02), target_at(*CUBE_M))  # 1 cm off is near enough
    client = Client([before, after])
    assert grasp_robot.fulfil(client, arm, PUT) == f"Done: {PUT}"
    assert not client.answers
    ((T, width_m),) = arm.opened_at
    # It was gripped 1 mm beside its middle, and that is where it is let go.
    np.testing.assert_allclose(T[:2, 3], np.add(LEFT_OF_CUBE_M, (0.001, 0.0)), atol=1e-9)
    assert T[2, 3] == pytest.approx(0.013)  # a little above the table
    np.testing.assert_allclose(T[:3, :3], DOWN[:3, :3], atol=1e-9)
    assert width_m == pytest.approx(0.06)


def test_the_hand_turns_away_from_what_it_would_meet() -> None:
    arm = Arm()
    there = answer_of(target_at(*LEFT_OF_CUBE_M), target_at(*CUBE_M))
    client = Client([answer_of(target_at(*MUG_M), target_at(*CUBE_M)), there])
    tall = target_at(
        -0.15, 0.11, height_m=0.08
    )  # 9 cm behind the place: the hand is 10 cm broad that way
    client.things = [target_at(*CUBE_M), tall, target_at(*MUG_M)]
    assert grasp_robot.fulfil(client, arm, PUT) == f"Done: {PUT}"
    ((T, _),) = arm.opened_at
    turn_deg = np.degrees(np.arctan2(T[0, 1], -T[1, 1]))
    assert 30 <= abs(turn_deg) <= 60
    # It was gripped 1 mm beside its middle, and the hand has turned about that middle.
    assert np.hypot(*(T[:2, 3] - LEFT_OF_CUBE_M)) == pytest.approx(0.001)


def test_what_reaches_out_of_the_picture_is_left_as_it_was_put() -> None:
    arm = Arm()
    cube = target_at(*CUBE_M)
    cut = answer_of(target_at(-0.12, 0.02), cube, box_xyxy_px=(0, 1, 2, 2))
    client = Client([answer_of(target_at(*MUG_M), cube), cut])
    assert grasp_robot.fulfil(client, arm, PUT) == f"Done: {PUT}"
    assert len(arm.opened_at) == 1


def test_what_lies_wrong_is_put_again() -> None:
    arm = Arm()
    cube = target_at(*CUBE_M)
    places = (MUG_M, (-0.12, 0.02), LEFT_OF_CUBE_M)
    client = Client([answer_of(target_at(*place), cube) for place in places])
    assert grasp_robot.fulfil(client, arm, PUT) == f"Done: {PUT}"
    assert len(arm.closed_at) == len(arm.opened_at) == 2
    assert arm.closed_at[1][0, 3] == pytest.approx(-0.12 + 0.002)  # by the second grasp


def test_what_lies_right_is_left_alone() -> None:
    arm = Arm()
    client = Client([answer_of(target_at(-0.15, 0.03), target_at(*CUBE_M))])
    assert grasp_robot.fulfil(client, arm, PUT) == f"Done: {PUT}"
    assert not arm.closed_at


def test_a_way_that_is_blocked_means_to_look_again_and_grip_elsewhere() -> None:
    arm = Arm(blocked=[True])
    client = Client([answer_of(target_at(*MUG_M)), answer_of(target_at(0.11, 0.05))])
    assert grasp_robot.fulfil(client, arm, "pick up the mug") == "Done: pick up the mug"
    assert [T[0, 3] for T in arm.closed_at] == pytest.approx([0.11 + 0.002])
    assert arm.T_world_tip[2, 3] == pytest.approx(0.01 + 0.13)  # it hangs there


def test_where_the_hand_meets_something_it_turns() -> None:
    arm = Arm(blocked=[False, True, True])  # down to grip it, and twice to put it
    client = Client([answer_of(target_at(*MUG_M), target_at(*CUBE_M))] * 4)
    client.answers[1] = answer_of(target_at(*LEFT_OF_CUBE_M), target_at(*CUBE_M))
    assert grasp_robot.fulfil(client, arm, PUT) == f"Done: {PUT}"
    ((T, _),) = arm.opened_at
    assert abs(T[0, 1]) == pytest.approx(np.sin(np.radians(15)))  # the third try


def test_it_gives_up_and_says_so() -> None:
    arm = Arm(blocked=[True] * 9)
    client = Client([answer_of(target_at(*MUG_M))] * 9)
    assert grasp_robot.fulfil(client, arm, "pick up it") == "I could not do it: pick up it"
    assert len(client.answers) == 9 - grasp_robot.LOOKS


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answer_of(), "Which one?"),
        (answer_of(target_at(*MUG_M), is_ambiguous=True), "Which one?"),
        (answer_of(None), "I cannot tell where it is: no depth"),
        (answer_of(target_at(*MUG_M), None), "I cannot tell where it is: no depth"),
    ],
)
def test_it_asks_back_and_touches_nothing(answer: GroundingResult, said: str) -> None:
    arm = Arm()
    assert grasp_robot.fulfil(Client([answer]), arm, PUT) == said
    assert not arm.closed_at
