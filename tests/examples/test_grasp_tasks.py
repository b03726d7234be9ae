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

"""What is told in a world and how physics is judged: by value. The arm: against the simulator's."""

import numpy as np
import pytest

from examples.grasping import tasks as grasp_tasks
from examples.grasping.tasks import ABSENT, PICK, PUT, USE, WHICH, GraspTask, judge_task, task_in
from flmm_sim.arm.kinematics import LOWER_RAD, UPPER_RAD, UnreachableError, forward, solve
from flmm_sim.arm.world import T_WORLD_BASE, GraspWorld

MUG, CUBE = "red mug", "blue cube"
BEFORE = {MUG: np.array([0.0, 0.0, 0.02]), CUBE: np.array([0.1, 0.0, 0.02])}


def after(**moves: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """The places after some things moved by so many metres."""
    names = {"mug": MUG, "cube": CUBE}
    moved = {names[word]: BEFORE[names[word]] + np.array(move) for word, move in moves.items()}
    return {**BEFORE, **moved}


PICK_MUG = GraspTask(PICK, 0, "pick up the red mug", (MUG,))
PUT_MUG = GraspTask(PUT, 0, "put the red mug behind the blue cube", (MUG,), (0.1, 0.1))
LEAVE = GraspTask(ABSENT, 0, "pick up the green duck")


@pytest.mark.parametrize(
    ("task", "moves", "problem"),
    [
        (PICK_MUG, {"mug": (0, 0, 0.11)}, ""),
        (PICK_MUG, {"mug": (0, 0, 0.05)}, "the red mug hangs 5 cm higher"),
        (PICK_MUG, {}, "moved nothing"),
        (PICK_MUG, {"cube": (0, 0, 0.2)}, "moved the blue cube instead"),
        (PICK_MUG, {"mug": (0.005, 0, 0)}, "moved nothing"),
        (PUT_MUG, {"mug": (0.1, 0.12, 0.003)}, ""),
        (PUT_MUG, {"mug": (0.1, 0.14, 0)}, "the red mug lies 4 cm from its place"),
        (PUT_MUG, {"mug": (0.1, 0.1, 0.13)}, "the red mug does not stand on the table"),
        (LEAVE, {}, ""),
        (LEAVE, {"cube": (0.02, 0, 0)}, "moved the blue cube"),
    ],
)
def test_physics_is_judged(task: GraspTask, moves: dict, problem: str) -> None:
    assert judge_task(task, BEFORE, after(**moves)) == problem


def test_tasks_are_of_what_lies_there() -> None:
    with GraspWorld(2_000_106) as world:  # two bunnies, two mugs, a cylinder
        names = {thing.name for thing in world.things}
        tasks = {kind: task_in(world, kind) for kind in grasp_tasks.KINDS_OF_TASK}
        assert set(tasks[PICK].wanted) < names
        assert tasks[USE].wanted == ("blue mug", "yellow mug")
        assert not tasks[ABSENT].wanted
        assert tasks[ABSENT].instruction.removeprefix("pick up the ") not in names
        assert tasks[WHICH].instruction in ("pick up the bunny", "pick up the mug")
        put = tasks[PUT]
        assert put.instruction == "put the orange bunny to the left of the blue mug"
        mug = world.middle_m(world.find("blue mug"))
        assert np.linalg.norm(np.array(put.place_m) - mug[:2]) == pytest.approx(0.10)
        place = np.array([*put.place_m, mug[2], 1.0])
        seen, mug_seen = (
            world.picture().K @ (np.linalg.inv(world.T_world_camera) @ p)[:3]
            for p in (place, np.append(mug, 1.0))
        )
        assert seen[0] / seen[2] < mug_seen[0] / mug_seen[2] - 30  # left in the picture
        assert task_in(world, PICK) == tasks[PICK]  # the same every time


def test_nothing_is_to_be_put_where_it_lies() -> None:
    with GraspWorld(2_000_574) as world:  # the duck lies 2 cm from its place beside the cylinder
        put = task_in(world, PUT)
        assert put.instruction != "put the orange duck to the right of the green cylinder"
        away_m = world.middle_m(world.find(put.wanted[0]))[:2] - put.place_m
        assert np.linalg.norm(away_m) > grasp_tasks.FREE_M


def test_the_arm_is_where_the_simulator_has_it() -> None:
    with GraspWorld(2_000_000) as world:
        arm, rng = world.arm, np.random.default_rng(0)
        for q in rng.uniform(LOWER_RAD, UPPER_RAD, (20, 7)):
            arm.body.place(q)
            hand_m, R = arm.body.hand_pose()
            tip = T_WORLD_BASE @ forward(q)[0]
            np.testing.assert_allclose(tip[:3, :3], R, atol=1e-5)
            reach_m = (tip[:3, 3] - hand_m) @ R[:, 2]
            assert reach_m == pytest.approx(0.1122, abs=1e-5)  # the ends of the finger pads


def test_the_jacobian_is_the_derivative() -> None:
    q = np.array([0.3, -0.5, 0.2, -2.0, 0.1, 1.6, 0.5])
    J = forward(q)[1]
    for joint in range(7):
        step = np.eye(7)[joint] * 1e-6
        change = (forward(q + step)[0][:3, 3] - forward(q - step)[0][:3, 3]) / 2e-6
        np.testing.assert_allclose(J[:3, joint], change, atol=1e-7)


def test_poses_within_reach_are_reached_and_others_are_refused() -> None:
    rng = np.random.default_rng(1)
    start = np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.8, 0.785])
    down = np.diag([1.0, -1.0, -1.0, 1.0])
    for x, y, z in rng.uniform([0.35, -0.2, 0.0], [0.6, 0.2, 0.3], (20, 3)):
        target = down.copy()
        target[:3, 3] = x, y, z
        q = solve(target, start)
        assert ((q >= LOWER_RAD) & (q <= UPPER_RAD)).all()
        reached = forward(q)[0]
        assert np.linalg.norm(reached[:3, 3] - target[:3, 3]) < 5e-4
        assert abs(reached[:3, 1] @ target[:3, 1]) > 0.9999  # or the hand half around
        assert reached[2, 2] < -0.9999
    far = down.copy()
    far[:3, 3] = 1.5, 0.0, 0.2
    with pytest.raises(UnreachableError, match=r"within the arm's reach, got \(1\.500, 0\.000"):
        solve(far, start)
