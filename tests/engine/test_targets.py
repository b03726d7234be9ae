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

"""Points, boxes and hygiene against formulas: planes, balls, tilted boxes with noise and holes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from solids import CAMERA, SIZE_HW, Ball, Floor, SolidBox, look, rotation, spoilt

from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.depth import points_from_depth, rays, surface_of
from flmm_ros.engine.targets.range_image import RangeImage
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Intrinsics

NO_GRASPS = TargetConfig(grasps=False)
WALL = Floor(np.array([0.0, 0.0, 1.0]), 1.5)
MM, DEGREE = 1e-3, 1.0


def target_of(depth_m, mask, others=()):
    return RangeImage(depth_m, CAMERA, NO_GRASPS).target(mask, others)


def table(tilt_deg: float, distance_m: float) -> tuple[Floor, np.ndarray]:
    """A plane below the camera, and its normal; 0 degrees: the camera looks straight down."""
    up = rotation([1, 0, 0], tilt_deg) @ np.array([0.0, 0.0, -1.0])
    return Floor(up, float(up @ [0, 0, distance_m])), up


def standing(size_m, place_m, yaw_deg: float, up: np.ndarray, floor: Floor) -> SolidBox:
    """A box on the plane whose middle is above the plane's point nearest to `place_m`."""
    x = np.cross(up, [0.0, 1.0, 0.3])
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(up, x), up], axis=1) @ rotation([0, 0, 1], yaw_deg)
    foot = place_m - up * (up @ place_m - floor.offset_m)
    return SolidBox(foot + up * size_m[2] / 2, np.asarray(size_m), R)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Between two lines."""
    return float(np.degrees(np.arccos(np.clip(abs(a @ b), 0, 1))))


def compare(box, solid: SolidBox) -> tuple[float, np.ndarray, np.ndarray]:
    """Worst angle between axes, errors of the sizes, error of the middle."""
    likeness = np.abs(box.T_camera_box[:3, :3].T @ solid.R)
    order = likeness.argmax(axis=1)
    assert sorted(order) == [0, 1, 2]
    angle = float(np.degrees(np.arccos(np.clip(likeness.max(axis=1), -1, 1))).max())
    return angle, box.size_m - solid.size_m[order], box.T_camera_box[:3, 3] - solid.middle_m


def test_a_pixel_becomes_the_point_that_it_shows():
    depth_m = np.full((4, 6), 2.0, np.float32)
    camera = Intrinsics(100.0, 50.0, 2.0, 1.0)
    points = points_from_depth(depth_m, camera)
    np.testing.assert_allclose(points[1, 2], [0, 0, 2])
    np.testing.assert_allclose(points[3, 5], [2 * 3 / 100, 2 * 2 / 50, 2])
    assert np.isnan(points_from_depth(np.full((4, 6), np.nan, np.float32), camera)).all()


def test_distortion_is_taken_out():
    """Where a ray at a known angle lands by the plumb-bob formula, that ray is found again."""
    x, y, k1 = 0.4, -0.25, -0.12
    bent = 1 + k1 * (x * x + y * y)
    camera = Intrinsics(200.0, 200.0, 100.0, 100.0, (k1, 0.0, 0.0, 0.0, 0.0))
    column, row = 200 * x * bent + 100, 200 * y * bent + 100
    around = rays(camera, (200, 200))[int(row) : int(row) + 2, int(column) : int(column) + 2]
    u, v = column - int(column), row - int(row)
    found = np.einsum("i,j,ijk->k", [1 - v, v], [1 - u, u], around)
    np.testing.assert_allclose(found, [x, y, 1], atol=2e-4)


def test_a_plane_patch_lies_where_it_is_and_is_as_large_as_it_is():
    """A tile of 12 x 8 cm, turned by 30 degrees about a slanted axis, flat."""
    R = rotation([1, 0.4, 0], 30) @ rotation([0, 0, 1], 17)
    tile = SolidBox(np.array([0.03, -0.02, 0.6]), np.array([0.12, 0.08, 1e-6]), R)
    depth_m, labels = look(tile, WALL)
    target = target_of(spoilt(depth_m, noise_m=0.0005, holes=0.1), labels == 1)
    sizes = np.sort(target.box.size_m)
    assert np.abs(sizes[1:] - [0.08, 0.12]).max() < MM
    normal = target.box.T_camera_box[:3, int(target.box.size_m.argmin())]
    assert angle_deg(normal, R[:, 2]) < DEGREE
    assert np.abs(target.box.T_camera_box[:3, 3] - tile.middle_m).max() < 2 * MM
    assert abs(float((target.centroid_m - tile.middle_m) @ R[:, 2])) < MM / 5
    assert target.valid_ratio == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("radius_m", [0.02, 0.04, 0.07])
def test_all_of_a_ball_is_known_from_its_front(radius_m):
    ball = Ball(np.array([0.06, 0.03, 0.55]), radius_m)
    depth_m, labels = look(ball, WALL)
    target = target_of(spoilt(depth_m, noise_m=0.0007, holes=0.15), labels == 1)
    assert np.abs(target.box.T_camera_box[:3, 3] - ball.middle_m).max() < MM
    assert np.abs(target.box.size_m - 2 * radius_m).max() < 2 * MM  # a millimetre of the radius
    to_middle = np.linalg.norm(target.points_m - ball.middle_m, axis=1)
    assert abs(float(to_middle.mean()) - radius_m) < MM / 2


def test_the_centroid_of_a_ball_is_that_of_the_side_one_sees():
    ball = Ball(np.array([0.0, 0.0, 0.5]), 0.05)
    depth_m, labels = look(ball, WALL)
    config = replace(NO_GRASPS, erosion_px=0)
    target = RangeImage(depth_m, CAMERA, config).target(labels == 1)
    # Over the tangent cone, pixels weigh by solid angle / cos^3: integrated on a finer grid.
    tangent = np.tan(np.arcsin(ball.radius_m / 0.5))
    u = np.linspace(-tangent, tangent, 2001)
    X, Y = np.meshgrid(u, u)
    square = X**2 + Y**2 + 1
    root = 0.25 - square * (0.25 - ball.radius_m**2)
    z = ((0.5 - np.sqrt(np.maximum(root, 0))) / square)[root >= 0]
    assert abs(target.centroid_m[2] - z.mean()) < MM / 2
    assert np.abs(target.centroid_m[:2]).max() < MM / 2


@pytest.mark.parametrize("seed", range(4))
def test_a_tilted_box_with_noise_and_holes(seed):
    """Free in the air, three faces in view."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.06, 0.12, 3)
    R = rotation([1, 0, 0], 35 + 10 * rng.random()) @ rotation([0, 1, 0], 30 + 20 * rng.random())
    solid = SolidBox(np.array([*rng.uniform(-0.05, 0.05, 2), 0.5]), size, R)
    depth_m, labels = look(solid, WALL)
    depth_m = spoilt(depth_m, noise_m=0.001, holes=0.15, seed=seed)
    rows, columns = np.nonzero(labels == 1)
    hole = (np.indices(SIZE_HW)[0] - rows.mean()) ** 2 + (
        np.indices(SIZE_HW)[1] - columns.mean() + 10
    ) ** 2 < 12**2
    depth_m[hole] = np.nan
    target = target_of(depth_m, labels == 1)
    angle, sizes, middle = compare(target.box, solid)
    assert angle < DEGREE
    assert np.abs(sizes).max() < MM, sizes
    assert np.abs(middle).max() < MM, middle
    assert not target.box.is_upright


@pytest.mark.parametrize("tilt_deg", [30, 50])
def test_a_box_on_a_table_stands_upright_on_it(tilt_deg):
    floor, up = table(tilt_deg, 0.7)
    solid = standing([0.11, 0.06, 0.09], np.array([0.05, 0.02, 0.7]), 25, up, floor)
    depth_m, labels = look(solid, floor)
    target = target_of(spoilt(depth_m, noise_m=0.001, holes=0.1), labels == 1)
    box = target.box
    assert box.is_upright
    assert angle_deg(box.T_camera_box[:3, 2], up) < 0.3
    assert float(box.T_camera_box[:3, 2] @ up) > 0  # away from the table
    assert angle_deg(box.T_camera_box[:3, 0], solid.R[:, 0]) < DEGREE
    assert np.abs(box.size_m - solid.size_m).max() < 1.2 * MM
    assert np.abs(box.T_camera_box[:3, 3] - solid.middle_m).max() < MM
    np.testing.assert_allclose(np.linalg.det(box.T_camera_box[:3, :3]), 1)


def test_from_straight_above_the_hidden_sides_reach_down_to_the_table():
    floor, up = table(0, 0.7)
    solid = standing([0.08, 0.05, 0.06], np.array([0.0, 0.0, 0.7]), 40, up, floor)
    depth_m, labels = look(solid, floor)
    box = target_of(depth_m, labels == 1).box
    assert box.is_upright
    assert np.abs(box.size_m - solid.size_m).max() < MM
    assert np.abs(box.T_camera_box[:3, 3] - solid.middle_m).max() < MM


def test_a_thing_in_the_air_stands_on_nothing():
    floor, up = table(40, 0.9)
    solid = standing([0.05, 0.05, 0.05], np.array([0.0, 0.0, 0.9]), 25, up, floor)
    solid = replace(solid, middle_m=solid.middle_m + 0.25 * up)
    depth_m, labels = look(solid, floor)
    assert not target_of(depth_m, labels == 1).box.is_upright


def test_a_mask_that_reaches_over_the_edge_and_mixed_pixels_change_nothing():
    """Five pixels too wide, and two rows of pixels between near and far along the edge."""
    floor, up = table(50, 0.7)
    solid = standing([0.08, 0.06, 0.10], np.array([0.0, -0.02, 0.7]), 10, up, floor)
    depth_m, labels = look(solid, floor)
    exact = (labels == 1).astype(np.uint8)
    wide = cv2.dilate(exact, np.ones((11, 11), np.uint8)) > 0
    edge = cv2.dilate(exact, np.ones((5, 5), np.uint8)) > exact
    background, _ = look(floor)
    mixed = depth_m.copy()
    mixed[edge] = 0.5 * (cv2.erode(depth_m, np.ones((7, 7), np.uint8))[edge] + background[edge])
    clean = target_of(depth_m, labels == 1)
    spoilt_target = target_of(mixed, wide)
    outside = np.abs((spoilt_target.points_m - solid.middle_m) @ solid.R) - solid.size_m / 2
    assert np.percentile(outside.max(axis=1), 98) < MM
    assert outside.max() < 8 * MM
    assert np.abs(spoilt_target.box.size_m - clean.box.size_m).max() < 8 * MM
    assert np.abs(clean.box.size_m - solid.size_m).max() < MM


def test_of_two_things_in_one_mask_the_larger_one_stays():
    near = SolidBox(np.array([-0.06, 0, 0.5]), np.array([0.08, 0.08, 0.05]), np.eye(3))
    far = SolidBox(np.array([0.05, 0, 0.8]), np.array([0.05, 0.05, 0.05]), np.eye(3))
    depth_m, labels = look(near, far)
    surface = surface_of(labels > 0, depth_m, TargetConfig(), 1 / 600)
    assert surface[labels == 1].mean() > 0.97
    assert not surface[labels == 2].any()


def test_a_crack_without_depth_does_not_cut_a_thing_in_two():
    box = SolidBox(np.array([0.0, 0, 0.5]), np.array([0.1, 0.08, 0.05]), np.eye(3))
    depth_m, labels = look(box, WALL)
    depth_m[:, 300:312] = np.nan
    target = target_of(depth_m, labels == 1)
    assert np.abs(np.sort(target.box.size_m)[1:] - [0.08, 0.1]).max() < MM


def test_what_is_left_without_the_target_holds_nothing_of_it():
    floor, up = table(50, 0.7)
    solid = standing([0.08, 0.06, 0.10], np.array([0.0, -0.02, 0.7]), 10, up, floor)
    depth_m, labels = look(solid, floor)
    image = RangeImage(depth_m, CAMERA, NO_GRASPS)
    rest = image.points_without([labels == 1])
    assert not (rest & (labels == 1)).any()
    heights = image.points_m[rest] @ up - floor.offset_m
    assert np.abs(heights).max() < 1e-5
    assert rest.sum() > 0.9 * (labels == 2).sum()
    assert (image.points_without([]) == image.valid).all()


@pytest.mark.parametrize(
    ("depth_m", "mask", "words"),
    [
        (np.full((4, 4), 1.0), np.ones((4, 5), bool), "expected 5x4 pixels like the image"),
        (np.full((40, 40), np.nan), np.ones((40, 40), bool), "at least 30 pixels of depth"),
        (np.full((40, 40), 99.0), np.ones((40, 40), bool), "beyond 5 m"),
        (np.full((40, 40), 1.0), np.zeros((40, 40), bool), "got 0 of a mask of 0"),
    ],
)
def test_too_little_depth_is_said_in_words(depth_m, mask, words):
    with pytest.raises(TargetError, match=words):
        RangeImage(depth_m.astype(np.float32), CAMERA).target(mask)


@pytest.mark.parametrize("numbers", [(0.0, 600.0, 1, 1), (600.0, np.nan, 1, 1), (1, 1, np.inf, 1)])
def test_a_camera_that_is_not_calibrated_is_refused(numbers):
    with pytest.raises(TargetError, match="is the camera calibrated"):
        Intrinsics(*numbers)
