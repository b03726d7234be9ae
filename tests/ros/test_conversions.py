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

"""Images in every encoding by value, refusals by text, masks there and back."""

import array
import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PillowImage
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import ImageError
from flmm_ros.ros.images.pixels import conversions as ways_here
from flmm_ros.ros.messages import conversions

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
ALPHA = np.full((4, 6, 1), 7, np.uint8)


def message(pixels: np.ndarray, encoding: str, *, padding: int = 0, **fields) -> Image:
    """An image with `padding` bytes of rubbish behind each row, and single fields changed."""
    rows = pixels.reshape(pixels.shape[0], -1).view(np.uint8)
    padded = np.concatenate([rows, np.full((len(rows), padding), 99, np.uint8)], axis=1)
    msg = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    msg.step = padded.shape[1]
    msg.data = array.array("B", padded.tobytes())
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


@pytest.fixture(params=sorted(ways_here()))
def decode(request):
    """Every way from pixels to RGB that works here."""
    return lambda msg: conversions.rgb_from_msg(msg, ways_here()[request.param])


def gray(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=2)


WIDE = RGB.astype(np.uint16) * 257  # 8 bits in the high and the low byte: scaling back is exact
EIGHT_BITS = {
    "rgb8": (RGB, RGB),
    "bgr8": (RGB[..., ::-1].copy(), RGB),
    "rgba8": (np.concatenate([RGB, ALPHA], 2), RGB),
    "bgra8": (np.concatenate([RGB[..., ::-1], ALPHA], 2), RGB),
    "mono8": (RGB[..., 0].copy(), gray(RGB[..., 0])),
    "8UC1": (RGB[..., 0].copy(), gray(RGB[..., 0])),
}
SIXTEEN_BITS = {
    "rgb16": (WIDE, RGB),
    "bgr16": (WIDE[..., ::-1].copy(), RGB),
    "rgba16": (np.concatenate([WIDE, WIDE[..., :1]], 2), RGB),
    "bgra16": (np.concatenate([WIDE[..., ::-1], WIDE[..., :1]], 2), RGB),
    "mono16": (WIDE[..., 0].copy(), gray(RGB[..., 0])),
}


@pytest.mark.parametrize("padding", [0, 2, 10])
@pytest.mark.parametrize("encoding", [*EIGHT_BITS, *SIXTEEN_BITS])
def test_plain_encodings_by_value(decode, encoding, padding):
    pixels, expected = {**EIGHT_BITS, **SIXTEEN_BITS}[encoding]
    got = decode(message(pixels, encoding, padding=padding))
    assert got.dtype == np.uint8
    np.testing.assert_allclose(got.astype(int), expected, atol=encoding in SIXTEEN_BITS)


@pytest.mark.parametrize("encoding", SIXTEEN_BITS)
def test_big_endian_sixteen_bits(decode, encoding):
    pixels, expected = SIXTEEN_BITS[encoding]
    msg = message(pixels.byteswap(), encoding, is_bigendian=1)
    np.testing.assert_allclose(decode(msg).astype(int), expected, atol=1)


@pytest.mark.parametrize("name", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_by_value(decode, name):
    color = {"r": 200, "g": 90, "b": 30}
    tile = np.array([color[letter] for letter in name], np.uint8).reshape(2, 2)
    got = decode(message(np.tile(tile, (4, 4)), f"bayer_{name}8"))
    np.testing.assert_array_equal(got, np.broadcast_to([200, 90, 30], (8, 8, 3)))


# BT.601 with limited range: the primaries as (Y, U, V).
YUV = {
    (255, 0, 0): (81, 90, 240),
    (0, 255, 0): (145, 54, 34),
    (128, 128, 128): (126, 128, 128),
}


@pytest.mark.parametrize("rgb", YUV)
@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"])
def test_yuv_by_value(decode, encoding, rgb):
    y, u, v = YUV[rgb]
    if encoding.startswith("nv"):
        chroma = (u, v) if encoding == "nv12" else (v, u)
        pixels = np.full((6, 4), y, np.uint8)
        pixels[4:] = np.tile(np.array(chroma, np.uint8), (2, 2))
        msg = message(pixels, encoding, height=4)
    else:
        pair = (u, y, v, y) if encoding in ("uyvy", "yuv422") else (y, u, y, v)
        msg = message(np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (4, 2, 1)), encoding)
    got = decode(msg)
    assert got.shape == (4, 4, 3)
    np.testing.assert_allclose(got.astype(int), np.broadcast_to(rgb, got.shape), atol=3)


def test_the_picture_does_not_share_the_messages_memory():
    msg = message(RGB, "rgb8")
    got = conversions.rgb_from_msg(msg)
    msg.data[0] = (int(got[0, 0, 0]) + 1) % 256
    np.testing.assert_array_equal(got, RGB)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"encoding": "jpeg"}, "expected an encoding out of rgb8, bgr8, .* got 'jpeg'"),
        ({"encoding": ""}, "got ''"),
        ({"encoding": "16UC1"}, "got '16UC1'"),
        ({"encoding": "32FC1"}, "got '32FC1'"),
        (
            {"step": 17},
            "expected a step of at least 18 bytes for 6 pixels of rgb8, got 17",
        ),
        ({"step": 0}, "got 0"),
        ({"step": 20}, r"expected 80 bytes of data \(4 rows of 20 bytes\), got 72"),
        ({"encoding": "rgba8"}, "expected a step of at least 24 bytes"),
        (
            {"height": 5},
            r"expected 90 bytes of data .* got 72; the message is truncated",
        ),
        ({"height": 3}, "expected 54 bytes of data"),
        ({"height": 0}, "expected a width and height of 1..16384 pixels, got 6x0"),
        ({"width": 0}, "got 0x4"),
        ({"height": 4_000_000_000}, "got 6x4000000000"),
        ({"data": array.array("B", [])}, "got 0; the message is truncated"),
        ({"data": array.array("B", bytes(71))}, "got 71"),
        ({"data": array.array("B", bytes(73))}, "got 73"),
        ({"encoding": "nv12", "height": 3}, "even width and height"),
    ],
)
def test_a_wrong_image_is_refused_by_the_field_that_is_wrong(fields, text):
    with pytest.raises(ImageError, match=text):
        conversions.rgb_from_msg(message(RGB, **{"encoding": "rgb8", **fields}))


def compressed(image: np.ndarray, format_: str) -> CompressedImage:
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, format_)
    return CompressedImage(format=format_.lower(), data=array.array("B", buffer.getvalue()))


def test_png_is_exact_and_jpeg_is_close():
    np.testing.assert_array_equal(conversions.rgb_from_msg(compressed(RGB, "PNG")), RGB)
    smooth = np.zeros((32, 32, 3), np.uint8)
    smooth[:, 16:] = (200, 40, 10)
    got = conversions.rgb_from_msg(compressed(smooth, "JPEG")).astype(int)
    assert np.abs(got - smooth)[:, 24:].max() <= 6


def test_gray_jpeg_and_rgba_png_become_rgb():
    assert conversions.rgb_from_msg(compressed(RGB[..., 0], "JPEG")).shape == (4, 6, 3)
    rgba = np.concatenate([RGB, ALPHA], 2)
    np.testing.assert_array_equal(conversions.rgb_from_msg(compressed(rgba, "PNG")), RGB)


def corrupt(how: str) -> CompressedImage:
    msg = compressed(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8), "JPEG")
    data = bytes(msg.data)
    msg.data = array.array("B", {"half": data[: len(data) // 2], "head": b"\x00" * 9 + data[9:],
                                 "empty": b"", "text": b"not an image"}[how])  # fmt: skip
    return msg


@pytest.mark.parametrize("how", ["half", "head", "empty", "text"])
def test_a_corrupt_jpeg_is_refused(how):
    with pytest.raises(ImageError, match="compressed image: expected JPEG or PNG data, got"):
        conversions.rgb_from_msg(corrupt(how))


def test_compressed_depth_is_refused():
    msg = compressed(RGB, "PNG")
    msg.format = "16UC1; compressedDepth png"
    with pytest.raises(ImageError, match="expected a colour image"):
        conversions.rgb_from_msg(msg)
    with pytest.raises(ImageError, match="8 bits per channel"):
        conversions.rgb_from_msg(compressed(WIDE[..., 0], "PNG"))


def test_image_to_msg_fills_every_field():
    header = Header(frame_id="camera")
    msg = conversions.image_to_msg(RGB, header)
    assert (msg.header.frame_id, msg.height, msg.width) == ("camera", 4, 6)
    assert (msg.encoding, msg.step, msg.is_bigendian) == ("rgb8", 18, 0)
    assert bytes(msg.data) == RGB.tobytes()
    mono16 = conversions.image_to_msg(WIDE[..., 0].copy(), header)
    assert (mono16.encoding, mono16.step) == ("mono16", 12)
    np.testing.assert_array_equal(np.frombuffer(mono16.data, "<u2").reshape(4, 6), WIDE[..., 0])
    with pytest.raises(ValueError, match="expected uint8"):
        conversions.image_to_msg(RGB.astype(np.float32), header)


def test_image_to_msg_is_quick():
    image = np.zeros((720, 1280, 3), np.uint8)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        conversions.image_to_msg(image, Header())
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05, "assigned byte by byte it takes seconds"


def grounding(mask: np.ndarray, score: float, **fields) -> Grounding:
    soft = mask.astype(np.float32)
    return Grounding("the mug", mask, soft, soft, score, (0, 0, 2, 3), **fields)


def rows(*numbers: int) -> np.ndarray:
    mask = np.zeros((5, 4), bool)
    mask[list(numbers)] = True
    return mask


def test_label_image_by_value():
    objects = [
        grounding(rows(0, 1), 0.5),
        grounding(rows(3), 0.9, is_present=False),
        grounding(rows(1, 2), 0.8),
        grounding(rows(2), 0.2),
        grounding(rows(), 0.9),
    ]
    assert conversions.labels_of(objects) == [1, 0, 2, 3, 0]
    image = conversions.label_image(objects, (5, 4))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[:, 0], [1, 2, 2, 0, 0])


def test_of_equal_scores_the_earlier_object_is_in_front():
    image = conversions.label_image([grounding(rows(0, 1), 0.5), grounding(rows(1), 0.5)], (5, 4))
    np.testing.assert_array_equal(image[:, 0], [1, 1, 0, 0, 0])


def test_above_254_objects_the_label_image_has_sixteen_bits():
    few = conversions.label_image([grounding(rows(0), 0.5)] * 254, (5, 4))
    assert (few.dtype, few.max()) == (np.uint8, 1)
    many = [grounding(rows(0), 0.5)] * 254 + [grounding(rows(1), 0.5)]
    image = conversions.label_image(many, (5, 4))
    assert image.dtype == np.uint16
    assert image[1, 0] == 255


def test_no_objects_give_an_empty_label_image():
    assert conversions.label_image([], (5, 4)).max() == 0


def test_runs_by_value():
    mask = np.array([[1, 1, 0], [0, 1, 0]], bool)
    assert conversions.runs_from_mask(mask).tolist() == [0, 2, 2, 1, 1]
    assert conversions.runs_from_mask(~mask).tolist() == [2, 2, 1, 1]


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_runs_there_and_back(mask):
    runs = conversions.runs_from_mask(mask)
    np.testing.assert_array_equal(conversions.mask_from_runs(runs, mask.shape), mask)
    assert (runs[1:] > 0).all()


def test_runs_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected 20 pixels"):
        conversions.mask_from_runs([3, 4], (5, 4))


def test_object_by_value():
    mask = np.zeros((5, 4), bool)
    mask[1:4, 2:4] = True
    soft = mask.astype(np.float32)
    msg = conversions.object_to_msg(
        Grounding("the mug", mask, soft, soft, 0.75, (2, 1, 4, 4), True, (8, 15)),
        label=3,
    )
    assert (msg.phrase, msg.score, msg.is_present, msg.label) == (
        "the mug",
        0.75,
        True,
        3,
    )
    assert (msg.x_min_px, msg.y_min_px, msg.x_max_px, msg.y_max_px) == (2, 1, 4, 4)
    assert (msg.center_x_px, msg.center_y_px, msg.area_px) == (2.5, 2.0, 6)
    assert (msg.text_start, msg.text_end) == (8, 15)
    np.testing.assert_array_equal(conversions.mask_from_runs(msg.mask_runs, (5, 4)), mask)


def test_object_with_an_empty_mask():
    msg = conversions.object_to_msg(grounding(rows(), 0.1, is_present=False), label=0)
    assert (msg.x_max_px, msg.area_px, msg.text_end) == (0, 0, 0)
    assert np.isnan(msg.center_x_px) and np.isnan(msg.center_y_px)


def test_stage_times_are_in_the_engines_order_without_the_total():
    names, times = conversions.stage_times({"total": 9.0, "refine": 3.0, "encode": 1.0})
    assert (names, times) == (["encode", "refine"], [1.0, 3.0])
