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

"""Images, depth images and camera_infos of every kind of wrong."""

import io
import struct
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st
from malformed import inputs, understood
from PIL import Image as PillowImage

from flmm_ros.engine.targets.target import Intrinsics
from flmm_ros.ros.depth.camera_model import intrinsics_from_msg
from flmm_ros.ros.depth.depth_decoding import depth_m_from_msg
from flmm_ros.ros.images.decoding import ENCODINGS, rgb_from_msg

SIZES = st.one_of(
    st.integers(0, 9), st.sampled_from([16, 16384, 16385, 2**31 - 1, 2**32 - 1, 10**6])
)
NAMES = st.one_of(
    st.sampled_from([*ENCODINGS, "16UC1", "32FC1", "", "RGB8", "8UC3", "jpeg"]), st.text(max_size=8)
)
WIDTHS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}


def bytes_per_pixel(encoding):
    """Roughly, so that most inputs are nearly right."""
    channels = WIDTHS.get(encoding.rstrip("0123456789"), 1)
    return channels * (2 if encoding.endswith("16") or encoding == "16UC1" else 1)


@st.composite
def raw_images(draw, encodings=NAMES):
    """A right image, in which up to three fields are then wrong."""
    encoding = draw(encodings)
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    row = width * (4 if encoding == "32FC1" else bytes_per_pixel(encoding))
    step = row + draw(st.sampled_from([0, 0, 0, 1, 2, 7]))
    msg = SimpleNamespace(height=height, width=width, encoding=encoding, step=step)
    msg.is_bigendian = draw(st.sampled_from([0, 0, 1, 255]))
    msg.data = draw(st.binary(min_size=height * step, max_size=height * step))
    for field in draw(st.lists(st.sampled_from(["height", "width", "step", "data"]), max_size=3)):
        wrong = draw(st.binary(max_size=64)) if field == "data" else draw(SIZES)
        setattr(msg, field, wrong)
    return msg


@inputs("raw images", raw_images())
def test_raw_images(msg):
    rgb = understood(rgb_from_msg, msg)
    if rgb is not None:
        assert (rgb.shape, rgb.dtype) == ((msg.height, msg.width, 3), np.uint8)


def picture(kind, mode):
    buffer = io.BytesIO()
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    PillowImage.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


PICTURES = [picture("JPEG", "RGB"), picture("JPEG", "L"), picture("PNG", "RGBA")]
PICTURES += [picture("PNG", "P"), picture("WEBP", "RGB"), picture("GIF", "P")]


@st.composite
def damaged(draw, wholes):
    """Bytes with some changed, some cut out, something put in between."""
    data = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["change", "change", "cut", "insert", "end"]))
        if how == "change":
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        else:
            del data[at:]
    return bytes(data)


FORMATS = st.one_of(
    st.sampled_from(
        ["jpeg", "png", "", "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth png"]
    ),
    st.text(max_size=12),
)


@inputs("compressed images", damaged(PICTURES), FORMATS)
def test_compressed_images(data, name):
    rgb = understood(rgb_from_msg, SimpleNamespace(format=name, data=data))
    if rgb is not None:
        assert rgb.dtype == np.uint8 and rgb.shape[2] == 3 and max(rgb.shape) <= 16384


def depth_png():
    buffer = io.BytesIO()
    PillowImage.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(buffer, "PNG")
    return struct.pack("<iff", 0, 100.0, 0.5) + buffer.getvalue()


DEPTH_NAMES = st.one_of(st.sampled_from(["16UC1", "32FC1", "mono16", "32FC1"]), NAMES)
COMPRESSED_DEPTH = st.builds(
    SimpleNamespace,
    format=st.one_of(
        st.sampled_from(["16UC1; compressedDepth", "32FC1; compressedDepth png"]),
        st.text(max_size=9),
    ),
    data=damaged([depth_png()]),
)


@inputs("depth images", st.one_of(raw_images(DEPTH_NAMES), COMPRESSED_DEPTH))
def test_depth_images(msg):
    depth_m = understood(depth_m_from_msg, msg)
    if depth_m is not None:
        assert depth_m.ndim == 2 and depth_m.dtype == np.float32
        assert (depth_m[~np.isnan(depth_m)] > 0).all() and not np.isinf(depth_m).any()


NUMBERS = st.one_of(
    st.floats(), st.floats(-10, 2000), st.sampled_from([0.0, -1.0, float("nan"), float("inf")])
)
CAMERA_INFOS = st.builds(
    SimpleNamespace,
    height=st.sampled_from([4, 4, 4, 0, 5]),
    width=st.sampled_from([6, 6, 6, 0, 2**32 - 1]),
    k=st.lists(NUMBERS, min_size=9, max_size=9),
    p=st.lists(NUMBERS, min_size=12, max_size=12),
    d=st.lists(NUMBERS, max_size=15),
    distortion_model=st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", "", "x"]),
)


@inputs("camera infos", CAMERA_INFOS, st.booleans())
def test_camera_infos(msg, is_rectified):
    intrinsics = understood(intrinsics_from_msg, msg, (4, 6), is_rectified=is_rectified)
    if intrinsics is not None:
        assert isinstance(intrinsics, Intrinsics) and intrinsics.fx_px > 0
