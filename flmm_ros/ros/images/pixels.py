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

"""Packed pixels of every encoding -> RGB: by cv_bridge where a distribution has it, else by OpenCV.

cv_bridge is not on PyPI; both ways give the same pictures and pass the same tests. What arrives
here has been checked: rows without padding, in this machine's byte order.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Picture = NDArray[np.uint8]
Conversion = Callable[[Pixels, str], Picture]


@dataclass(frozen=True)
class Encoding:
    """How pixels lie in memory.

    channels: values in a row for each pixel. bits: of a value, 8 or 16. code: OpenCV's conversion
    to RGB; None = they are RGB already. rows: rows of values for two rows of pixels. bridged: the
    name for cv_bridge; empty where it has none.
    """

    channels: int
    bits: int
    code: int | None
    rows: int = 2
    bridged: str = ""

    @property
    def bytes_per_pixel(self) -> int:
        """Of a row."""
        return self.channels * self.bits // 8


# Names of sensor_msgs/image_encodings, which end with 8 or 16. OpenCV names a Bayer pattern by the
# second row's second and third pixel: RGGB is its BG.
_OF_BOTH_WIDTHS = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg": (1, cv2.COLOR_BayerGB2RGB),
}

ENCODINGS: Mapping[str, Encoding] = {
    **{
        f"{name}{bits}": Encoding(channels, bits, code, bridged=f"{name}{bits}")
        for bits in (8, 16)
        for name, (channels, code) in _OF_BOTH_WIDTHS.items()
    },
    # OpenCV's own names say nothing of the order; its order is BGR.
    "8UC1": Encoding(1, 8, cv2.COLOR_GRAY2RGB, bridged="mono8"),
    "8UC3": Encoding(3, 8, cv2.COLOR_BGR2RGB, bridged="bgr8"),
    "8UC4": Encoding(4, 8, cv2.COLOR_BGRA2RGB, bridged="bgra8"),
    "16UC3": Encoding(3, 16, cv2.COLOR_BGR2RGB, bridged="bgr16"),
    "16UC4": Encoding(4, 16, cv2.COLOR_BGRA2RGB, bridged="bgra16"),
    "uyvy": Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY, bridged="yuv422"),
    "yuv422": Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY, bridged="yuv422"),
    "yuyv": Encoding(2, 8, cv2.COLOR_YUV2RGB_YUYV, bridged="yuv422_yuy2"),
    "yuv422_yuy2": Encoding(2, 8, cv2.COLOR_YUV2RGB_YUYV, bridged="yuv422_yuy2"),
    "nv12": Encoding(1, 8, cv2.COLOR_YUV2RGB_NV12, rows=3),
    "nv21": Encoding(1, 8, cv2.COLOR_YUV2RGB_NV21, rows=3),
    "nv24": Encoding(1, 8, cv2.COLOR_YUV2RGB_NV12, rows=6),
}


def by_opencv(values: Pixels, encoding: str) -> Picture:
    """Values [rows, W * channels] -> RGB [H, W, 3]; raises cv2.error.

    16-bit values keep their high byte.
    """
    kind = ENCODINGS[encoding]
    if encoding == "nv24":
        return _of_full_colour(values, kind)
    shaped = values if kind.channels == 1 else values.reshape(len(values), -1, kind.channels)
    rgb = shaped if kind.code is None else cv2.cvtColor(shaped, kind.code)
    return _eight_bits(rgb)


def _of_full_colour(values: Pixels, kind: Encoding) -> Picture:
    """NV24 has one colour for every pixel, which OpenCV cannot read: NV12 of a picture of twice the
    size has the same."""
    height, width = len(values) // 3, values.shape[1]
    brightness = np.repeat(np.repeat(values[:height], 2, axis=0), 2, axis=1)
    doubled = np.concatenate([brightness, values[height:].reshape(height, 2 * width)])
    return np.ascontiguousarray(cv2.cvtColor(doubled, int(kind.code or 0))[::2, ::2], np.uint8)


def _eight_bits(rgb: Any) -> Picture:
    """Also where nothing was converted: a picture in memory of its own."""
    return np.array(rgb >> 8 if rgb.dtype == np.uint16 else rgb, np.uint8)


@dataclass(frozen=True)
class _Packed:
    """The fields of sensor_msgs/Image that cv_bridge reads."""

    height: int
    width: int
    encoding: str
    step: int
    data: bytes
    is_bigendian: int = 0


def by_cv_bridge(values: Pixels, encoding: str) -> Picture:
    """The same through cv_bridge; what it has no name for goes to OpenCV."""
    kind = ENCODINGS[encoding]
    if not kind.bridged:
        return by_opencv(values, encoding)
    bridge = importlib.import_module("cv_bridge")
    packed = _Packed(
        height=len(values),
        width=values.shape[1] // kind.channels,
        encoding=kind.bridged,
        step=values.shape[1] * values.itemsize,
        data=values.astype(values.dtype.newbyteorder("<")).tobytes(),
    )
    # In its own depth: cv_bridge rescales 16 bits to 8, here their high byte is kept.
    same_depth = "rgb16" if kind.bits == 16 else "rgb8"
    try:
        return _eight_bits(bridge.CvBridge().imgmsg_to_cv2(packed, same_depth))
    except bridge.CvBridgeError:  # its own table has gaps, which differ between distributions
        return by_opencv(values, encoding)


def conversions() -> dict[str, Conversion]:
    """The ways that work here, the preferred one first."""
    found: dict[str, Conversion] = {}
    try:  # one that was built for another NumPy fails in several ways
        importlib.import_module("cv_bridge.core")
        found["cv_bridge"] = by_cv_bridge
    except (ImportError, AttributeError):
        pass
    return {**found, "opencv": by_opencv}
