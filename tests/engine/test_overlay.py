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

"""The overlay: colours where the masks are, untouched pixels elsewhere."""

import numpy as np
import pytest

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import ImageError
from flmm_ros.engine.masks.overlay import PALETTE, color_of, draw_overlay


def grounding(mask: np.ndarray, phrase: str = "the mug", is_present: bool = True) -> Grounding:
    rows, columns = np.nonzero(mask)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    soft = mask.astype(np.float32)
    return Grounding(phrase, mask, soft, soft, 0.9, box, is_present)


def rectangle(size_hw: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_mask_is_blended_outline_is_pure_and_the_rest_is_untouched():
    image = np.full((120, 160, 3), 100, np.uint8)
    drawn = draw_overlay(image, [grounding(rectangle((120, 160), (40, 60, 80, 100)))])
    expected = np.round((100 + np.array(PALETTE[0])) / 2).astype(np.uint8)
    np.testing.assert_array_equal(drawn[80, 60], expected)
    np.testing.assert_array_equal(drawn[80, 40], PALETTE[0])
    assert (drawn[110:] == 100).all() and (drawn[:, :30] == 100).all()
    assert (image == 100).all()


def test_an_absent_object_has_no_mask_but_is_named_at_the_bottom():
    image = np.full((120, 160, 3), 100, np.uint8)
    absent = grounding(rectangle((120, 160), (40, 20, 80, 60)), "the duck", is_present=False)
    drawn = draw_overlay(image, [absent])
    assert (drawn[:90] == 100).all()
    assert (drawn[100:] != 100).any()


def test_label_of_a_mask_in_the_corner_stays_inside():
    image = np.zeros((120, 160, 3), np.uint8)
    drawn = draw_overlay(image, [grounding(rectangle((120, 160), (150, 0, 160, 8)))])
    assert drawn.shape == image.shape


def test_colors_repeat_beyond_the_palette():
    assert color_of(len(PALETTE)) == PALETTE[0]


def test_mask_of_another_size_is_refused():
    image = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(ImageError, match="expected masks of the image's size"):
        draw_overlay(image, [grounding(rectangle((12, 10), (1, 1, 4, 4)))])
