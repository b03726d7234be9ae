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

"""The simulated world: a function of its seed, and a truth that agrees with the geometry."""

from dataclasses import replace

import numpy as np
import pytest

from flmm_sim.tabletop.camera import draw_look
from flmm_sim.tabletop.placements import PATTERNED, PLAIN_KINDS, Placement, draw_crowd
from flmm_sim.tabletop.tabletop import (
    ALL_KINDS,
    COLORS,
    FAR_M,
    KINDS,
    MIN_VISIBLE_PX,
    NEAR_M,
    Tabletop,
    TabletopScene,
)
from flmm_sim.tabletop.textures import DARK, PATTERNS, TABLES, texture

SEEDS = (2_000_028, 2_000_031, 2_000_018, 2_000_010, 1_000_000, 7)


def world_points(scene: TabletopScene, is_wanted: np.ndarray) -> np.ndarray:
    """Points [3, N] in the world of the pixels of a mask, by depth, K and the camera's pose."""
    rows, columns = np.nonzero(is_wanted)
    depth_m = scene.depth_m[rows, columns].astype(np.float64)
    rays = np.linalg.inv(scene.K) @ np.stack([columns, rows, np.ones_like(rows)])
    points = np.vstack([rays * depth_m, np.ones_like(depth_m)])
    return (scene.T_world_camera @ points)[:3]


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_seed_is_a_scene(world: Tabletop, seed: int) -> None:
    first = world.render(seed)
    world.render(seed + 1)
    with Tabletop() as other:
        again = other.render(seed)
    for name in ("rgb", "depth_m", "labels", "K", "T_world_camera"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name), err_msg=name)
    assert first.objects == again.objects


def test_other_seeds_are_other_scenes(world: Tabletop) -> None:
    pictures = {world.render(seed).rgb.tobytes() for seed in range(2_000_000, 2_000_010)}
    assert len(pictures) == 10


@pytest.mark.parametrize("seed", SEEDS)
def test_shapes_and_types(world: Tabletop, seed: int) -> None:
    scene = world.render(seed)
    assert (scene.rgb.shape, scene.rgb.dtype) == ((240, 320, 3), np.uint8)
    assert (scene.depth_m.shape, scene.depth_m.dtype) == ((240, 320), np.float32)
    assert (scene.labels.shape, scene.labels.dtype) == ((240, 320), np.uint8)
    assert scene.depth_m.min() > NEAR_M and scene.depth_m.max() < FAR_M


@pytest.mark.parametrize("seed", SEEDS)
def test_the_table_lies_at_height_zero(world: Tabletop, seed: int) -> None:
    scene = world.render(seed)
    heights_m = world_points(scene, scene.labels == 0)[2]
    assert np.abs(heights_m).max() < 1e-3


def test_the_table_lies_at_height_zero_in_a_larger_picture() -> None:
    with Tabletop(640, 480) as large:
        scene = large.render(SEEDS[0])
    assert scene.rgb.shape == (480, 640, 3)
    assert np.abs(world_points(scene, scene.labels == 0)[2]).max() < 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_objects_stand_where_the_truth_says(world: Tabletop, seed: int) -> None:
    scene = world.render(seed)
    for obj in scene.objects:
        points_m = world_points(scene, scene.mask(obj))
        away_m = np.linalg.norm(points_m[:2].T - np.array(obj.position_m[:2]), axis=1)
        assert away_m.max() < 0.12, obj.name  # the largest reach of any object from its place
        assert points_m[2].min() > -1e-3 and points_m[2].max() < 0.2, obj.name


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pose_is_a_rotation_that_looks_down(world: Tabletop, seed: int) -> None:
    T = world.render(seed).T_world_camera
    rotation = T[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert T[2, 3] > 0.3  # above the table
    assert rotation[2, 2] < 0 and rotation[2, 1] < 0  # forward and image-down both go down


def test_labels_and_objects_agree(world: Tabletop) -> None:
    for seed in range(2_000_000, 2_000_030):
        scene = world.render(seed)
        assert 2 <= len(scene.objects) <= 6
        assert [o.label for o in scene.objects] == list(range(1, len(scene.objects) + 1))
        assert set(np.unique(scene.labels)) == {0, *(o.label for o in scene.objects)}
        assert len({o.name for o in scene.objects}) == len(scene.objects)
        for obj in scene.objects:
            mask = scene.mask(obj)
            assert mask.sum() == obj.visible_px >= MIN_VISIBLE_PX
            rows, columns = np.nonzero(mask)
            assert obj.center_px == pytest.approx((columns.mean(), rows.mean()))
            assert obj.kind in KINDS and obj.color in COLORS
            assert scene.find(obj.name) == obj


def test_colours_look_like_their_names(world: Tabletop) -> None:
    """The nearest of the eight colours, by hue and not by light, for what has a hue."""
    names = ("red", "green", "blue", "yellow", "purple", "orange")
    directions = np.array([np.array(COLORS[n]) / np.linalg.norm(COLORS[n]) for n in names])
    for seed in SEEDS:
        scene = world.render(seed)
        for obj in scene.objects:
            if obj.color in names:
                mean = np.median(scene.rgb[scene.mask(obj)], axis=0)
                seen = names[int(np.argmax(directions @ (mean / np.linalg.norm(mean))))]
                assert seen == obj.color, (seed, obj.name, mean)


def test_an_unknown_name_is_not_found(world: Tabletop) -> None:
    assert world.render(SEEDS[0]).find("pink elephant") is None


def test_a_crowd_is_a_scene_of_its_own(world: Tabletop) -> None:
    first = world.render_crowd(7)
    world.render(8)
    with Tabletop() as other:
        again = other.render_crowd(7)
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.objects == again.objects
    assert not np.array_equal(first.rgb, world.render(7).rgb)
    assert np.abs(world_points(first, first.labels == 0)[2]).max() < 1e-3


def test_crowds_have_every_kind_and_hide_parts(world: Tabletop) -> None:
    kinds, counts, hidden = set(), set(), 0
    for seed in range(2_000_000, 2_000_040):
        scene = world.render_crowd(seed)
        counts.add(len(scene.objects))
        kinds |= {o.kind for o in scene.objects}
        assert set(np.unique(scene.labels)) == {0, *(o.label for o in scene.objects)}
        assert len({o.name for o in scene.objects}) == len(scene.objects)
        for obj in scene.objects:
            assert scene.mask(obj).sum() == obj.visible_px >= MIN_VISIBLE_PX
        for a in scene.objects:  # touching in the picture: one stands before the other
            beyond = np.roll(scene.mask(a), 1, axis=0) & (scene.labels != a.label)
            hidden += bool((scene.labels[beyond] > 0).sum() > 5)
    assert kinds == set(ALL_KINDS) and set(KINDS) < kinds
    assert min(counts) >= 4 and max(counts) == 10
    assert hidden > 8


def test_patterns_are_on_things_that_can_carry_them() -> None:
    rng = np.random.default_rng(0)
    drawn = [p for _ in range(300) for p in draw_crowd(rng)]
    assert all(p.pattern is None for p in drawn if p.kind in PLAIN_KINDS)
    share = np.mean([p.pattern is not None for p in drawn if p.kind not in PLAIN_KINDS])
    assert share == pytest.approx(PATTERNED, abs=0.03)
    assert {p.pattern for p in drawn} == {None, *PATTERNS}


def test_a_pattern_darkens_a_part_of_a_thing(world: Tabletop) -> None:
    rng = np.random.default_rng(3)
    look = draw_look(rng)
    ball = Placement("ball", "white", (0.9, 0.9, 0.9, 1.0), (0.0, 0.0), 0.05, 0.0)
    plain = world._render(0, [ball], look)
    for pattern in PATTERNS:
        seen = world._render(0, [replace(ball, pattern=pattern)], look)
        np.testing.assert_array_equal(seen.labels, plain.labels)
        mask = plain.mask(plain.objects[0])
        ratio = seen.rgb[mask].astype(float).mean(1) / plain.rgb[mask].mean(1)
        dark, light = np.abs(ratio - DARK) < 0.03, np.abs(ratio - 1) < 0.03
        assert min(dark.mean(), light.mean()) > 0.15 and (dark | light).mean() > 0.9, pattern


def test_textures_are_grey_and_not_empty() -> None:
    for name in (*PATTERNS, *TABLES):
        picture = texture(name)
        assert picture.dtype == np.uint8 and picture.shape[0] == picture.shape[1]
        assert (picture == picture[..., :1]).all() and len(np.unique(picture)) > 1
