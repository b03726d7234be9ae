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

"""LLaVA-NeXT: the whole image squashed into one tile, and the image again in several.

The fine tiles lie side by side in one grid; rows and columns of padding are trimmed away by the
model itself, and a newline token closes each row. Pre-processing is transformers' own, which is
that of the original F-LMM.
"""

from __future__ import annotations

import torch
from transformers import LlavaNextForConditionalGeneration
from transformers.image_processing_utils import select_best_resolution

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import ImageError
from flmm_ros.engine.lmm.families.processed import ProcessedLmm, whole_image
from flmm_ros.engine.lmm.families.vision_grid import (
    require_square_grid,
    require_square_images,
)
from flmm_ros.engine.lmm.loading import LoadOptions
from flmm_ros.engine.lmm.view import View


class LlavaNext(ProcessedLmm):
    """LLaVA-NeXT (vicuna, mistral) on transformers' LlavaNextForConditionalGeneration."""

    family = "llava_next"
    model_class = LlavaNextForConditionalGeneration

    @classmethod
    def load(cls, config: ModelConfig, options: LoadOptions) -> ProcessedLmm:
        """See `Lmm.load`."""
        require_square_images(config, options)
        loaded = super().load(config, options)
        require_square_grid(loaded.model, config)
        return loaded

    @property
    def _wanted(self) -> tuple[str, ...]:
        return ("pixel_values", "image_sizes")

    @property
    def side(self) -> int:
        """Pixels along a tile's side."""
        return int(self.model.config.vision_config.image_size)

    @property
    def grid(self) -> int:
        """Cells along a tile's side."""
        return self.side // int(self.model.config.vision_config.patch_size)

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """See `Lmm.image_ids`."""
        rows, columns = self._fine_grid(image_hw)
        return [self.image_token_id] * (self.grid**2 + rows * (columns + 1))

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """See `Lmm.views`."""
        fine_hw = self._fine_grid(image_hw)
        coarse = torch.arange(self.grid**2)
        cells = torch.arange(fine_hw[0] * (fine_hw[1] + 1)).reshape(fine_hw[0], -1)
        fine = self.grid**2 + cells[:, :-1].flatten()  # without the newline of each row
        # As the original, both grids are taken for the whole image. Of the fine one that is true to
        # less than a cell: what is trimmed is a whole number of cells.
        box = whole_image(image_hw)
        return (
            View("coarse", coarse, (self.grid, self.grid), box),
            View("fine", fine, fine_hw, box),
        )

    def _fine_grid(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of cells that the model keeps of the tiles of an image.

        The arithmetic is that of the model's own `unpad_image`: the padding is halved and rounded
        down to cells, so that one row or column of padding may stay.

        Raises:
            ImageError: so narrow that no cell is left.
        """
        height, width = image_hw
        best_hw = select_best_resolution(image_hw, self.model.config.image_grid_pinpoints)
        rows, columns = (length // self.side * self.grid for length in best_hw)
        if width / height > columns / rows:
            rows -= (rows - int(round(height * (columns / width), 7))) // 2 * 2
        else:
            columns -= (columns - int(round(width * (rows / height), 7))) // 2 * 2
        if rows < 1 or columns < 1:
            raise ImageError(
                f"image: expected one that is not so narrow, got {width}x{height}; LMM family "
                f"{self.family!r} would see nothing of it, cut out the part that matters"
            )
        return rows, columns
