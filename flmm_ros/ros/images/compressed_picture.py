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

"""The file in a CompressedImage: JPEG, PNG or WebP. What its pixels mean is decoding.py's."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from flmm_ros.engine.errors import ImageError

_KINDS = ("JPEG", "PNG", "WEBP")
_COLOURS = ("rgb", "bgr")  # how names of colour encodings begin, see sensor_msgs/image_encodings


class CompressedPicture(Protocol):
    """The fields of sensor_msgs/CompressedImage."""

    format: str
    data: Any


def read_picture(
    msg: CompressedPicture, check_size: Callable[[int, int], None]
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """RGB uint8 [H, W, 3], or what is stored of a grey picture: uint8 or uint16 [H, W].

    By Pillow: OpenCV returns half of a truncated JPEG without a word. check_size: refuses a width
    and height before the pixels are read.

    Raises:
        ImageError: no picture, a damaged one, or compressed depth.
    """
    data = bytes(msg.data)
    if not data:
        raise ImageError("compressed image: expected JPEG or PNG data, got 0 bytes")
    if "compressedDepth" in msg.format:
        raise ImageError(
            f"compressed image: expected a colour image, got format {msg.format!r}; "
            "subscribe to the colour camera's compressed topic"
        )
    try:
        with PillowImage.open(io.BytesIO(data), formats=_KINDS) as picture:
            check_size(*picture.size)
            if picture.mode == "L":
                return np.array(picture, np.uint8)
            if picture.mode.startswith("I"):
                return np.array(picture).astype(np.uint16)
            rgb = np.array(picture.convert("RGB"), np.uint8)
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
    return np.ascontiguousarray(rgb[..., ::-1]) if _is_swapped(msg.format) else rgb


def _is_swapped(text: str) -> bool:
    """Red and blue have changed places in the file.

    compressed_image_transport hands OpenCV, which takes it for BGR, the picture as it came unless
    it says "compressed bgr..." behind the ';': its own subscriber swaps them back, and so does
    this (compressed_subscriber.cpp).
    """
    encoding, separator, compression = text.partition(";")
    is_colour = encoding.strip().startswith(_COLOURS)
    is_told = "compressed" in compression
    return bool(separator) and is_colour and is_told and "compressed bgr" not in compression
