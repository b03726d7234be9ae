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

"""Grasps of boxes, balls and rings whose best grasp can be said beforehand; nothing in the way is
touched. Points are drawn on the solids themselves, so that only the choice of grasps is tested."""

import numpy as np
import pytest

from flmm_ros.engine.targets.ball import Ball
from flmm_ros.engine.targets.box import box_of_ball
from flmm_ros.engine.targets.grasps import MAX_CLEARANCE_M, GraspFinder, _percentiles, _thinned
from flmm_ros.engine.targets.planes import Plane
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Box

UP = np.array([0.0, 0.0, -1.0])  # the camera looks straight down from 0.7 m
TABLE = Plane(UP, -0.7)
NOTHING = np.zeros((0, 3))
CONFIG = TargetConfig()


def box_on_table(size_m, yaw_deg=0.0, at=(0.0, 0.0)):
    """Its Box, and points every 2 mm on its top and sides."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    axes = np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]]).T.round(15)
    pose = np.eye(4)
    pose[:3, :3] = axes
    pose[:3, 3] = [*at, 0.7 - size_m[2] / 2]
    half = np.asarray(size_m) / 2
    grids = [np.linspace(-h, h, max(2, int(2 * h / 0.002) + 1)) for h in half]
    X, Y, Z = np.meshgrid(*grids, indexing="ij")
    points = np.stack([X, Y, Z], axis=-1).reshape(-1, 3)
    is_outside = (np.abs(points) >= half - 1e-9)[:, :2].any(axis=1) | (
        points[:, 2] >= half[2] - 1e-9
    )
    return Box(pose, np.asarray(size_m), True), points[is_outside] @ axes.T + pose[:3, 3]


def best(points, obstacles, box, config=CONFIG):
    grasps = GraspFinder(points, obstacles, box, TABLE, config).find()
    assert [g.score for g in grasps] == sorted((g.score for g in grasps), reverse=True)
    return grasps[0] if grasps else None


def test_a_grasp_frame_is_what_the_message_says():
    box, points = box_on_table([0.10, 0.04, 0.05], yaw_deg=20)
    for grasp in GraspFinder(points, NOTHING, box, TABLE, CONFIG).find():
        R = grasp.T_camera_grasp[:3, :3]
        np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(np.cross(R[:, 1], R[:, 2]), R[:, 0], atol=1e-9)
        assert 0 < grasp.width_m <= CONFIG.gripper_opening_m
        assert 0 <= grasp.score <= 1


@pytest.mark.parametrize("yaw_deg", [0, 20, 75])
def test_a_long_box_is_taken_from_above_across_its_middle(yaw_deg):
    box, points = box_on_table([0.10, 0.04, 0.05], yaw_deg)
    grasp = best(points, NOTHING, box)
    np.testing.assert_allclose(grasp.T_camera_grasp[:3, 2], -UP, atol=1e-9)
    across = abs(grasp.T_camera_grasp[:3, 1] @ box.T_camera_box[:3, 1])
    assert np.degrees(np.arccos(min(1.0, across))) < 1
    assert grasp.width_m == pytest.approx(0.04, abs=0.002)
    assert np.abs(grasp.T_camera_grasp[:2, 3] - box.T_camera_box[:2, 3]).max() < 0.004
    # A finger goes 4 cm deep (5 mm less than its length) and stays 5 mm above the table.
    assert 0.7 - grasp.T_camera_grasp[2, 3] == pytest.approx(0.01, abs=0.002)
    assert grasp.clearance_m == pytest.approx(MAX_CLEARANCE_M)


def test_a_flat_box_is_taken_just_above_the_table():
    box, points = box_on_table([0.06, 0.04, 0.015])
    grasp = best(points, NOTHING, box)
    assert 0.7 - grasp.T_camera_grasp[2, 3] == pytest.approx(CONFIG.finger_clearance_m, abs=1e-6)


def test_a_box_wider_than_the_gripper_is_not_taken_across():
    box, points = box_on_table([0.12, 0.10, 0.12])
    for grasp in GraspFinder(points, NOTHING, box, TABLE, CONFIG).find():
        assert grasp.width_m < 0.08
        assert grasp.score < 0.5
    wide = TargetConfig(gripper_opening_m=0.14)
    grasp = best(points, NOTHING, box, wide)
    assert grasp.width_m == pytest.approx(0.10, abs=0.003)


def test_a_ball_is_taken_at_its_equator():
    ball = Ball(np.array([0.1, 0.05, 0.7 - 0.03]), 0.03)
    box = box_of_ball(ball, TABLE)
    grasp = best(ball.surface_m(), NOTHING, box)
    assert grasp.width_m == pytest.approx(0.06, abs=0.003)
    assert np.abs(grasp.T_camera_grasp[:2, 3] - ball.middle_m[:2]).max() < 0.003
    assert (
        grasp.T_camera_grasp[2, 3] >= ball.middle_m[2]
    )  # tips below the middle: it cannot slip out
    assert grasp.score > 0.7


def test_a_ring_is_taken_by_its_wall():
    """A pipe of 14 cm outside and 1 cm of wall: no gripper spans it, its wall fits."""
    turn = np.linspace(0, 2 * np.pi, 400)[:, None, None]
    radius, height = np.array([0.06, 0.065, 0.07])[None, :, None], np.linspace(0, 0.03, 12)
    points = np.stack(
        np.broadcast_arrays(radius * np.cos(turn), radius * np.sin(turn), 0.7 - height), axis=-1
    ).reshape(-1, 3)
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = [0, 0, 0.685]
    grasp = best(points, NOTHING, Box(pose, np.array([0.14, 0.14, 0.03]), True))
    assert grasp.width_m == pytest.approx(0.01, abs=0.004)
    at = grasp.T_camera_grasp[:2, 3]
    assert np.linalg.norm(at) == pytest.approx(0.065, abs=0.004)
    radial = abs(grasp.T_camera_grasp[:2, 1] @ at) / np.linalg.norm(at)
    assert np.degrees(np.arccos(min(1.0, radial))) < 16


def test_a_neighbour_that_leaves_no_room_for_a_finger_turns_the_grasp():
    """Boxes of 4 x 4 cm: free, either side will do; with a wall beside it only one."""
    box, points = box_on_table([0.04, 0.04, 0.05])
    _, wall = box_on_table([0.02, 0.3, 0.05], at=(0.02 + 0.01 + 0.01, 0.0))
    grasp = best(points, wall, box)
    assert abs(grasp.T_camera_grasp[0, 1]) < 0.3  # closes along y, beside the wall
    assert grasp.clearance_m < best(points, NOTHING, box).clearance_m


def test_opened_fingers_and_palm_touch_nothing():
    """Checked with the gripper's own measures, point by point, in a crowd."""
    box, points = box_on_table([0.05, 0.04, 0.06])
    rng = np.random.default_rng(3)
    crowd = []
    for _ in range(6):
        angle = rng.uniform(0, 2 * np.pi)
        at = rng.uniform(0.07, 0.1) * np.array([np.cos(angle), np.sin(angle)])
        crowd.append(box_on_table([0.03, 0.03, rng.uniform(0.03, 0.15)], at=at)[1])
    others = np.concatenate(crowd)
    grasps = GraspFinder(points, others, box, TABLE, CONFIG).find()
    assert grasps
    above = others[TABLE.heights_m(others) > 0.006]
    for grasp in grasps:
        R, tip = grasp.T_camera_grasp[:3, :3], grasp.T_camera_grasp[:3, 3]
        opening = min(grasp.width_m + 0.02, 0.08)
        x, y, z = ((above - tip) @ R).T
        in_finger = (np.abs(x) < 0.01) & (z > -0.045) & (z < 0)
        in_finger &= (np.abs(y) > opening / 2) & (np.abs(y) < opening / 2 + 0.014)
        in_palm = (np.abs(x) < 0.03) & (np.abs(y) < 0.08) & (z < -0.045) & (z > -0.105)
        assert not in_finger.any()
        assert not in_palm.any()
        low = tip + np.array([s * R[:, 0] * 0.01 for s in (-1, 1)])
        assert TABLE.heights_m(low).min() > CONFIG.finger_clearance_m - 1e-6


def test_where_everything_is_in_the_way_there_is_no_grasp():
    box, points = box_on_table([0.05, 0.04, 0.06])
    grid = np.stack(np.meshgrid(*[np.linspace(-0.2, 0.2, 60)] * 2), axis=-1).reshape(-1, 2)
    roof = np.column_stack([grid, np.full(len(grid), 0.62)])
    walls = np.concatenate(
        [
            np.column_stack([grid[:, 0], np.full(len(grid), side), 0.6 + np.abs(grid[:, 1]) / 2])
            for side in (-0.03, 0.03)
        ]
        + [
            np.column_stack([np.full(len(grid), side), grid[:, 0], 0.6 + np.abs(grid[:, 1]) / 2])
            for side in (-0.035, 0.035)
        ]
    )
    assert GraspFinder(points, np.concatenate([roof, walls]), box, TABLE, CONFIG).find() == ()


def test_the_number_of_grasps_is_a_parameter():
    box, points = box_on_table([0.10, 0.04, 0.05])
    config = TargetConfig(max_grasps=3)
    assert len(GraspFinder(points, NOTHING, box, TABLE, config).find()) == 3


@pytest.mark.parametrize("spread_m", [0.1, 1e9], ids=["near", "absurdly far"])
def test_thinning_keeps_the_first_point_of_every_cube_in_order(spread_m: float) -> None:
    rng = np.random.default_rng(3)
    points = np.round(rng.uniform(-spread_m, spread_m, (400, 3)), 2)
    points = np.concatenate([points, points[::-1] + 1e-4])
    seen: set[tuple[float, ...]] = set()
    expected = []
    for point in points:
        cube = tuple(np.floor(point / 0.03))
        if cube not in seen:
            expected.append(point)
        seen.add(cube)
    np.testing.assert_array_equal(_thinned(points, 0.03), expected)
    assert _thinned(np.empty((0, 3)), 0.03).shape == (0, 3)


@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    expected = np.percentile(values, [1, 2, 50, 99])
    np.testing.assert_allclose(_percentiles(values, (1, 2, 50, 99)), expected, rtol=1e-12)
