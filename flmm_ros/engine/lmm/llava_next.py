"""The LLaVA-NeXT family: the whole image squashed into one tile, and the image again in several.

The fine tiles lie side by side in one grid; rows and columns of padding are trimmed away by the
model itself, and a newline token closes each row. Pre-processing is transformers' own, which is
that of the original F-LMM.

Does not know about: heads, phrases, commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlavaNextForConditionalGeneration
from transformers.image_processing_utils import select_best_resolution

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm.base import Lmm
from flmm_ros.engine.lmm.loading import LoadOptions, load_image_processor, load_tokens, load_weights
from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_ros.engine.types import ImageError, View


@dataclass(frozen=True)
class _Grid:
    """The fine grid without its padding, in cells."""

    rows: int
    columns: int


class LlavaNext(Lmm):
    """LLaVA-NeXT (vicuna, mistral) on transformers' LlavaNextForConditionalGeneration."""

    family = "llava_next"

    def __init__(
        self,
        model: LlavaNextForConditionalGeneration,
        tokens: PromptTokens | None,
        config: ModelConfig,
        image_processor: object,
    ) -> None:
        super().__init__(model, tokens, config)
        self._processor = image_processor
        vision = model.config.vision_config
        self.side = int(vision.image_size)
        self.grid = self.side // int(vision.patch_size)
        self._sizes_hw = [tuple(size) for size in model.config.image_grid_pinpoints]

    @classmethod
    def load(cls, config: ModelConfig, options: LoadOptions) -> LlavaNext:
        model = load_weights(LlavaNextForConditionalGeneration, config, options)
        tokens = load_tokens(config, model.config.image_token_id, options)
        return cls(model, tokens, config, load_image_processor(config, options))

    def prepare(self, image: NDArray[np.uint8]) -> Mapping[str, torch.Tensor]:
        made = self._processor(images=image, return_tensors="pt", input_data_format="channels_last")  # type: ignore[operator]
        return {
            "pixel_values": made["pixel_values"].to(self.model.dtype),
            "image_sizes": made["image_sizes"],
        }

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        fine = self._fine_grid(image_hw)
        count = self.grid * self.grid + fine.rows * (fine.columns + 1)
        return [self.image_token_id] * count

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        fine = self._fine_grid(image_hw)
        coarse_count = self.grid * self.grid
        # As the original, both grids are taken for the whole image. Of the fine one that is true to
        # less than a cell: what is trimmed is a whole number of cells.
        box = (0.0, 0.0, float(image_hw[1]), float(image_hw[0]))
        cells = torch.arange(fine.rows * (fine.columns + 1)).reshape(fine.rows, fine.columns + 1)
        fine_columns = coarse_count + cells[:, :-1].flatten()  # without the newline of each row
        return (
            View("coarse", torch.arange(coarse_count), (self.grid, self.grid), box),
            View("fine", fine_columns, (fine.rows, fine.columns), box),
        )

    def _fine_grid(self, image_hw: tuple[int, int]) -> _Grid:
        """What the model keeps of the tiles of an image.

        The arithmetic is that of the model's own `unpad_image`: the padding is halved and rounded
        down to cells, so that one row or column of padding may stay.

        Raises:
            ImageError: so narrow that no cell is left.
        """
        height, width = image_hw
        best_hw = select_best_resolution(image_hw, self._sizes_hw)
        rows, columns = (side // self.side * self.grid for side in best_hw)
        if width / height > columns / rows:
            padding = (rows - int(round(height * (columns / width), 7))) // 2
            grid = _Grid(rows - 2 * padding, columns)
        else:
            padding = (columns - int(round(width * (rows / height), 7))) // 2
            grid = _Grid(rows, columns - 2 * padding)
        if grid.rows < 1 or grid.columns < 1:
            raise ImageError(
                f"image: expected one that is not so narrow, got {width}x{height}; LLaVA-NeXT "
                "would see nothing of it, cut out the part that matters"
            )
        return grid
