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

"""What a family of large multimodal models says about itself: one small file each, in families/."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.heads.trained import LmmShape
from flmm_ros.engine.lmm.attention import ATTENTION_NAME
from flmm_ros.engine.lmm.feed_forward import in_parts
from flmm_ros.engine.lmm.loading import LoadOptions
from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_ros.engine.lmm.view import View


class LmmFamily(ABC):
    """How a family is loaded, how its images are prepared, which grids its image tokens form."""

    family: str = ""

    def __init__(
        self, model: PreTrainedModel, tokens: PromptTokens | None, config: ModelConfig
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokens = tokens
        self.config = config
        in_parts(self.model.get_decoder())
        # Only the text model: vision encoders look attention functions up by the same names.
        self.model.set_attn_implementation({"text_config": ATTENTION_NAME})

    @classmethod
    @abstractmethod
    def load(cls, config: ModelConfig, options: LoadOptions) -> LmmFamily:
        """Loads the family's model from `config.lmm`."""

    @classmethod
    @abstractmethod
    def load_image_processor(cls, config: ModelConfig, options: LoadOptions) -> Any:
        """What prepares images, from the files beside the weights; needs no weights.

        Raises:
            CheckpointError: missing, or not what the family can use.
        """

    @property
    def image_token_id(self) -> int:
        """The id that stands for image features."""
        return int(self.model.config.image_token_id)

    @abstractmethod
    def prepare(self, image: NDArray[np.uint8]) -> Mapping[str, torch.Tensor]:
        """RGB uint8 [H, W, 3] to the model's image arguments, with a batch axis of one."""

    @abstractmethod
    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """The grids that the tokens of an image of this size form."""

    @abstractmethod
    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """What the one image id of a prompt becomes for an image of this size: I image ids, and
        whatever the family puts between them (row ends, tile names)."""

    def positions(self, ids: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor | None:
        """Position ids [..., B, S] of ids [B, S], for families that do not simply count."""
        return None

    def more_arguments(self, ids: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Further forward arguments for ids [B, S] that hold an image, such as token types."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def shape(self) -> LmmShape:
        """What heads must know of this model."""
        text = self.model.config.get_text_config()
        layers, heads = text.num_hidden_layers, text.num_attention_heads
        return LmmShape(layers, heads, text.hidden_size, len(self.views((64, 64))))

    @property
    def max_tokens(self) -> int:
        """The longest sequence the model was made for."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    def text(self) -> PromptTokens:
        """The tokenizer.

        Raises:
            ConfigError: the model came without one.
        """
        if self.tokens is None:
            raise ConfigError(
                f"model {self.config.name!r}: expected a tokenizer beside the weights in "
                f"{self.config.lmm}, got none; copy tokenizer.json there (ids still work without)"
            )
        return self.tokens
