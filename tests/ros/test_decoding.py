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

"""Mosaics, 16 bits, channel orders and rare encodings, raw and compressed, by value."""

import array
import importlib.util
import io
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from flmm_ros.engine.errors import ImageError
from flmm_ros.ros.images import pixels
from flmm_ros.ros.images.decoding import rgb_from_msg
from flmm_ros.ros.images.serialized_image import image_from_bytes, stamp_of_bytes

PATTERNS = ("rggb", "bggr", "gbrg", "grbg")


@pytest.fixture(params=sorted(pixels.conversions()))
def decode(request):
    """Every way from pixels to RGB that works here."""
    return lambda msg: rgb_from_msg(msg, pixels.conversions()[request.param])


def test_cv_bridge_is_tried_where_it_is():
    if importlib.util.find_spec("cv_bridge") is None:
        pytest.skip("cv_bridge is not installed: only OpenCV's way was tried")
    assert next(iter(pixels.conversions())) == "cv_bridge"


def scene() -> np.ndarray:
    """Smooth colours [48, 64, 3]: a JPEG and a mosaic keep them nearly."""
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([60 + 2 * columns, 200 - 2 * rows, 40 + rows + columns], axis=2).astype(
        np.uint8
    )


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    grey = np.empty(rgb.shape[:2], rgb.dtype)
    for number, letter in enumerate(pattern):
        row, column = divmod(number, 2)
        grey[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
    return grey


def raw(values: np.ndarray, encoding: str, **fields: Any) -> Image:
    rows = values.reshape(len(values), -1).view(np.uint8)
    msg = Image(height=values.shape[0], width=values.shape[1], encoding=encoding)
    msg.step, msg.data = rows.shape[1], array.array("B", rows.tobytes())
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


def stored(values: np.ndarray, kind: str, format_: str) -> CompressedImage:
    """kind: JPEG, PNG or WEBP; values as they stand in the file."""
    if values.dtype == np.uint16:
        shown = values if values.ndim == 2 else values[..., ::-1]
        data = cv2.imencode(".png", shown)[1].tobytes()
    else:
        buffer = io.BytesIO()
        more = {"quality": 97, "subsampling": 0} if kind == "JPEG" else {}
        PillowImage.fromarray(values).save(buffer, kind, **more)
        data = buffer.getvalue()
    return CompressedImage(format=format_, data=array.array("B", data))


def worst(got: np.ndarray, expected: np.ndarray) -> int:
    """Of the inside; at a border a mosaic has no neighbours."""
    assert got.dtype == np.uint8
    assert got.shape == expected.shape
    return int(np.abs(got.astype(int) - expected)[2:-2, 2:-2].max())


@pytest.mark.parametrize("tail", ["jpeg compressed ", "png compressed {0}", "jpeg compressed {0}"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_in_a_file_has_the_colours_of_the_raw_one(decode, pattern, tail):
    name = f"bayer_{pattern}8"
    rgb = scene()
    kind = "PNG" if "png" in tail else "JPEG"
    from_file = decode(stored(mosaic(rgb, pattern), kind, f"{name}; {tail.format(name)}"))
    assert worst(from_file, rgb) <= (4 if kind == "PNG" else 12)
    from_raw = decode(raw(mosaic(rgb, pattern), name))
    assert worst(from_file, from_raw) <= (0 if kind == "PNG" else 12)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_a_mosaic_of_sixteen_bits(decode, pattern, is_bigendian):
    rgb = scene()
    wide = mosaic(rgb.astype(np.uint16) * 256 + 17, pattern)
    values = wide.byteswap() if is_bigendian else wide
    msg = raw(values, f"bayer_{pattern}16", is_bigendian=is_bigendian)
    assert worst(decode(msg), rgb) <= 4
    png = stored(wide, "PNG", f"bayer_{pattern}16; png compressed ")
    assert worst(decode(png), rgb) <= 4


def test_sixteen_bits_in_a_png_keep_their_high_byte(decode):
    rgb = scene()
    wide = rgb.astype(np.uint16) * 256 + 17
    grey = decode(stored(wide[..., 0], "PNG", "mono16; png compressed "))
    assert worst(grey, np.repeat(rgb[..., :1], 3, axis=2)) == 0
    assert worst(decode(stored(wide, "PNG", "rgb16; png compressed bgr16")), rgb) == 0


@pytest.mark.parametrize(
    ("format_", "is_swapped"),
    [
        ("rgb8; jpeg compressed bgr8", False),  # compressed_image_transport
        ("bgr8; jpeg compressed bgr8", False),
        ("bgra8; png compressed bgr8", False),
        ("jpeg", False),
        ("", False),
        ("rgb8; jpeg compressed rgb8", True),  # the file holds red where blue belongs
        ("rgb8; jpeg compressed ", True),
        ("mono8; jpeg compressed ", False),
    ],
)
def test_the_order_of_channels_is_compressed_image_transports(decode, format_, is_swapped):
    rgb = scene()
    kind = "PNG" if "png" in format_ else "JPEG"
    expected = rgb[..., ::-1] if is_swapped else rgb
    assert worst(decode(stored(rgb, kind, format_)), expected) <= 6


def test_grey_alpha_and_palettes_in_files(decode):
    rgb = scene()
    alpha = np.concatenate([rgb, np.full((48, 64, 1), 9, np.uint8)], axis=2)
    assert worst(decode(stored(alpha, "PNG", "rgba8; png compressed bgra8")), rgb) == 0
    grey = np.repeat(rgb[..., 1:2], 3, axis=2)
    for format_ in ("mono8; jpeg compressed ", "jpeg", "bgr8; jpeg compressed bgr8"):
        assert worst(decode(stored(rgb[..., 1].copy(), "JPEG", format_)), grey) <= 3
    with_alpha = np.stack([rgb[..., 1], alpha[..., 3]], axis=2)
    assert worst(decode(stored(with_alpha, "PNG", "png")), grey) == 0


@pytest.mark.parametrize(
    ("format_", "words"),
    [
        ("bayer_rggb12; jpeg compressed ", "got 'bayer_rggb12'; set the camera driver"),
        ("h264; jpeg compressed ", "out of rgb8, .* got 'h264'"),
        ("16UC1; png compressed ", "got '16UC1'; is this a depth image"),
        ("rgb8; png compressed ", "expected 8 bits per channel"),
    ],
)
def test_a_name_nobody_knows_is_refused_by_name(format_, words):
    wide = mosaic(scene().astype(np.uint16) * 256, "rggb")
    with pytest.raises(ImageError, match=words):
        rgb_from_msg(stored(wide, "PNG", format_))


@pytest.mark.parametrize("padding", [0, 4])
def test_opencvs_own_names_are_in_opencvs_order(decode, padding):
    rgb = scene()
    bgra = np.concatenate([rgb[..., ::-1], np.zeros((48, 64, 1), np.uint8)], axis=2)
    wide = rgb[..., ::-1].astype(np.uint16) * 256 + 17
    for name, values in (("8UC3", rgb[..., ::-1].copy()), ("8UC4", bgra), ("16UC3", wide)):
        rows = values.reshape(48, -1).view(np.uint8)
        padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
        msg = raw(values, name, step=padded.shape[1], data=array.array("B", padded.tobytes()))
        assert worst(decode(msg), rgb) == 0


def test_nv24_has_a_colour_for_every_pixel(decode):
    y, u, v = (np.full((4, 6), value, np.uint8) for value in (81, 90, 240))  # red
    y[:, 3:], u[:, 3:], v[:, 3:] = 145, 54, 34  # green, from an odd column on
    colour = np.stack([u, v], axis=2).reshape(8, 6)
    msg = raw(np.concatenate([y, colour]), "nv24", height=4)
    expected = np.zeros((4, 6, 3), int)
    expected[:, :3], expected[:, 3:] = (255, 0, 0), (0, 255, 0)
    np.testing.assert_allclose(decode(msg).astype(int), expected, atol=3)
    with pytest.raises(ImageError, match="expected 72 bytes of data"):
        decode(raw(np.concatenate([y, colour]), "nv24", height=4, data=msg.data[:-1]))


@pytest.mark.parametrize("frame_id", ["", "c", "cam", "camera", "camera_color_optical_frame"])
@pytest.mark.parametrize("encoding", ["rgb8", "bayer_rggb8", "mono16", ""])
def test_a_serialized_image_is_read_in_place(frame_id, encoding):
    msg = raw(scene(), encoding, is_bigendian=1)
    msg.header.frame_id = frame_id
    msg.header.stamp.sec, msg.header.stamp.nanosec = -3, 4_000_000_000
    data = bytes(serialize_message(msg))
    read = image_from_bytes(data)
    assert stamp_of_bytes(data) == -3 * 10**9 + 4_000_000_000
    for name in ("header", "height", "width", "encoding", "is_bigendian", "step"):
        assert getattr(read, name) == getattr(msg, name), name
    assert bytes(read.data) == bytes(msg.data)
    packed = CompressedImage(header=msg.header, format=encoding, data=msg.data)
    read = image_from_bytes(bytes(serialize_message(packed)), CompressedImage)
    assert (read.header, read.format, bytes(read.data)) == (msg.header, encoding, bytes(msg.data))


def test_a_big_endian_message_is_read_too():
    """As a microcontroller's DDS sends it; written here by hand."""
    data = b"\0\0\0\0" + (5).to_bytes(4, "big") + (6).to_bytes(4, "big")
    data += (2).to_bytes(4, "big") + b"c\0" + b"\0\0"  # padding to the next number
    data += (1).to_bytes(4, "big") + (2).to_bytes(4, "big")
    data += (6).to_bytes(4, "big") + b"mono8\0" + b"\0" + b"\0"
    data += (2).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"\x07\x09"
    read = image_from_bytes(data)
    assert (read.header.stamp.sec, read.header.frame_id) == (5, "c")
    np.testing.assert_array_equal(rgb_from_msg(read)[..., 0], [[7, 9]])


def test_no_way_shares_memory_with_the_message(decode):
    names = ("height", "width", "encoding", "is_bigendian", "step")
    msg = SimpleNamespace(**{name: getattr(raw(scene(), "rgb8"), name) for name in names})
    msg.data = bytearray(scene().tobytes())
    got = decode(msg)
    msg.data[:] = bytes(len(msg.data))
    np.testing.assert_array_equal(got, scene())
