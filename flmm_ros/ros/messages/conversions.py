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

"""Messages <-> numpy and the engine's dataclasses. Row padding and byte order end here; the way
from an image message to a picture is in decoding.py.
"""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.progress import Stage
from flmm_ros.msg import GroundedObject
from flmm_ros.ros.images.decoding import (
    rgb_from_msg as rgb_from_msg,  # conversions: both directions
)


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
    msg.data = array.array("B")
    msg.data.frombytes(np.ascontiguousarray(little_endian).view(np.uint8))
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


def _area_and_center(mask: NDArray[np.bool_]) -> tuple[int, tuple[float, float]]:
    """Pixels of a mask and the mean (x, y) of them, NaN where there are none. By sums over rows and
    columns: listing every pixel takes ten times as long."""
    ones = mask.view(np.uint8)
    of_rows, of_columns = ones.sum(axis=1, dtype=np.uint32), ones.sum(axis=0, dtype=np.uint32)
    area = int(of_rows.sum())
    if area == 0:
        return 0, (float("nan"), float("nan"))
    x = float(of_columns @ np.arange(len(of_columns))) / area
    return area, (x, float(of_rows @ np.arange(len(of_rows))) / area)


def object_to_msg(grounding: Grounding, label: int) -> GroundedObject:
    """One object of an answer."""
    area_px, (x, y) = _area_and_center(grounding.mask)
    is_empty = area_px == 0
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
        center_x_px=x,
        center_y_px=y,
        area_px=area_px,
        mask_runs=array.array("I", runs_from_mask(grounding.mask).tobytes()),
        text_start=start,
        text_end=end,
    )


def stage_times(timings_ms: Mapping[str, float]) -> tuple[list[str], list[float]]:
    """Names and milliseconds of the stages that ran, in the engine's order, without the total."""
    names = [stage.value for stage in Stage if stage.value in timings_ms]
    return names, [float(timings_ms[name]) for name in names]
