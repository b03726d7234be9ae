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

"""The picture in an image message as RGB, checked before it is touched.

Node, replay and console all read images here. Reads the fields of sensor_msgs/Image and
CompressedImage by name, whoever made the object: rclpy, or a reader of bags on a machine without
ROS. A wrong image is refused with the field that is wrong, not decoded into garbage.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import ImageError
from flmm_ros.ros.images.compressed_picture import CompressedPicture, read_picture
from flmm_ros.ros.images.pixels import ENCODINGS, Conversion, Encoding, Pixels, conversions


class RawImage(Protocol):
    """The fields of sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


MAX_SIDE_PX = 16384  # a larger one is a corrupt message, and would ask for gigabytes
_DEPTH_ENCODINGS = ("16UC1", "16SC1", "32FC1", "64FC1")
_CONVERT = next(iter(conversions().values()))


def rgb_from_msg(
    msg: RawImage | CompressedPicture, convert: Conversion = _CONVERT
) -> NDArray[np.uint8]:
    """The picture in a message as RGB uint8 [H, W, 3], in memory of its own.

    convert: one of `pixels.conversions()`, by default the preferred one.

    Raises:
        ImageError: encoding, step, size and data do not fit together, or cannot be decoded.
    """
    if hasattr(msg, "format"):
        return _rgb_from_compressed(cast(CompressedPicture, msg), convert)
    return _rgb_from_raw(msg, convert)


def _rgb_from_raw(msg: RawImage, convert: Conversion) -> NDArray[np.uint8]:
    _check_size(msg.width, msg.height)
    kind = _encoding(msg.encoding)
    rows = _check_layout(msg, kind)
    row_bytes = msg.width * kind.bytes_per_pixel
    data = np.frombuffer(msg.data, np.uint8).reshape(rows, msg.step)[:, :row_bytes]
    values: Pixels = np.ascontiguousarray(data)
    if kind.bits == 16:
        order = ">u2" if msg.is_bigendian else "<u2"
        values = values.view(order).astype(np.uint16)
    what = f"{msg.width}x{msg.height} pixels of {msg.encoding}"
    return _converted(values, msg.encoding, what, convert)


def _rgb_from_compressed(msg: CompressedPicture, convert: Conversion) -> NDArray[np.uint8]:
    picture = read_picture(msg, check_size=_check_size)
    if picture.ndim == 3:
        return np.asarray(picture, np.uint8)
    name = _encoding_of_format(msg.format)
    is_mosaic = name.startswith("bayer_")
    if picture.dtype == np.uint16 and not (is_mosaic or name == "mono16"):
        raise ImageError(
            f"compressed image: expected 8 bits per channel, or mono16 or a Bayer pattern before "
            f"the ';', got 16 bits and the format {msg.format!r}; is this a depth image?"
        )
    bits = 16 if picture.dtype == np.uint16 else 8
    encoding = f"{name.rstrip('0123456789')}{bits}" if is_mosaic else f"mono{bits}"
    what = f"the {name or 'grey'} picture in a compressed image"
    return _converted(picture, encoding, what, convert)


def _encoding_of_format(text: str) -> str:
    """What stands before the ';' of a CompressedImage's format; "" where there is none.

    Raises:
        ImageError: it is no encoding of a colour image.
    """
    name = text.split(";")[0].strip() if ";" in text else ""
    if name:
        _encoding(name, f"compressed image: the format {text!r}: ")
    return name


def _encoding(name: str, where: str = "image: ") -> Encoding:
    kind = ENCODINGS.get(name)
    if kind is None:
        is_depth = name in _DEPTH_ENCODINGS
        advice = "is this a depth image?" if is_depth else "set the camera driver to one of them"
        raise ImageError(
            f"{where}expected an encoding out of {', '.join(ENCODINGS)}, got {name!r}; {advice}"
        )
    return kind


def _converted(values: Pixels, encoding: str, what: str, convert: Conversion) -> NDArray[np.uint8]:
    try:
        return convert(values, encoding)
    except cv2.error as error:
        raise ImageError(f"image: cannot decode {what}: {error.err}") from error


def _check_size(width_px: int, height_px: int) -> None:
    if not (0 < width_px <= MAX_SIDE_PX and 0 < height_px <= MAX_SIDE_PX):
        raise ImageError(
            f"image: expected a width and height of 1..{MAX_SIDE_PX} pixels, "
            f"got {width_px}x{height_px}; check the camera driver"
        )


def _check_layout(msg: RawImage, kind: Encoding) -> int:
    """The number of rows of values, once their length and the whole fit (sensor_msgs/Image)."""
    is_halved = kind.rows == 3  # one colour for two by two pixels
    if is_halved and (msg.height % 2 or msg.width % 2):
        raise ImageError(
            f"image: {msg.encoding} expects an even width and height, got {msg.width}x{msg.height}"
        )
    rows = msg.height * kind.rows // 2
    row_bytes = msg.width * kind.bytes_per_pixel
    if msg.step < row_bytes:
        raise ImageError(
            f"image: expected a step of at least {row_bytes} bytes for {msg.width} pixels of "
            f"{msg.encoding}, got {msg.step}; check width, encoding and step"
        )
    if kind.bits == 16 and msg.step % 2:
        raise ImageError(f"image: expected an even step for {msg.encoding}, got {msg.step}")
    if len(msg.data) != rows * msg.step:
        raise ImageError(
            f"image: expected {rows * msg.step} bytes of data ({rows} rows of {msg.step} bytes), "
            f"got {len(msg.data)}; the message is truncated or its size is wrong"
        )
    return rows
