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

"""Depth messages as float32 metres. Units and encodings end here.

Reads the fields of sensor_msgs/Image and CompressedImage by name, whoever made the object: rclpy,
or a reader of bags on a machine without ROS.
"""

from __future__ import annotations

import struct
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import TargetError
from flmm_ros.ros.images.decoding import MAX_SIDE_PX, CompressedPicture, RawImage

# Encoding -> number format and metres per unit. mono16 is what some drivers call 16UC1.
_FORMATS = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}
_FAR_M, _NEAR_M = 100.0, 0.01  # no depth camera looks so far, or so near, with half its pixels
_COMPRESSED_HEADER = struct.Struct("<iff")  # kind, then A and B: depth = A / (value - B)


def depth_m_from_msg(msg: RawImage | CompressedPicture) -> NDArray[np.float32]:
    """Metres float32 [H, W] along the optical axis, in memory of its own; NaN = no depth there.

    16UC1 holds millimetres and 0 for none, 32FC1 metres (REP 118); a CompressedImage is what
    the transport compressedDepth sends.

    Raises:
        TargetError: encoding, step, size and data do not fit together, or cannot be decoded.
    """
    if hasattr(msg, "format"):
        return _from_compressed(cast(CompressedPicture, msg))
    return _from_raw(msg)


def _from_raw(msg: RawImage) -> NDArray[np.float32]:
    number = _FORMATS.get(msg.encoding)
    if number is None:
        raise TargetError(
            "depth: expected the encoding 16UC1 (millimetres) or 32FC1 (metres), got "
            f"{msg.encoding!r}; remap depth to a depth image"
        )
    kind, unit_m = number
    row_bytes = msg.width * int(kind[1])
    if not (0 < msg.width <= MAX_SIDE_PX and 0 < msg.height <= MAX_SIDE_PX):
        raise TargetError(
            f"depth: expected a width and height of 1..{MAX_SIDE_PX} pixels, "
            f"got {msg.width}x{msg.height}"
        )
    if msg.step < row_bytes or len(msg.data) != msg.height * msg.step:
        raise TargetError(
            f"depth: expected {msg.height} rows of at least {row_bytes} bytes for {msg.width} "
            f"pixels of {msg.encoding}, got a step of {msg.step} and {len(msg.data)} bytes"
        )
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :row_bytes]
    order = ">" if msg.is_bigendian else "<"
    return _metres(np.ascontiguousarray(rows).view(order + kind), unit_m)


def _from_compressed(msg: CompressedPicture) -> NDArray[np.float32]:
    """A header of 12 bytes, then a PNG of 16 bits: millimetres, or scaled inverse depth."""
    encoding = msg.format.split(";")[0].strip()
    data = bytes(msg.data)
    if "compressedDepth" not in msg.format or encoding not in _FORMATS:
        raise TargetError(
            "depth: expected the format '16UC1; compressedDepth' or '32FC1; compressedDepth', got "
            f"{msg.format!r}; remap depth to .../compressedDepth"
        )
    values = None
    if len(data) > _COMPRESSED_HEADER.size:
        body = np.frombuffer(data, np.uint8)[_COMPRESSED_HEADER.size :]
        values = cv2.imdecode(body, cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise TargetError(
            f"depth: expected a 16-bit PNG behind {_COMPRESSED_HEADER.size} bytes, got "
            f"{len(data)} bytes that cannot be decoded (other compressions are not supported)"
        )
    if encoding != "32FC1":
        return _metres(values, 0.001)
    _, a, b = _COMPRESSED_HEADER.unpack_from(data)
    with np.errstate(divide="ignore"):
        depth_m = np.where(values == 0, np.nan, a / (values.astype(np.float64) - b))
    return _metres(depth_m, 1.0)


def _metres(values: NDArray[Any], unit_m: float) -> NDArray[np.float32]:
    depth_m = values.astype(np.float32) * np.float32(unit_m)
    with np.errstate(invalid="ignore"):
        depth_m[~(np.isfinite(depth_m) & (depth_m > 0))] = np.nan
    return depth_m


def unit_problem(depth_m: NDArray[np.float32], msg: RawImage | CompressedPicture) -> str:
    """Why these metres are likely in another unit; empty where nothing looks wrong.

    A driver that sends metres in 16UC1 or millimetres in 32FC1 would move a robot by a factor of a
    thousand.
    """
    valid = depth_m[::4, ::4]
    valid = valid[np.isfinite(valid)]
    if valid.size == 0:
        return ""
    encoding = msg.encoding if hasattr(msg, "encoding") else msg.format.split(";")[0].strip()
    median_m = float(np.median(valid))
    if encoding == "32FC1" and median_m > _FAR_M:
        return (
            f"depth: expected metres in 32FC1, got a median of {median_m:.0f}: is it in "
            "millimetres? Set the driver to metres, or to 16UC1 for millimetres"
        )
    if encoding != "32FC1" and median_m < _NEAR_M:
        return (
            f"depth: expected millimetres in {encoding}, got a median of {1000 * median_m:.0f}: is "
            "it in metres? Set the driver to millimetres, or to 32FC1 for metres"
        )
    return ""
