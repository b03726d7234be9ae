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

"""InternVL3: the image in the arrangement of square tiles that fits it best, then a thumbnail.

Where one tile is enough there is no thumbnail: that tile is both views, so that the number of views
stays the same for every image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from transformers import InternVLForConditionalGeneration
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from flmm_ros.engine.lmm.families.processed import ProcessedLmm, tiled_columns, whole_image
from flmm_ros.engine.lmm.view import View


class InternVL(ProcessedLmm):
    """InternVL3 on transformers' InternVLForConditionalGeneration."""

    family = "internvl"
    model_class = InternVLForConditionalGeneration
    processor_options: ClassVar[Mapping[str, Any]] = {
        "crop_to_patches": True
    }  # as InternVL's own processor asks for

    @property
    def _side(self) -> int:
        """Cells along a tile's side, after pixel shuffle."""
        vision = self.model.config.vision_config
        patches = vision.image_size[0] // vision.patch_size[0]
        return int(patches * self.model.config.downsample_ratio)

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """See `Lmm.image_ids`."""
        rows, columns = self._tiles(image_hw)
        tiles = rows * columns
        return [self.image_token_id] * ((tiles + (tiles > 1)) * self._side**2)

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """See `Lmm.views`."""
        (rows, columns), side, box = self._tiles(image_hw), self._side, whole_image(image_hw)
        tiles = rows * columns
        thumbnail = torch.arange(side * side) + (tiles * side * side if tiles > 1 else 0)
        return (
            View("thumbnail", thumbnail, (side, side), box),
            View("tiles", tiled_columns(rows, columns, side), (rows * side, columns * side), box),
        )

    def _tiles(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tiles."""
        processor = self.image_processor
        size = processor.size["height"], processor.size["width"]
        columns, rows = get_optimal_tiled_canvas(
            image_hw, size, processor.min_patches, processor.max_patches
        )
        return rows, columns
