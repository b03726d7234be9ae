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

"""Gemma 3: the image squashed into one square of 16x16 tokens that all see each other.

Everywhere else attention is causal, in most layers within a window. The model makes these masks
itself from the token types; the recorder uses the mask of each layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from transformers import Gemma3ForConditionalGeneration

from flmm_ros.engine.lmm.families.processed import ProcessedLmm, whole_image
from flmm_ros.engine.lmm.view import View


class Gemma3(ProcessedLmm):
    """Gemma 3 (4B and larger) on transformers' Gemma3ForConditionalGeneration."""

    family = "gemma3"
    model_class = Gemma3ForConditionalGeneration
    processor_options: ClassVar[Mapping[str, Any]] = {"do_pan_and_scan": False}  # one square only

    @property
    def _wanted(self) -> tuple[str, ...]:
        return ("pixel_values",)

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """See `Lmm.image_ids`."""
        return [self.image_token_id] * int(self.model.config.mm_tokens_per_image)

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """See `Lmm.views`."""
        side = int(self.model.config.mm_tokens_per_image**0.5)
        columns = torch.arange(side * side)
        return (View("whole", columns, (side, side), whole_image(image_hw)),)

    def more_arguments(self, ids: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """See `Lmm.more_arguments`."""
        return {"token_type_ids": (ids == self.image_token_id).long()}
