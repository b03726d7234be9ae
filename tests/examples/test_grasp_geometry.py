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

"""Poses of the hand and the room around it, by value."""

import numpy as np
import pytest
from invented_answers import DOWN, T_WORLD_CAMERA, answer_of, target_at

from examples.grasping.geometry import (
    boxes_of,
    by_room,
    by_spare,
    is_cut,
    room_m,
    shift,
    turn_in_place,
    turned_about,
)
from flmm_ros.ros.messages.found_target import FoundGrasp

TIP = shift(0.0, 0.0, 0.01) @ DOWN  # the hand is broad along y, and its palm 5.6 cm high


def box_at(x_m: float, y_m: float, height_m: float) -> tuple[np.ndarray, np.ndarray]:
    """A box 4 cm wide that stands on the table."""
    return shift(x_m, y_m, height_m / 2), np.array([0.04, 0.04, height_m])


@pytest.mark.parametrize(
    ("box", "room"),
    [
        (box_at(0.0, 0.20, 0.08), 0.20 - 0.02 - 0.102),  # from the palm's end
        (box_at(0.0, 0.11, 0.08), 0.0),  # under the palm, and too tall
        (box_at(0.0, 0.11, 0.05), 0.006),  # it fits below
        (box_at(0.10, 0.0, 0.08), 0.10 - 0.02 - 0.032),  # from the palm's thin side
        (box_at(0.0, 0.09, 0.02), 0.09 - 0.02 - 0.054),  # from a finger
    ],
)
def test_room_is_from_the_nearest_part_of_the_hand(
    box: tuple[np.ndarray, np.ndarray], room: float
) -> None:
    assert room_m(TIP, [box]) == pytest.approx(room, abs=2e-3)  # points are up to 2.6 cm apart
    far = box_at(1.0, 1.0, 0.1)
    assert room_m(TIP, [far, box]) == room_m(TIP, [box])


def test_poses_with_room_come_first_and_small_turns_before_large_ones() -> None:
    poses = turned_about(shift(0.0, 0.0, 0.02), TIP)
    turns_deg = [np.degrees(np.arctan2(T[0, 1], -T[1, 1])) for T in poses]
    assert sorted(np.round(turns_deg)) == list(range(-75, 105, 15))
    assert list(np.abs(np.round(turns_deg))) == sorted(np.abs(np.round(turns_deg)))
    assert by_room(poses, []) == poses
    best = by_room(poses, [box_at(0.0, 0.10, 0.08)])
    assert room_m(best[0], [box_at(0.0, 0.10, 0.08)]) > 0.02
    assert room_m(best[-1], [box_at(0.0, 0.10, 0.08)]) == 0.0
    assert best[0] is not poses[0]


def test_fingers_come_wide_and_what_leaves_them_little_room_comes_later() -> None:
    def grasp(width_m: float, clearance_m: float, score: float) -> FoundGrasp:
        return FoundGrasp(np.eye(4), width_m, clearance_m, score)

    long, short = grasp(0.061, 0.05, 0.69), grasp(0.025, 0.019, 0.61)
    near, blocked = grasp(0.03, 0.003, 0.5), grasp(0.078, 0.05, 0.9)
    ordered = by_spare([long, short, near, blocked])
    assert [found for found, _ in ordered] == [short, long, near, blocked]
    openings_m = [opening_m for _, opening_m in ordered]
    assert openings_m == pytest.approx([0.025 + 0.02 + 2 * 0.014, 0.08, 0.05, 0.08])
    assert by_spare([]) == []


def test_a_turn_in_place_leaves_the_place() -> None:
    T = turn_in_place(shift(1.0, 2.0, 3.0) @ DOWN, np.pi / 2)
    np.testing.assert_allclose(T @ [1.0, 2.0, 7.0, 1.0], [1.0, 2.0, 7.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(T @ [2.0, 2.0, 0.0, 1.0], [1.0, 3.0, 0.0, 1.0], atol=1e-12)


def test_the_target_is_no_obstacle_to_itself() -> None:
    things = answer_of(target_at(0.10, 0.05), None, target_at(0.0, 0.0, height_m=0.06)).objects
    ((T, size_m),) = boxes_of(things, target_at(0.11, 0.05), T_WORLD_CAMERA)
    np.testing.assert_allclose(T[:3, 3], [0.0, 0.0, 0.03], atol=1e-12)
    np.testing.assert_allclose(size_m, [0.04, 0.04, 0.06])


@pytest.mark.parametrize(
    ("box_xyxy_px", "cut"),
    [
        ((1, 1, 2, 2), False),
        ((0, 1, 2, 2), True),
        ((1, 0, 2, 2), True),
        ((1, 1, 3, 2), True),
        ((1, 1, 2, 3), True),
    ],
)
def test_what_reaches_the_edge_is_cut(box_xyxy_px: tuple[int, int, int, int], cut: bool) -> None:
    assert is_cut(answer_of(target_at(0.0, 0.0), box_xyxy_px=box_xyxy_px)) is cut
