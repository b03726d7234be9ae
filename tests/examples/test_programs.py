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

"""The small programs of examples/, against the real node and the real engine."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import py_trees
import pytest
import rclpy
from builtin_interfaces.msg import Time
from harness import NodeProcess, Robot
from invented_answers import DOWN, MUG_M, answer_of, target_at
from PIL import Image
from py_trees.common import Status
from rclpy.executors import SingleThreadedExecutor

from examples.behaviour_tree import FindObject
from examples.go_to_object import STANDOFF_M, go_to, goal_in_front_of
from examples.grasping.geometry import shift
from examples.pick_object import pick, pick_poses
from flmm_sim.tabletop.tabletop import Tabletop

ROOT = Path(__file__).parents[2]
SEED = 2_000_028  # blue ball, yellow bunny, blue cube, orange ring, blue duck, red mug
NAMESPACE = "example_programs"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, world: Tabletop) -> Iterator[Robot]:
    """A grounding node that has seen the scene, and who showed it."""
    is_first = not rclpy.ok()
    if is_first:
        rclpy.init()
    log = tmp_path_factory.mktemp("node") / "log.txt"
    process = NodeProcess(NAMESPACE, log, model="tabletop", threads=1, autostart=True)
    robot = Robot(NAMESPACE)
    robot.wait_for_state("active")
    robot.show(world.render(SEED).rgb)
    yield robot
    robot.close()
    process.close()
    if is_first:
        rclpy.try_shutdown()


def output_of(module: str, *arguments: str, ros: bool = True) -> str:
    ending = ["--ros-args", "-r", f"__ns:=/{NAMESPACE}"] if ros else []
    found = subprocess.run(
        [sys.executable, "-m", module, *arguments, *ending],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_node_is_asked(node: Robot) -> None:
    text = output_of("examples.ask_the_node", "pick", "up", "the", "red", "mug")
    assert "the red mug: score " in text


def test_a_conversation_knows_what_was_said(node: Robot) -> None:
    lines = output_of("examples.conversation", "pick up the red mug", "what color is it?")
    assert "red" in lines.splitlines()[-1]


@pytest.fixture
def photo(tmp_path: Path, world: Tabletop) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(world.render(SEED).rgb).save(path)
    return path


def test_a_photo_is_grounded(photo: Path) -> None:
    text = output_of("examples.ground_a_photo", str(photo), "the red mug", "the zebra", ros=False)
    mug, zebra = text.splitlines()
    assert mug.startswith("the red mug: (") and zebra.startswith("the zebra: not there")


def test_a_photo_is_talked_about(photo: Path) -> None:
    turns = ("pick up the red mug", "what color is it?")
    first, second = output_of("examples.talk_about_a_photo", str(photo), *turns, ros=False).split(
        "\n"
    )[:2]
    assert "['the red mug']" in first and "red" in second


@pytest.mark.parametrize(
    ("command", "status"),
    [("pick up the red mug", Status.SUCCESS), ("pick up the zebra", Status.FAILURE)],
)
def test_the_behaviour_finds_an_object_or_fails(node: Robot, command: str, status: Status) -> None:
    own = rclpy.create_node("tree", namespace=f"/{NAMESPACE}")
    executor = SingleThreadedExecutor()
    executor.add_node(own)
    find = FindObject(own, command)
    deadline = threading.Timer(60.0, lambda: None)
    deadline.start()
    while find.status in (Status.INVALID, Status.RUNNING) and deadline.is_alive():
        executor.spin_once(timeout_sec=0.05)
        find.tick_once()
    deadline.cancel()
    assert find.status is status, find.feedback_message
    if status is Status.SUCCESS:
        found = py_trees.blackboard.Blackboard.get("/found_object")
        assert found.phrase == "the red mug" and found.mask.any()
    executor.shutdown()
    own.destroy_node()


def client_of(answer: Any) -> Any:
    return SimpleNamespace(ground=lambda words, **_: answer)


@pytest.mark.parametrize(
    ("at_m", "goal_m"),
    [
        ((2.0, 0.0), (2.0 - STANDOFF_M, 0.0)),
        ((0.0, 3.0), (0.0, 3.0 - STANDOFF_M)),
        ((0.3, 0), (0, 0)),
    ],
)
def test_the_robot_stops_in_front_of_the_target_and_faces_it(
    at_m: tuple[float, float], goal_m: tuple[float, float]
) -> None:
    T = shift(at_m[0], at_m[1], 0.4)
    target: Any = SimpleNamespace(position_m=T[:3, 3], frame="base_link")
    goal = goal_in_front_of(target, Time(sec=7))
    place = (goal.pose.position.x, goal.pose.position.y)
    assert place == pytest.approx(goal_m, abs=1e-9)
    yaw_rad = 2 * math.atan2(goal.pose.orientation.z, goal.pose.orientation.w)
    assert yaw_rad == pytest.approx(math.atan2(at_m[1], at_m[0]))
    assert (goal.header.frame_id, goal.header.stamp.sec) == ("base_link", 7)


def test_nav2_is_only_sent_where_one_thing_is_meant() -> None:
    goals: list[Any] = []
    navigator = SimpleNamespace(
        goToPose=goals.append,
        isTaskComplete=lambda: True,
        getResult=lambda: SimpleNamespace(name="SUCCEEDED"),
    )
    assert go_to(client_of(answer_of(target_at(*MUG_M))), navigator, "x").endswith("SUCCEEDED")
    assert goals[0].header.frame_id == "camera"
    several = answer_of(target_at(*MUG_M), is_ambiguous=True)
    assert go_to(client_of(several), navigator, "x") == "Which one?"
    assert go_to(client_of(answer_of(None)), navigator, "x").endswith("no depth")
    assert len(goals) == 1


def test_the_hand_comes_along_its_approach_and_lifts_straight_up() -> None:
    before, at, lifted = pick_poses("panda_link0", shift(0.4, 0.1, 0.02) @ DOWN)
    heights_m = [p.pose.position.z for p in (before, at, lifted)]
    assert heights_m == pytest.approx([0.12, 0.02, 0.17])
    assert all(p.pose.position.x == pytest.approx(0.4) for p in (before, at, lifted))
    assert {p.header.frame_id for p in (before, at, lifted)} == {"panda_link0"}


class MoveIt:
    """MoveIt's part: plans to poses that `is_within_reach` allows."""

    def __init__(self, is_within_reach: Callable[[float], bool]) -> None:
        self._is_within_reach, self.moves = is_within_reach, []

    def get_planning_component(self, group: str) -> Any:
        goal: dict[str, Any] = {}

        def plan() -> Any:
            pose = goal.get("pose_stamped_msg")
            if pose is not None and not self._is_within_reach(pose.pose.position.x):
                return None
            return SimpleNamespace(trajectory=(group, goal.get("configuration_name", "pose")))

        return SimpleNamespace(
            set_start_state_to_current_state=lambda: None,
            set_goal_state=lambda **wanted: goal.update(wanted),
            plan=plan,
        )

    def execute(self, trajectory: Any, controllers: list[str]) -> bool:
        self.moves.append(trajectory)
        return True


def test_a_grasp_out_of_reach_is_followed_by_the_next() -> None:
    answer = answer_of(target_at(*MUG_M))
    first_x_m = answer.present[0].target.grasps[0].T_frame_grasp[0, 3]
    moveit = MoveIt(lambda x_m: not np.isclose(x_m, first_x_m))
    assert pick(client_of(answer), moveit, "the mug") == "Done: the mug"
    arm, hand = ("panda_arm", "pose"), "hand"
    assert moveit.moves[-5:] == [(hand, "open"), arm, arm, (hand, "close"), arm]
    assert pick(client_of(answer), MoveIt(lambda _: False), "it").startswith("I cannot reach it")


def test_every_integration_is_short() -> None:
    for name in ("go_to_object", "pick_object", "behaviour_tree"):
        text = (ROOT / "examples" / f"{name}.py").read_text()
        program = text.partition("# limitations under the License.\n")[2]
        assert 0 < len(program.strip().splitlines()) < 80, name
