"""Depth messages as float32 metres, camera_info as intrinsics. Units and encodings end here.

Reads the fields of sensor_msgs/Image, CompressedImage and CameraInfo by name, whoever made the
object: rclpy, or a reader of bags on a machine without ROS. Does not know about: message packages,
nodes, topics, models.
"""

from __future__ import annotations

import struct
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.target import Intrinsics
from flmm_ros.ros.images.decoding import MAX_SIDE_PX, CompressedPicture, RawImage

# Encoding -> number format and metres per unit. mono16 is what some drivers call 16UC1.
_FORMATS = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}
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


def intrinsics_from_msg(
    msg: Any, size_hw: tuple[int, int], *, is_rectified: bool = True
) -> Intrinsics:
    """The camera of an image of this size.

    is_rectified: the image is (image_rect): P counts. Otherwise K and the distortion d.

    Raises:
        TargetError: it belongs to an image of another size, or is not calibrated.
    """
    if (msg.height, msg.width) != size_hw and (msg.height, msg.width) != (0, 0):
        raise TargetError(
            f"camera_info: expected {size_hw[1]}x{size_hw[0]} pixels like the image, got "
            f"{msg.width}x{msg.height}; remap camera_info to the colour camera's"
        )
    K, P = [float(v) for v in msg.k], [float(v) for v in msg.p]
    if is_rectified and P[0] > 0:
        return Intrinsics(P[0], P[5], P[2], P[6])
    distortion = () if is_rectified else tuple(float(v) for v in msg.d)
    if not any(distortion):
        distortion = ()
    if len(distortion) not in (0, 4, 5, 8, 12, 14) or msg.distortion_model == "equidistant":
        raise TargetError(
            "camera_info: expected a distortion model plumb_bob or rational_polynomial, got "
            f"{msg.distortion_model!r} with {len(distortion)} numbers; use the rectified image"
        )
    return Intrinsics(K[0], K[4], K[2], K[5], distortion)
