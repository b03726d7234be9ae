"""The picture in an image message as RGB, checked before it is touched.

Reads the fields of sensor_msgs/Image and CompressedImage by name, whoever made the object: rclpy,
or a reader of bags on a machine without ROS. A wrong image is refused with the field that is wrong,
not decoded into garbage. Does not know about: message packages, nodes, topics, models.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rosbags.image import message_to_cvimage

from flmm_ros.engine.errors import ImageError


class RawImage(Protocol):
    """The fields of sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedPicture(Protocol):
    """The fields of sensor_msgs/CompressedImage."""

    format: str
    data: Any


MAX_SIDE_PX = 16384  # a larger one is a corrupt message, and would ask for gigabytes

# Bytes per pixel. 16-bit values are scaled to 8 bits (their high byte).
_BYTES_PER_PIXEL: Mapping[str, int] = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "8UC1": 1,
    "rgb16": 6,
    "bgr16": 6,
    "rgba16": 8,
    "bgra16": 8,
    "mono16": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "uyvy": 2,
    "yuv422": 2,
    "yuyv": 2,
    "yuv422_yuy2": 2,
    "nv12": 1,
    "nv21": 1,
}
ENCODINGS: tuple[str, ...] = tuple(_BYTES_PER_PIXEL)
_SAME_AS: Mapping[str, str] = {"8UC1": "mono8"}
_PLANAR = (
    "nv12",
    "nv21",
)  # a plane of brightness, then one of colour at half the height


@dataclass(frozen=True)
class _Packed:
    """An image without padding and in this machine's byte order: what the decoder expects."""

    height: int
    width: int
    encoding: str
    data: NDArray[np.uint8]
    is_bigendian: int = 0


def rgb_from_msg(msg: RawImage | CompressedPicture) -> NDArray[np.uint8]:
    """The picture in a message as RGB uint8 [H, W, 3], in memory of its own.

    Raises:
        ImageError: encoding, step, size and data do not fit together, or cannot be decoded.
    """
    if hasattr(msg, "format"):
        return _rgb_from_compressed(cast(CompressedPicture, msg))
    return _rgb_from_raw(msg)


def _rgb_from_raw(msg: RawImage) -> NDArray[np.uint8]:
    _check_size(msg.width, msg.height)
    bytes_per_pixel = _BYTES_PER_PIXEL.get(msg.encoding)
    if bytes_per_pixel is None:
        raise ImageError(
            f"image: expected an encoding out of {', '.join(ENCODINGS)}, got {msg.encoding!r}; "
            "set the camera driver to one of them"
        )
    rows, row_bytes = msg.height, msg.width * bytes_per_pixel
    if msg.encoding in _PLANAR:
        if msg.height % 2 or msg.width % 2:
            raise ImageError(
                f"image: {msg.encoding} expects an even width and height, "
                f"got {msg.width}x{msg.height}"
            )
        rows = msg.height * 3 // 2
    _check_layout(msg, rows, row_bytes)
    data = np.frombuffer(msg.data, np.uint8).reshape(rows, msg.step)[:, :row_bytes]
    if msg.is_bigendian and msg.encoding.endswith("16"):
        data = data.reshape(rows, -1, 2)[..., ::-1].reshape(rows, row_bytes)
    packed = _Packed(
        height=rows,
        width=msg.width,
        encoding=_SAME_AS.get(msg.encoding, msg.encoding),
        data=np.ascontiguousarray(data),
    )
    try:
        # A copy: for rgb8 the decoder returns the message's own memory.
        return np.array(message_to_cvimage(cast(Any, packed), "rgb8"), np.uint8)
    except cv2.error as error:
        raise ImageError(
            f"image: cannot decode {msg.width}x{msg.height} pixels of {msg.encoding}: {error.err}"
        ) from error


def _check_size(width_px: int, height_px: int) -> None:
    if not (0 < width_px <= MAX_SIDE_PX and 0 < height_px <= MAX_SIDE_PX):
        raise ImageError(
            f"image: expected a width and height of 1..{MAX_SIDE_PX} pixels, "
            f"got {width_px}x{height_px}; check the camera driver"
        )


def _check_layout(msg: RawImage, rows: int, row_bytes: int) -> None:
    """Row length and total length, as sensor_msgs/Image defines them."""
    if msg.step < row_bytes:
        raise ImageError(
            f"image: expected a step of at least {row_bytes} bytes for {msg.width} pixels of "
            f"{msg.encoding}, got {msg.step}; check width, encoding and step"
        )
    if msg.encoding.endswith("16") and msg.step % 2:
        raise ImageError(f"image: expected an even step for {msg.encoding}, got {msg.step}")
    if len(msg.data) != rows * msg.step:
        raise ImageError(
            f"image: expected {rows * msg.step} bytes of data ({rows} rows of {msg.step} bytes), "
            f"got {len(msg.data)}; the message is truncated or its size is wrong"
        )


def _rgb_from_compressed(msg: CompressedPicture) -> NDArray[np.uint8]:
    """JPEG, PNG or WebP. By Pillow: OpenCV returns half of a truncated JPEG without a word."""
    data = bytes(msg.data)
    if not data:
        raise ImageError("compressed image: expected JPEG or PNG data, got 0 bytes")
    if "compressedDepth" in msg.format:
        raise ImageError(
            f"compressed image: expected a colour image, got format {msg.format!r}; "
            "subscribe to the colour camera's compressed topic"
        )
    try:
        with PillowImage.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as picture:
            _check_size(*picture.size)
            if picture.mode.startswith(("I", "F")):
                raise ImageError(
                    f"compressed image: expected 8 bits per channel, got mode {picture.mode}; "
                    "is this a depth image?"
                )
            return np.array(picture.convert("RGB"), np.uint8)
    except (
        OSError,
        SyntaxError,
        ValueError,
        PillowImage.DecompressionBombError,
    ) as error:
        raise ImageError(
            f"compressed image: expected JPEG or PNG data, got {len(data)} bytes (format "
            f"{msg.format!r}) that cannot be decoded: {error}"
        ) from error
