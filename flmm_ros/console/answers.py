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

"""An answer of the node as a page shows it: words, spans, masks as runs, colours, times, pictures.

Colours are those of the overlay, so that an object has the same one everywhere. Masks travel as
the run lengths they came as; the page unpacks them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2

from flmm_ros.engine.masks.overlay import color_of
from flmm_ros.msg import GroundedAnswer, GroundedObject
from flmm_ros.ros.images.newest_image import ImageMsg
from flmm_ros.ros.interface.error_codes import code_name
from flmm_ros.ros.messages import conversions

MAX_SIDE_PX = 1280  # of pictures for pages
THUMB_SIDE_PX = 192
MAX_POINTS = 30_000
_QUALITY, _LIVE_QUALITY = 90, 80


@dataclass(frozen=True)
class Pictures:
    """The image of an answer, and small, both JPEG."""

    full: bytes
    thumb: bytes


def to_page(msg: GroundedAnswer) -> dict[str, Any]:
    """What the page needs of an answer, ready for JSON."""
    return {
        "command": msg.command,
        "intent": msg.intent,
        "model": msg.model,
        "chat_id": msg.chat_id,
        "text": msg.answer,
        "error": code_name(msg.error_code),
        "error_text": msg.error_text,
        "stages": [[name, round(ms, 3)] for name, ms in zip(msg.stages, msg.stage_ms, strict=True)],
        "total_ms": msg.total_ms,
        "wait_ms": round(msg.wait_ms, 3),
        "image_age_s": round(msg.image_age_s, 3),
        "size": [msg.mask.width, msg.mask.height],
        "target_frame": msg.target_frame,
        "target_text": msg.target_text,
        "objects": [_object(found, index) for index, found in enumerate(msg.objects)],
    }


def _object(msg: GroundedObject, index: int) -> dict[str, Any]:
    return {
        "phrase": msg.phrase,
        "score": _finite(msg.score),
        "is_present": msg.is_present,
        "is_ambiguous": msg.is_ambiguous,
        "color": "#{:02x}{:02x}{:02x}".format(*color_of(index)),
        "box_xyxy_px": [msg.x_min_px, msg.y_min_px, msg.x_max_px, msg.y_max_px],
        "area_px": msg.area_px,
        "runs": msg.mask_runs.tolist(),
        "span": [msg.text_start, msg.text_end],
        "target": _target(msg) if msg.has_target else None,
    }


def _target(msg: GroundedObject) -> dict[str, Any]:
    """Where the object is; metres and a quaternion (x, y, z, w), in the answer's target_frame."""
    turn, middle = msg.box_pose.orientation, msg.box_pose.position
    return {
        "centroid_m": _xyz(msg.centroid_m),
        "box_center_m": _xyz(middle),
        "box_size_m": _xyz(msg.box_size_m),
        "box_xyzw": [_finite(v) for v in (turn.x, turn.y, turn.z, turn.w)],
        "valid_depth_ratio": _finite(msg.valid_depth_ratio),
    }


def _xyz(vector: Any) -> list[float]:
    return [_finite(v) for v in (vector.x, vector.y, vector.z)]


def _finite(value: float) -> float:
    """JSON has no NaN."""
    return round(float(value), 5) if math.isfinite(value) else 0.0


def heat_indices(msg: GroundedAnswer) -> list[int]:
    """For each object, which picture of ~/heatmap is its own: candidates of a phrase share one."""
    seen: dict[tuple[str, int, int], int] = {}
    indices, count = [], 0
    for found in msg.objects:
        key = (found.phrase, found.text_start, found.text_end)
        if found.is_ambiguous and key in seen:
            indices.append(seen[key])
            continue
        seen[key] = count
        indices.append(count)
        count += 1
    return indices


def jpeg_of_msg(msg: ImageMsg) -> bytes:
    """A camera image for the live view.

    Raises:
        ImageError: it cannot be decoded.
    """
    return _jpeg(_limited(conversions.rgb_from_msg(msg), MAX_SIDE_PX), _LIVE_QUALITY)


def pictures_of_msg(msg: ImageMsg) -> Pictures:
    """The image of an answer.

    Raises:
        ImageError: it cannot be decoded.
    """
    rgb = conversions.rgb_from_msg(msg)
    return Pictures(
        full=_jpeg(_limited(rgb, MAX_SIDE_PX), _QUALITY),
        thumb=_jpeg(_limited(rgb, THUMB_SIDE_PX), _LIVE_QUALITY),
    )


def heat_pictures(msg: Image, count: int) -> list[bytes]:
    """The pictures that lie one under another in a message of ~/heatmap, as JPEG.

    Raises:
        ImageError: it cannot be decoded.
        ValueError: it does not hold `count` pictures.
    """
    if count < 1 or msg.height % count:
        raise ValueError(f"heat map: expected {count} pictures, got {msg.height} rows")
    stacked = conversions.rgb_from_msg(msg)
    return [_jpeg(_limited(part, MAX_SIDE_PX), _QUALITY) for part in np.split(stacked, count)]


def _limited(rgb: NDArray[np.uint8], max_side_px: int) -> NDArray[np.uint8]:
    """RGB [H, W, 3], made smaller where a side is longer than that."""
    scale = max_side_px / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size_wh = [max(1, round(side * scale)) for side in rgb.shape[1::-1]]
    return np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    is_encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise ValueError(f"jpeg: OpenCV could not encode RGB {rgb.shape}")
    return data.tobytes()


def points_of_msg(msg: PointCloud2) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Positions [N, 3] in metres and colours RGB [N, 3] of a cloud; points without a place are left
    out, and of very many a random share is taken.

    Raises:
        ValueError: fields, step and data do not fit together.
    """
    offsets = {field.name: field.offset for field in msg.fields if field.datatype in (6, 7)}
    if not {"x", "y", "z"} <= offsets.keys():
        raise ValueError("points: expected the fields x, y, z as 32-bit numbers")
    count = msg.width * msg.height
    if msg.point_step < 12 or len(msg.data) < count * msg.point_step:
        raise ValueError(f"points: expected {count} of {msg.point_step} bytes, got {len(msg.data)}")
    order = ">" if msg.is_bigendian else "<"
    names = [name for name in ("x", "y", "z", "rgb") if name in offsets]
    layout = np.dtype(
        {
            "names": names,
            "formats": [f"{order}u4" if name == "rgb" else f"{order}f4" for name in names],
            "offsets": [offsets[name] for name in names],
            "itemsize": msg.point_step,
        }
    )
    table = np.frombuffer(msg.data, layout, count=count)
    xyz_m = np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float32)
    packed = table["rgb"] if "rgb" in offsets else np.full(count, 0xFFFFFF, np.uint32)
    rgb = np.stack([(packed >> shift) & 0xFF for shift in (16, 8, 0)], axis=1).astype(np.uint8)
    is_placed = np.isfinite(xyz_m).all(axis=1)
    xyz_m, rgb = xyz_m[is_placed], rgb[is_placed]
    if len(xyz_m) <= MAX_POINTS:
        return xyz_m, rgb
    # By chance: every n-th point of an image's rows would make stripes.
    chosen = np.random.default_rng(0).choice(len(xyz_m), MAX_POINTS, replace=False)
    return xyz_m[chosen], rgb[chosen]


def points_to_page(xyz_m: NDArray[np.float32], rgb: NDArray[np.uint8]) -> bytes:
    """N as a little-endian uint32, then all positions as float32, then all colours as bytes."""
    return struct.pack("<I", len(xyz_m)) + xyz_m.astype("<f4").tobytes() + rgb.tobytes()


def live_frame(jpeg: bytes, rate_hz: float) -> bytes:
    """One live picture for a socket: the camera's rate as little-endian float32, then the JPEG."""
    return struct.pack("<f", rate_hz) + jpeg
