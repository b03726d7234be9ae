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

"""camera_info as the intrinsics of an image: which matrix counts, and what was cut out of it.

Width, height, K and P of a CameraInfo are those of the full sensor; `binning` and `roi` say which
part of it became the image, and how many pixels became one (sensor_msgs/CameraInfo, REP 104).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.target import Intrinsics


@dataclass(frozen=True)
class _Window:
    """The part of the sensor that became the image: its corner and size in pixels of the sensor,
    and how many of them became one of the image."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    binning_x: int
    binning_y: int

    def makes(self, size_hw: tuple[int, int]) -> bool:
        """An image of this size; a rest of a pixel may be cut off or filled up."""
        height, width = size_hw
        return (
            abs(self.width_px / self.binning_x - width) < 1
            and abs(self.height_px / self.binning_y - height) < 1
        )

    def __str__(self) -> str:
        width, height = self.width_px // self.binning_x, self.height_px // self.binning_y
        return (
            f"binning {self.binning_x}x{self.binning_y} and a region of {self.width_px}x"
            f"{self.height_px} pixels at ({self.x_px}, {self.y_px}), which make {width}x{height}"
        )


def is_rectified(choice: str, topic: str) -> bool:
    """Whether the images of a topic are rectified, by the parameter `rectified`.

    `auto` goes by the topic's name: image_rect, image_rect_color and the like are (REP 118 and
    image_pipeline), image_raw and all others are not.
    """
    return choice == "on" or (choice == "auto" and "rect" in topic)


def intrinsics_from_msg(
    msg: Any, size_hw: tuple[int, int], *, is_rectified: bool = True
) -> Intrinsics:
    """The camera of an image of this size.

    is_rectified: the image is: P counts. Otherwise K and the distortion d, which is taken out of
    the points. The one that is left empty is replaced by the other.

    Raises:
        TargetError: it belongs to an image of another size, contradicts itself, or is not
            calibrated.
    """
    window = _window(msg, size_hw)
    K, P = [float(v) for v in msg.k], [float(v) for v in msg.p]
    distortion = () if is_rectified else tuple(float(v) for v in msg.d)
    if not any(distortion):
        distortion = ()
    if len(distortion) not in (0, 4, 5, 8, 12, 14) or (
        distortion and msg.distortion_model == "equidistant"
    ):
        raise TargetError(
            "camera_info: expected a distortion model plumb_bob or rational_polynomial, got "
            f"{msg.distortion_model!r} with {len(distortion)} numbers; use the rectified image"
        )
    is_p_used = P[0] > 0 and (is_rectified or (K[0] <= 0 and not distortion))
    fx, fy, cx, cy = (P[0], P[5], P[2], P[6]) if is_p_used else (K[0], K[4], K[2], K[5])
    return Intrinsics(
        fx / window.binning_x,
        fy / window.binning_y,
        (cx - window.x_px) / window.binning_x,
        (cy - window.y_px) / window.binning_y,
        distortion,
    )


def _window(msg: Any, size_hw: tuple[int, int]) -> _Window:
    """Raises TargetError where sizes contradict each other."""
    width, height = int(msg.width), int(msg.height)
    roi = getattr(msg, "roi", None)
    x, y = (0, 0) if roi is None else (int(roi.x_offset), int(roi.y_offset))
    roi_width, roi_height = (0, 0) if roi is None else (int(roi.width), int(roi.height))
    window = _Window(
        x,
        y,
        roi_width or max(0, width - x),
        roi_height or max(0, height - y),
        max(1, int(getattr(msg, "binning_x", 0))),
        max(1, int(getattr(msg, "binning_y", 0))),
    )
    is_whole = window == _Window(0, 0, width, height, 1, 1)
    if is_whole and (height, width) not in (size_hw, (0, 0)):
        raise TargetError(
            f"camera_info: expected {size_hw[1]}x{size_hw[0]} pixels like the image, got "
            f"{width}x{height}; remap camera_info to the colour camera's"
        )
    is_inside = (width, height) == (0, 0) or (
        x + window.width_px <= width and y + window.height_px <= height
    )
    if not is_whole and not (is_inside and window.makes(size_hw)):
        raise TargetError(
            f"camera_info: its sizes contradict each other: expected the image's {size_hw[1]}x"
            f"{size_hw[0]} pixels from width and height {width}x{height} of the full sensor, got "
            f"{window}; correct the driver, or clear binning and roi if K is the image's own"
        )
    return window
