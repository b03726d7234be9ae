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

"""Masks: boxes, overlaps, and run lengths as every tool of the field writes them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.masks import rle
from flmm_ros.engine.masks.mask import iou, overlap, tight_box

Mask = NDArray[np.bool_]


def some(shape: tuple[int, int], *places: tuple[slice | int, slice | int]) -> Mask:
    mask = np.zeros(shape, np.bool_)
    for place in places:
        mask[place] ^= True
    return mask


def test_overlap_counts_pixels_of_both_and_of_either() -> None:
    one, other = some((6, 8), (slice(0, 4), slice(0, 4))), some((6, 8), (slice(2, 6), slice(1, 5)))
    shared = overlap(one, other)
    assert (shared.intersection_px, shared.union_px) == (6, 26)
    assert iou(one, other) == iou(other, one) == 6 / 26
    assert iou(one, one) == 1.0 and iou(one, ~one) == 0.0
    nothing = some((6, 8))
    assert iou(nothing, nothing) == 0.0 and iou(nothing, nothing, empty=1.0) == 1.0
    assert iou(nothing, one, empty=1.0) == 0.0
    with pytest.raises(ValueError, match=r"expected a mask of \(6, 8\), got \(8, 6\)"):
        overlap(one.T, other)


def test_the_box_of_a_mask_has_exclusive_far_edges() -> None:
    assert tight_box(some((6, 8), (2, 3), (4, 5))) == (3, 2, 6, 5)
    assert tight_box(some((6, 8))) == (0, 0, 0, 0)


# What the pure Python writer of earlier releases made: files of results stay comparable.
WRITTEN = [
    ("empty", some((4, 6)), "h0"),
    ("full", ~some((4, 6)), "0h0"),
    ("one pixel, outside", some((1, 1)), "1"),
    ("one pixel, inside", ~some((1, 1)), "01"),
    ("first", some((3, 5), (0, 0)), "01>"),
    ("last", some((3, 5), (2, 4)), ">1"),
    ("middle", some((3, 5), (1, 2)), "717"),
    ("row", some((1, 7), (0, slice(None, None, 2))), "01100000"),
    ("column", some((7, 1), (slice(1, None, 2), 0)), "1110000"),
    ("chessboard", np.indices((5, 3)).sum(0) % 2 == 0, "0110000000000000"),
    (
        "ring",
        some((37, 53), (slice(5, 30), slice(7, 40)), (slice(10, 20), slice(15, 25))),
        "X8i0<00000000000000\\ON52KN52KN52KN52KN52KN52KN52KN52KN52KN52?"
        "0000000000000000000000000000l>",
    ),
    ("large counts", some((1000, 1001), (-1, -1)), "Waan01"),
    (
        "noise",
        np.random.default_rng(0).random((11, 13)) < 0.5,
        "111031MO230NN020NO22ON22N0O02NO0O10O0040L21O0O0020O3NN0O10O30M0070J0O13OM",
    ),
]


@pytest.mark.parametrize(("name", "mask", "counts"), WRITTEN, ids=[w[0] for w in WRITTEN])
def test_run_lengths_are_written_as_ever_and_read_again(name: str, mask: Mask, counts: str) -> None:
    written = rle.encode(mask)
    assert written == {"size": list(mask.shape), "counts": counts}
    for form in (counts, counts.encode(), rle.unpacked(counts)):
        np.testing.assert_array_equal(rle.decode({"size": mask.shape, "counts": form}), mask)
    # a view, of another memory order
    np.testing.assert_array_equal(rle.decode(rle.encode(mask[::-1].T)), mask[::-1].T)


@pytest.mark.parametrize(
    "counts", ["1", "0", "h", "~", "1O1", [1, 1], [13], [-1, 13], [[12]], None, "0" * 9999]
)
def test_counts_that_do_not_fit_are_refused(counts: object) -> None:
    """pycocotools would show memory that nobody wrote for some of these."""
    with pytest.raises(ValueError, match="mask: expected"):
        rle.decode({"size": [3, 4], "counts": counts})


def test_without_pycocotools_masks_are_read_and_writing_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert rle.decode({"size": [3, 5], "counts": "01>"}).sum() == 1
    with pytest.raises(ConfigError, match="expected pycocotools.*pip install pycocotools"):
        rle.encode(some((3, 5)))
