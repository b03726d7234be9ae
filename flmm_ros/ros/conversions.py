"""Messages <-> numpy and the engine's dataclasses. Encodings, row padding and byte order end here.

Everything a camera can send is checked before it is touched: a wrong image is refused with the
field that is wrong, not decoded into garbage. Does not know about: nodes, topics, models.
"""

from __future__ import annotations

import array
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rosbags.image import message_to_cvimage
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from flmm_ros.engine.types import Grounding, ImageError, Stage
from flmm_ros.msg import GroundedObject

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


def rgb_from_msg(msg: Image | CompressedImage) -> NDArray[np.uint8]:
    """The picture in a message as RGB uint8 [H, W, 3], in memory of its own.

    Raises:
        ImageError: encoding, step, size and data do not fit together, or cannot be decoded.
    """
    if isinstance(msg, CompressedImage):
        return _rgb_from_compressed(msg)
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
        return np.array(message_to_cvimage(cast(Image, packed), "rgb8"), np.uint8)
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


def _check_layout(msg: Image, rows: int, row_bytes: int) -> None:
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


def _rgb_from_compressed(msg: CompressedImage) -> NDArray[np.uint8]:
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


def image_to_msg(pixels: NDArray[np.uint8] | NDArray[np.uint16], header: Header) -> Image:
    """An Image message: rgb8 for [H, W, 3] uint8, mono8 or mono16 for [H, W] uint8 or uint16."""
    encodings = {(3, "uint8"): "rgb8", (2, "uint8"): "mono8", (2, "uint16"): "mono16"}
    encoding = encodings.get((pixels.ndim, str(pixels.dtype)))
    if encoding is None or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"image_to_msg: expected uint8 [H, W, 3], uint8 [H, W] or uint16 [H, W], "
            f"got {pixels.dtype} {pixels.shape}"
        )
    little_endian = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    msg = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    msg.step = pixels.shape[1] * (pixels.shape[2] if pixels.ndim == 3 else 1) * pixels.itemsize
    # rclpy checks any other type of sequence byte by byte, which takes seconds for a camera image.
    msg.data = array.array("B", little_endian.tobytes())
    return msg


def labels_of(objects: Sequence[Grounding]) -> list[int]:
    """Each object's value in the label image: 1, 2, ... for those present, 0 for absent ones."""
    labels, last = [], 0
    for grounding in objects:
        is_drawn = grounding.is_present and bool(grounding.mask.any())
        last += is_drawn
        labels.append(last if is_drawn else 0)
    return labels


def label_image(
    objects: Sequence[Grounding], size_hw: tuple[int, int]
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """All masks in one image [H, W]: 0 = background, otherwise the object's label.

    uint8, or uint16 above 254 objects. Where masks overlap the object with the higher score wins;
    of equal scores the earlier one.
    """
    labels = labels_of(objects)
    dtype = np.uint8 if max(labels, default=0) <= 254 else np.uint16
    image = np.zeros(size_hw, dtype)
    by_score = sorted(
        (pair for pair in zip(objects, labels, strict=True) if pair[1]),
        key=lambda pair: (pair[0].score, -pair[1]),
    )
    for grounding, label in by_score:
        image[grounding.mask] = label
    return image


def runs_from_mask(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Run lengths of a mask [H, W], row-major, alternately outside and inside, outside first."""
    flat = mask.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges).astype(np.uint32)
    starts_inside = flat.size > 0 and bool(flat[0])
    return np.concatenate((np.zeros(1, np.uint32), runs)) if starts_inside else runs


def mask_from_runs(runs: Sequence[int], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask [H, W] of `runs_from_mask`.

    Raises:
        ValueError: the runs do not add up to H * W pixels.
    """
    lengths = np.asarray(runs, np.int64)
    if int(lengths.sum()) != size_hw[0] * size_hw[1]:
        raise ValueError(
            f"mask runs: expected {size_hw[0] * size_hw[1]} pixels for {size_hw}, "
            f"got {int(lengths.sum())}"
        )
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size_hw)


def object_to_msg(grounding: Grounding, label: int) -> GroundedObject:
    """One object of an answer."""
    rows, columns = np.nonzero(grounding.mask)
    is_empty = len(rows) == 0
    x0, y0, x1, y1 = (0, 0, 0, 0) if is_empty else grounding.box_xyxy_px
    start, end = grounding.text_span or (0, 0)
    return GroundedObject(
        phrase=grounding.phrase,
        score=float(grounding.score),
        is_present=bool(grounding.is_present),
        is_ambiguous=bool(grounding.is_ambiguous),
        label=label,
        x_min_px=int(x0),
        y_min_px=int(y0),
        x_max_px=int(x1),
        y_max_px=int(y1),
        center_x_px=float("nan") if is_empty else float(columns.mean()),
        center_y_px=float("nan") if is_empty else float(rows.mean()),
        area_px=len(rows),
        mask_runs=array.array("I", runs_from_mask(grounding.mask).tobytes()),
        text_start=start,
        text_end=end,
    )


def stage_times(timings_ms: Mapping[str, float]) -> tuple[list[str], list[float]]:
    """Names and milliseconds of the stages that ran, in the engine's order, without the total."""
    names = [stage.value for stage in Stage if stage.value in timings_ms]
    return names, [float(timings_ms[name]) for name in names]
