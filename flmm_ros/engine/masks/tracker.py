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

"""Follows masks from one camera image to the next, at camera rate, without the language model.

Optical flow of points on the object says how it moved; the colours it had when it was grounded, and
those around it, say where it ends now. What is followed is compared with how it looked at first:
the confidence falls when it is covered, leaves the picture or has been mistaken, and the caller
grounds it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.masks.mask import iou

WORK_SIDE_PX = 480  # larger images are followed at this size

_FARTHEST_PX = 64  # from one image to the next
_MAX_POINTS = 80
_MIN_POINTS = 6  # fewer tell a shift only
_BACK_PX = 1.0  # a point that flow does not bring back is not on the object
_BINS = 16  # of each colour channel
_REACH = 0.12  # of an object's size: how far its outline may be from where flow expects it
_MIN_AREA_SHARE = 0.15  # of what it had; less is left of it, or it has left


@dataclass(frozen=True)
class Track:
    """Where an object is now: mask bool [H, W], and how sure that is, 0..1."""

    mask: NDArray[np.bool_]
    confidence: float


def reduced(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image [H, W, 3] at the size at which objects are followed."""
    scale = _scale((rgb.shape[0], rgb.shape[1]))
    if scale == 1.0:
        return np.ascontiguousarray(rgb)
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _scale(size_hw: tuple[int, ...]) -> float:
    return min(1.0, WORK_SIDE_PX / max(size_hw))


class Tracker:
    """Follows several objects through a stream of images.

    Args:
        rgb: uint8 [H, W, 3], the image the masks belong to.
        masks: bool [H, W] each; an empty one is lost from the start.
    """

    def __init__(self, rgb: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> None:
        self._size_hw = rgb.shape[:2]
        self._scale = _scale(self._size_hw)
        small = reduced(rgb)
        self._last = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        colors = _color_bins(small)
        everything = np.zeros(colors.shape, bool)
        shrunk = [self._shrunk_mask(mask) for mask in masks]
        for mask in shrunk:
            everything |= mask
        self._objects = [_Object(colors, mask, everything) for mask in shrunk]

    def step(self, rgb: NDArray[np.uint8]) -> list[Track]:
        """The objects in the next image of the same size, in the order they were given.

        Raises:
            ValueError: the image has another size.
        """
        if rgb.shape[:2] != self._size_hw:
            raise ValueError(f"tracker: expected an image {self._size_hw}, got {rgb.shape[:2]}")
        return self.step_reduced(reduced(rgb))

    def step_reduced(self, small: NDArray[np.uint8]) -> list[Track]:
        """The same for an image that is `reduced` already."""
        now, colors = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), _color_bins(small)
        tracks = []
        for followed in self._objects:
            confidence = followed.step(self._last, now, colors)
            tracks.append(Track(self._grown_mask(followed.mask), confidence))
        self._last = now
        return tracks

    def _shrunk_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return reduced(mask.astype(np.uint8) * 255) > 127

    def _grown_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if self._scale == 1.0:
            return mask.copy()
        size = (self._size_hw[1], self._size_hw[0])
        return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5


class _Object:
    """One object that is followed, at the working size."""

    def __init__(
        self, colors: NDArray[np.int64], mask: NDArray[np.bool_], everything: NDArray[np.bool_]
    ) -> None:
        self.mask = mask
        self._area_px = float(mask.sum())
        self._own = _histogram(colors[mask])
        ring = _dilated(mask, self._reach_px() * 2) & ~everything
        self._around = _histogram(colors[ring])

    def step(
        self, old: NDArray[np.uint8], new: NDArray[np.uint8], colors: NDArray[np.int64]
    ) -> float:
        """Moves on by one image; returns the confidence."""
        if not self.mask.any():
            return 0.0
        motion, agreement = _motion(old, new, self.mask)
        size = (colors.shape[1], colors.shape[0])
        self.mask = cv2.warpAffine(self.mask.astype(np.uint8), motion, size) > 0
        self._area_px *= abs(float(np.linalg.det(motion[:, :2])))
        if not self.mask.any():
            return 0.0
        window = _window(self.mask, 3 * self._reach_px())
        moved, near_colors = self.mask[window], colors[window]
        found = self._outlined(moved, near_colors)
        if found.sum() < _MIN_AREA_SHARE * self._area_px:
            return 0.0
        overlap = iou(found, moved)
        likeness = _likeness(self._own, _histogram(near_colors[found]))
        left = min(1.0, float(found.sum()) / self._area_px)
        self.mask[window] = found
        ring = _dilated(found, self._reach_px() * 2) & ~_dilated(found, 2)
        self._around = 0.9 * self._around + 0.1 * _histogram(near_colors[ring])
        return float(likeness * np.sqrt(left) * (0.5 + 0.5 * overlap) * (0.6 + 0.4 * agreement))

    def _reach_px(self) -> int:
        return max(3, round(_REACH * np.sqrt(max(self._area_px, 1.0))))

    def _outlined(self, moved: NDArray[np.bool_], colors: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The pixels near where the object is expected that have its colours."""
        reach_px = self._reach_px()
        own, around = self._own[colors], self._around[colors]
        likely = cv2.blur(own / (own + around + 1e-6), (3, 3))
        core = _eroded(moved, reach_px)
        near = _dilated(moved, reach_px)
        found = near & ((likely > 0.5) | (core & (likely > 0.2)))
        count, labels, statistics, _ = cv2.connectedComponentsWithStats(
            found.astype(np.uint8), connectivity=4
        )
        if count <= 1:
            return np.zeros_like(moved)
        sizes = statistics[1:, cv2.CC_STAT_AREA]
        kept = 1 + np.flatnonzero(sizes >= 0.2 * sizes.max())
        return _closed(np.isin(labels, kept))


def _window(mask: NDArray[np.bool_], margin_px: int) -> tuple[slice, slice]:
    """Rows and columns around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(0, rows[0] - margin_px), max(0, columns[0] - margin_px)
    return slice(top, rows[-1] + 1 + margin_px), slice(left, columns[-1] + 1 + margin_px)


def _motion(
    old: NDArray[np.uint8], new: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """The affine map [2, 3] of the points on an object, and the share of them that agree, 0..1."""
    still = np.eye(2, 3)
    window = _window(mask, _FARTHEST_PX)  # optical flow of all the image would take longer
    corner = np.array([window[1].start, window[0].start], np.float32)
    old, new = np.ascontiguousarray(old[window]), np.ascontiguousarray(new[window])
    inside = _dilated(mask[window], 1).astype(np.uint8)
    points = cv2.goodFeaturesToTrack(old, _MAX_POINTS, 0.005, 3, mask=inside, blockSize=3)
    if points is None:
        return still, 0.0
    there, is_found = _flow(old, new, points)
    back, is_back = _flow(new, old, there)
    error_px = np.linalg.norm((back - points).reshape(-1, 2), axis=1)
    is_good = is_found & is_back & (error_px < _BACK_PX)
    start, end = points.reshape(-1, 2)[is_good] + corner, there.reshape(-1, 2)[is_good] + corner
    share = float(is_good.mean())
    if len(start) >= _MIN_POINTS:
        motion, is_inlier = cv2.estimateAffinePartial2D(
            start, end, method=cv2.RANSAC, ransacReprojThreshold=2.0
        )
        if motion is not None and 0.7 < np.hypot(motion[0, 0], motion[0, 1]) < 1.4:
            return np.asarray(motion, np.float64), share * float(is_inlier.mean())
    if len(start) == 0:
        return still, 0.0
    still[:, 2] = np.median(end - start, axis=0)
    return still, share / 2


def _flow(
    old: NDArray[np.uint8], new: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points [P, 1, 2] have gone, and which [P] were found."""
    there, status, _ = cv2.calcOpticalFlowPyrLK(old, new, points, None, winSize=(17, 17))
    return np.asarray(there, np.float32), np.asarray(status).ravel() == 1


def _color_bins(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of each pixel's colour [H, W]; smoothed, so that texture and noise matter less."""
    lab = cv2.cvtColor(cv2.GaussianBlur(rgb, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.int64)
    bins = lab * _BINS // 256
    return (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]


def _histogram(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each colour [_BINS ** 3], spread a little over its neighbours: light changes."""
    counts = np.bincount(bins, minlength=_BINS**3).astype(np.float64)
    cube = counts.reshape(_BINS, _BINS, _BINS)
    for axis in range(3):
        lower, upper = np.roll(cube, 1, axis), np.roll(cube, -1, axis)
        cube = 0.7 * cube + 0.15 * (lower + upper)
    return np.asarray(cube.ravel() / max(cube.sum(), 1.0))


def _likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of two histograms, 0..1 (Bhattacharyya coefficient)."""
    return float(np.sqrt(a * b).sum())


def _kernel(radius_px: int) -> NDArray[np.uint8]:
    size = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _dilated(mask: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), _kernel(radius_px)) > 0


def _eroded(mask: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    return cv2.erode(mask.astype(np.uint8), _kernel(radius_px)) > 0


def _closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _kernel(1)) > 0
