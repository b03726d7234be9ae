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

"""Masks that are followed, against drawn scenes in which the truth of every image is known."""

import cv2
import numpy as np
import pytest

from flmm_ros.engine.masks.mask import iou
from flmm_ros.engine.masks.tracker import Tracker

SIZE_HW = (240, 320)
ROSE, LEAF = (200, 60, 60), (50, 150, 60)


def background(size_hw=SIZE_HW) -> np.ndarray:
    """A grey table with grain, always the same."""
    rng = np.random.default_rng(0)
    grain = cv2.resize(rng.normal(0, 14, (size_hw[0] // 4, size_hw[1] // 4)), size_hw[::-1])
    return np.clip(150 + grain[..., None] + np.array([0, -6, -14]), 0, 255).astype(np.uint8)


def draw(image, center, angle_deg, size, color) -> np.ndarray:
    """A box with a stripe on it; returns its mask."""
    corners = cv2.boxPoints((center, (size, 0.6 * size), angle_deg)).astype(np.int32)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, corners, 1)
    image[mask > 0] = color
    stripe = cv2.boxPoints((center, (0.2 * size, 0.6 * size), angle_deg)).astype(np.int32)
    cv2.fillConvexPoly(image, stripe, tuple(int(0.6 * c) for c in color))
    return mask > 0


def scene(t: float, size_hw=SIZE_HW):
    """Two boxes: one moves and turns, one grows as it comes nearer."""
    image = background(size_hw)
    first = draw(image, (90 + 60 * t, 80 + 20 * np.sin(3 * t)), 15 + 60 * t, 56, ROSE)
    second = draw(image, (220, 195 - 20 * t), -10, 60 * (1 + 0.4 * t), LEAF)
    return image, [first, second]


def test_masks_follow_what_moves_turns_and_comes_nearer():
    image, masks = scene(0.0)
    tracker = Tracker(image, masks)
    for t in np.linspace(0, 2, 41)[1:]:
        image, truth = scene(float(t))
        tracks = tracker.step(image)
        for track, mask in zip(tracks, truth, strict=True):
            assert iou(track.mask, mask) > 0.85, t
            assert track.confidence > 0.6, t


def test_what_stands_still_stays_where_it_is():
    image, masks = scene(0.0)
    tracker = Tracker(image, masks)
    rng = np.random.default_rng(1)
    for _ in range(20):
        noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        tracks = tracker.step(noisy)
    assert all(iou(t.mask, m) > 0.92 for t, m in zip(tracks, masks, strict=True))


def test_a_moving_camera_moves_everything():
    """The whole picture shifts and turns a little from image to image."""
    image, masks = scene(0.0)
    tracker = Tracker(image, masks)
    for step in range(1, 15):
        M = cv2.getRotationMatrix2D((160, 120), 0.8 * step, 1 - 0.004 * step)
        M[:, 2] += [1.5 * step, -step]
        moved = cv2.warpAffine(image, M, (320, 240), borderMode=cv2.BORDER_REFLECT)
        tracks = tracker.step(moved)
        for track, mask in zip(tracks, masks, strict=True):
            truth = cv2.warpAffine(mask.astype(np.uint8), M, (320, 240)) > 0
            assert iou(track.mask, truth) > 0.85, step


def test_a_covered_thing_loses_its_confidence_and_the_other_one_keeps_it():
    image, masks = scene(0.0)
    tracker = Tracker(image, masks)
    for width in range(10, 130, 10):  # a grey board comes from the left
        covered = image.copy()
        covered[30:130, 40 : 40 + width] = 90
        first, second = tracker.step(covered)
    assert first.confidence < 0.2
    assert second.confidence > 0.7


def test_a_thing_that_leaves_the_picture_is_lost():
    def at(x: float):
        picture = background()
        return picture, draw(picture, (x, 120.0), 5, 50, ROSE)

    image, mask = at(250)
    tracker = Tracker(image, [mask])
    for x in range(256, 360, 6):
        (track,) = tracker.step(at(x)[0])
    assert track.confidence < 0.2


def test_another_scene_is_no_place_to_find_the_old_things():
    image, masks = scene(0.0)
    tracker = Tracker(image, masks)
    other = np.random.default_rng(5).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    tracks = tracker.step(cv2.resize(other, (320, 240), interpolation=cv2.INTER_NEAREST))
    assert max(track.confidence for track in tracks) < 0.35


def test_large_images_are_followed_at_their_own_size():
    size_hw = (960, 1280)
    image, masks = scene(0.0, SIZE_HW)
    large = cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    large_masks = [np.kron(mask, np.ones((4, 4))) > 0 for mask in masks]
    tracker = Tracker(large, large_masks)
    image, truth = scene(0.1)
    tracks = tracker.step(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_NEAREST))
    for track, mask in zip(tracks, truth, strict=True):
        assert track.mask.shape == size_hw
        assert iou(track.mask, np.kron(mask, np.ones((4, 4))) > 0) > 0.85


def test_an_empty_mask_is_lost_from_the_start_and_a_wrong_size_is_refused():
    image, masks = scene(0.0)
    tracker = Tracker(image, [np.zeros(SIZE_HW, bool), masks[1]])
    first, second = tracker.step(image)
    assert (first.confidence, first.mask.any()) == (0.0, False)
    assert second.confidence > 0.9
    with pytest.raises(ValueError, match=r"expected an image \(240, 320\), got \(10, 10\)"):
        tracker.step(np.zeros((10, 10, 3), np.uint8))
