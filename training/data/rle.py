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

"""Masks as COCO run lengths: small enough to keep, exact to the pixel.

COCO publishes masks in three forms: polygons, run lengths as a list of counts ("uncompressed", used
for crowds) and run lengths as a string. All become one `Rle` here, through pycocotools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.masks.rle import unpacked

MIN_CORNERS = 3


class DataError(FlmmError):
    """Data that is not in its published form. The message says where, what was expected, and what
    came."""

    code = "DATA"


class MissingFileError(DataError):
    """A file that annotations speak of is not there. `file`: its path below the root."""

    def __init__(self, file: str) -> None:
        super().__init__(f"{file} is missing")
        self.file = file


def _coco() -> Any:
    """pycocotools' mask functions; only data sets need them, a robot does not."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise DataError(
            "reading data sets needs pycocotools, which is not installed; run: "
            "pip install 'flmm_ros[train]'"
        ) from error
    return mask


@dataclass(frozen=True)
class Rle:
    """One mask of an image of size_hw (rows, columns); `counts` as COCO compresses them."""

    size_hw: tuple[int, int]
    counts: bytes

    @classmethod
    def encode(cls, mask: NDArray[np.bool_]) -> Rle:
        """From bool [H, W]."""
        if mask.ndim != 2:
            raise DataError(f"a mask: expected [H, W], got shape {mask.shape}")
        found = _coco().encode(np.asfortranarray(mask, dtype=np.uint8))
        return cls((int(mask.shape[0]), int(mask.shape[1])), bytes(found["counts"]))

    @classmethod
    def empty(cls, size_hw: tuple[int, int]) -> Rle:
        """No pixel: the mask of a phrase that means nothing in the image."""
        return cls.encode(np.zeros(size_hw, np.bool_))

    @classmethod
    def from_coco(cls, segmentation: Any, size_hw: tuple[int, int]) -> Rle:
        """From the "segmentation" of a COCO annotation; several polygons are one mask, and those
        with fewer than three corners cover nothing.

        size_hw: of the image the annotation belongs to.

        Raises:
            DataError: none of COCO's forms, or of another size than the image.
        """
        if isinstance(segmentation, dict):
            return cls._from_run_lengths(segmentation, size_hw)
        if not isinstance(segmentation, list) or not segmentation:
            raise DataError(
                "segmentation: expected polygons (a list of lists of x, y) or run lengths (a dict "
                f"with size and counts), got {_short(segmentation)}"
            )
        for polygon in segmentation:
            _check_polygon(polygon, size_hw)
        # A point or a line among polygons covers nothing; the object is its other polygons.
        with_area = [p for p in segmentation if len(p) >= 2 * MIN_CORNERS]
        if not with_area:
            raise _no_polygon(segmentation[0])
        height, width = size_hw
        coco = _coco()
        parts = coco.frPyObjects(with_area, height, width)
        whole = parts[0] if len(parts) == 1 else coco.merge(parts)
        return cls(size_hw, bytes(whole["counts"]))

    @classmethod
    def _from_run_lengths(cls, segmentation: dict[str, Any], size_hw: tuple[int, int]) -> Rle:
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not isinstance(size, list) or tuple(size) != tuple(size_hw):
            raise DataError(
                f"run lengths: expected the size of the image {list(size_hw)}, got {_short(size)}"
            )
        try:
            counts = unpacked(counts) if isinstance(counts, str) else counts
        except ValueError:
            counts = None
        if (
            not isinstance(counts, list)
            or not all(isinstance(c, int) and c >= 0 for c in counts)
            or sum(counts) != size_hw[0] * size_hw[1]
        ):  # pycocotools reads beyond its memory, or never returns, where this is not so
            raise DataError(
                f"run lengths: expected counts that sum to {size_hw[0] * size_hw[1]} pixels, as a "
                f"list or as COCO's string, got {_short(segmentation.get('counts'))}"
            )
        whole = {"size": list(size_hw), "counts": counts}
        return cls(size_hw, bytes(_coco().frPyObjects(whole, *size_hw)["counts"]))

    @classmethod
    def union(cls, parts: Sequence[Rle]) -> Rle:
        """The pixels of any of them.

        Raises:
            DataError: none given, or of different sizes.
        """
        sizes = {part.size_hw for part in parts}
        if len(sizes) != 1:
            raise DataError(f"a union: expected masks of one size, got {sorted(sizes) or 'none'}")
        if len(parts) == 1:
            return parts[0]
        merged = _coco().merge([part._as_coco() for part in parts])
        return cls(parts[0].size_hw, bytes(merged["counts"]))

    def decode(self) -> NDArray[np.bool_]:
        """bool [H, W]."""
        decoded: NDArray[np.bool_] = np.ascontiguousarray(
            _coco().decode(self._as_coco()), dtype=np.bool_
        )
        return decoded

    @property
    def area_px(self) -> int:
        """How many pixels it has."""
        return int(_coco().area(self._as_coco()))

    def _as_coco(self) -> dict[str, Any]:
        return {"size": list(self.size_hw), "counts": self.counts}


def _check_polygon(polygon: Any, size_hw: tuple[int, int]) -> None:
    """Far outside of the image is no polygon either: drawing it would take all memory."""
    limit = 10 * max(size_hw)
    if (
        not isinstance(polygon, list)
        or len(polygon) % 2
        or not all(isinstance(v, int | float) and abs(v) <= limit for v in polygon)
    ):
        raise _no_polygon(polygon)


def _no_polygon(got: Any) -> DataError:
    return DataError(
        f"a polygon: expected x, y, x, y, ... of {MIN_CORNERS} corners or more, near the image, "
        f"got {_short(got)}"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
