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

"""Masks as COCO run lengths, the form of every annotation tool: column-major, outside first.

Written by pycocotools. Read with a parser of our own: pycocotools takes counts on trust, and shows
uninitialised memory, or never returns, where they do not fit the size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import ConfigError


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask [H, W] as {"size": [H, W], "counts": text}.

    Raises:
        ConfigError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco  # only here: reading needs none
    except ImportError as error:
        raise ConfigError(
            "run lengths: expected pycocotools, which is not installed; run: "
            "python3 -m pip install pycocotools"
        ) from error
    counts = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return {"size": list(mask.shape), "counts": counts.decode("ascii")}


def decode(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The mask [H, W] of {"size": [H, W], "counts": text or list}.

    Raises:
        ValueError: not such a mapping, or counts that do not fit the size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        if isinstance(counts, bytes):
            counts = counts.decode("ascii")
        lengths = np.asarray(unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'mask: expected {{"size": [H, W], "counts": ...}}, got {error}'
        ) from error
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != height * width:
        raise ValueError(
            f"mask: expected run lengths of {height * width} pixels for size {[height, width]}, "
            f"got {int(lengths.sum())}"
        )
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def unpacked(text: str) -> list[int]:
    """The counts in COCO's text: base 32 from the character 0 on, lowest digits first, 32 for "goes
    on", 16 for the sign; from the fourth on the difference to the last but one.

    Raises:
        ValueError: the last number does not end, or a character that no number has.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64:
            raise ValueError(f"counts: expected characters from '0' to 'o', got {letter!r}")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("counts: expected a number that ends, got a text that was cut off")
    return counts
