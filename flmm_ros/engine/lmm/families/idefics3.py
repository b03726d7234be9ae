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

"""Idefics3 and SmolVLM: rows of tiles, each announced by its own name, then the whole image.

Between the tiles stand names ("<row_1_col_2>") and line breaks; they are no image tokens, so a
grid's columns do not count them. A small image is not split: its one tile is both views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from transformers import Idefics3ForConditionalGeneration, SmolVLMForConditionalGeneration

from flmm_ros.engine.lmm.families.processed import ProcessedLmm, tiled_columns, whole_image
from flmm_ros.engine.lmm.view import View

_AROUND = "<fake_token_around_image>"
_GLOBAL = "<global-img>"


class Idefics3(ProcessedLmm):
    """Idefics3 on transformers' Idefics3ForConditionalGeneration."""

    family = "idefics3"
    model_class = Idefics3ForConditionalGeneration
    processor_options: ClassVar[Mapping[str, Any]] = {"return_row_col_info": True}

    @property
    def _side(self) -> int:
        """Cells along a tile's side, after pixel shuffle."""
        config = self.model.config
        patches = config.vision_config.image_size // config.vision_config.patch_size
        return int(patches // config.scale_factor)

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """See `Lmm.image_ids`."""
        tokenizer, (rows, columns) = self.text().tokenizer, self._tiles(image_hw)
        image = tokenizer.convert_ids_to_tokens(self.image_token_id) * self._side**2
        text = ""
        for row in range(rows):
            for column in range(columns):
                text += f"{_AROUND}<row_{row + 1}_col_{column + 1}>{image}"
            text += "\n"
        text += ("\n" if rows else "") + f"{_AROUND}{_GLOBAL}{image}{_AROUND}"
        ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """See `Lmm.views`."""
        (rows, columns), side, box = self._tiles(image_hw), self._side, whole_image(image_hw)
        whole = torch.arange(side * side) + rows * columns * side * side
        fine = tiled_columns(rows, columns, side) if rows else whole
        fine_hw = (max(rows, 1) * side, max(columns, 1) * side)
        return View("whole", whole, (side, side), box), View("tiles", fine, fine_hw, box)

    def _tiles(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tiles; none where the image is not split."""
        made = self.processed_size(image_hw)
        return int(made["rows"][0][0]), int(made["cols"][0][0])


class SmolVLM(Idefics3):
    """SmolVLM on transformers' SmolVLMForConditionalGeneration."""

    family = "smolvlm"
    model_class = SmolVLMForConditionalGeneration
