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

"""What families on transformers' own image processors share: loading, and asking the processor.

A family says which model class it is and how its image tokens form grids. Where the number of tiles
depends on the image, the real processor is asked once for each image size (a camera has one), so
that there is no arithmetic here that could differ from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm.base import Lmm
from flmm_ros.engine.lmm.loading import LoadOptions, load_image_processor, load_tokens, load_weights
from flmm_ros.engine.lmm.tokens import PromptTokens

_SIZES_KEPT = 16


class ProcessedLmm(Lmm):
    """A family whose images go through the processor that lies beside its weights."""

    model_class: ClassVar[type[PreTrainedModel]]
    processor_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: PromptTokens | None,
        config: ModelConfig,
        image_processor: Any,
    ) -> None:
        super().__init__(model, tokens, config)
        self.image_processor = image_processor
        self.processed_size = lru_cache(maxsize=_SIZES_KEPT)(self._processed_size)

    @classmethod
    def load(cls, config: ModelConfig, options: LoadOptions) -> ProcessedLmm:
        """See `Lmm.load`."""
        processor = cls.load_image_processor(config, options)  # before gigabytes are read
        model = load_weights(cls.model_class, config, options)
        tokens = load_tokens(config, model.config.image_token_id, options)
        return cls(model, tokens, config, processor)

    @classmethod
    def load_image_processor(cls, config: ModelConfig, options: LoadOptions) -> Any:
        """See `Lmm.load_image_processor`."""
        return load_image_processor(config, options)

    def prepare(self, image: NDArray[np.uint8]) -> Mapping[str, torch.Tensor]:
        """See `Lmm.prepare`."""
        made = self._process(image)
        return {
            name: value.to(self.model.dtype) if value.is_floating_point() else value
            for name, value in made.items()
            if name in self._wanted
        }

    @property
    def _wanted(self) -> tuple[str, ...]:
        """Outputs of the processor that are arguments of the model."""
        return tuple(self.image_processor.model_input_names)

    def _process(self, image: NDArray[np.uint8]) -> Mapping[str, Any]:
        made: Mapping[str, Any] = self.image_processor(
            images=image,
            return_tensors="pt",
            input_data_format="channels_last",
            **self.processor_options,
        )
        return made

    def _processed_size(self, image_hw: tuple[int, int]) -> Mapping[str, Any]:
        """What the processor makes of a blank image of this size, without the pixels."""
        made = self._process(np.zeros((*image_hw, 3), np.uint8))
        return {
            name: tuple(value.shape) if name == "pixel_values" else value
            for name, value in made.items()
        }


def whole_image(image_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of a grid that covers the image exactly."""
    return 0.0, 0.0, float(image_hw[1]), float(image_hw[0])


def tiled_columns(rows: int, columns: int, side: int) -> torch.Tensor:
    """Image tokens of `rows` x `columns` tiles, read as one grid of cells: [h * w], row-major.

    Tiles come one after another, row by row, each with `side` x `side` cells.
    """
    tiles = torch.arange(rows * columns).reshape(rows, columns) * side * side
    cells = torch.arange(side * side).reshape(side, side)
    grid = tiles[:, None, :, None] + cells[None, :, None, :]  # [rows, side, columns, side]
    return grid.reshape(-1)
