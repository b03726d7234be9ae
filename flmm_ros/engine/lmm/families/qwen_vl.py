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

"""Qwen2.5-VL and Qwen3-VL: the image at its own shape, one token for 2x2 patches.

So the number of tokens grows with the image, and the published settings of the image processor end
at 16,384 of them, five times what the memory check of a robot's model reckons with. The model file
sets the bound (`max_image_tokens`); the processor shrinks what is larger by its own rule.

A token's position has three parts, time, row and column, and the text after an image goes on behind
the larger side of its grid. transformers keeps that offset inside the model, for one image; here it
belongs to the prefix, because several are alive at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import ImageError
from flmm_ros.engine.lmm.families.processed import ProcessedLmm, whole_image
from flmm_ros.engine.lmm.loading import LoadOptions, processor_failure
from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_ros.engine.lmm.view import View

log = logging.getLogger(__name__)
# "Edges" by name, for the processor they are numbers of pixels of the whole image.
_LIMITS = ("shortest_edge", "longest_edge")
_MAX_RATIO = 200  # the image processor's own limit, long side to short


class Qwen25VL(ProcessedLmm):
    """Qwen2.5-VL on transformers' Qwen2_5_VLForConditionalGeneration."""

    family = "qwen2_5_vl"
    model_class = Qwen2_5_VLForConditionalGeneration

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: PromptTokens | None,
        config: ModelConfig,
        image_processor: Any,
    ) -> None:
        super().__init__(model, tokens, config, image_processor)
        most_px = config.max_image_tokens * self._cell_px**2
        image_processor.size = {
            name: min(int(image_processor.size[name]), most_px) for name in _LIMITS
        }

    @classmethod
    def load_image_processor(cls, config: ModelConfig, options: LoadOptions) -> Any:
        """See `Lmm.load_image_processor`."""
        processor = super().load_image_processor(config, options)
        size = dict(processor.size)
        if any(not isinstance(size.get(name), int) for name in _LIMITS):
            given = {name: value for name, value in size.items() if value is not None}
            raise processor_failure(
                config, f"size {given} without {' and '.join(_LIMITS)} (numbers of pixels)"
            )
        return processor

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """See `Lmm.image_ids`."""
        rows, columns = self._grid_hw(image_hw)
        return [self.image_token_id] * (rows * columns)

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """See `Lmm.views`."""
        grid_hw = self._grid_hw(image_hw)
        columns = torch.arange(grid_hw[0] * grid_hw[1])
        return (View("whole", columns, grid_hw, whole_image(image_hw)),)

    def positions(self, ids: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """[3, B, S]: time, row and column of each token; all three count on for text."""
        rows, columns = self._grid_hw(image_hw)
        first = int((ids[0] == self.image_token_id).nonzero()[0])
        after = ids.shape[1] - first - rows * columns
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        image = first + torch.stack([torch.zeros_like(row), row, column]).flatten(1)
        parts = [
            torch.arange(first).expand(3, -1),
            image,
            (first + max(rows, columns) + torch.arange(after)).expand(3, -1),
        ]
        positions = torch.cat(parts, dim=1).to(ids.device)  # [3, S]
        return positions[:, None].expand(-1, ids.shape[0], -1)

    def _grid_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of image tokens.

        Raises:
            ImageError: narrower than the image processor takes.
        """
        if max(image_hw) > _MAX_RATIO * min(image_hw):
            raise ImageError(
                f"image: expected one that is not so narrow, got {image_hw[1]}x{image_hw[0]}; LMM "
                f"family {self.family!r} takes up to {_MAX_RATIO}:1, cut out the part that matters"
            )
        merge = int(self.model.config.vision_config.spatial_merge_size)
        _, rows, columns = self.processed_size(image_hw)["image_grid_thw"][0].tolist()
        return rows // merge, columns // merge

    @property
    def _cell_px(self) -> int:
        """Pixels along the side of what one image token sees, after resizing."""
        vision = self.model.config.vision_config
        return int(vision.spatial_merge_size * vision.patch_size)

    def _processed_size(self, image_hw: tuple[int, int]) -> Mapping[str, Any]:
        made = super()._processed_size(image_hw)
        _, rows, columns = made["image_grid_thw"][0].tolist()
        patch = int(self.model.config.vision_config.patch_size)
        seen_hw = rows * patch, columns * patch
        if seen_hw[0] * seen_hw[1] < image_hw[0] * image_hw[1] - max(image_hw) * self._cell_px:
            log.info(
                "images of %dx%d are seen as %dx%d, %d tokens (max_image_tokens %d)",
                *image_hw[::-1],
                *seen_hw[::-1],
                seen_hw[0] * seen_hw[1] // self._cell_px**2,
                self.config.max_image_tokens,
            )
        return made


class Qwen3VL(Qwen25VL):
    """Qwen3-VL on transformers' Qwen3VLForConditionalGeneration. Features of early layers of its
    vision encoder join early text layers; positions of a single image are as before."""

    family = "qwen3_vl"
    model_class = Qwen3VLForConditionalGeneration
