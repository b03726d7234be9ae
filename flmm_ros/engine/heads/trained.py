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

"""Everything that is trained, and nothing else: mask decoder, mask refiner and the word cue.

Training trains exactly this module and saves exactly this module; the language model it was trained
for is described by `LmmShape` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.mask_decoder import MaskDecoder
from flmm_ros.engine.heads.mask_refiner import MaskRefiner, Refined
from flmm_ros.engine.heads.phrase_selector import PhraseSelector
from flmm_ros.engine.heads.refiner_shape import RefinerShape


@dataclass(frozen=True)
class LmmShape:
    """What the heads must know of a language model: L layers, A heads, width D, image views."""

    layers: int
    heads: int
    width: int
    views: int = 1

    @property
    def map_channels(self) -> int:
        """C, the number of attention maps of one phrase."""
        return self.layers * self.heads * self.views


@dataclass(frozen=True)
class HeadsConfig:
    """Numbers of the heads. Stored with our own head files, inferred from official ones.

    `isolated`: see MaskRefiner. `supervised_iou`: whether the predicted IoU was trained and can
    serve as a score. `selector`: whether a phrase selector was trained with them.
    """

    base_channels: int = 64
    stages: int = 4
    upsample_to: int = 64
    use_text: bool = True
    isolated: bool = True
    supervised_iou: bool = True
    selector: bool = False
    refiner: RefinerShape = RefinerShape()


class AnyHeads(Protocol):
    """What grounding needs of heads: trained ones in torch, the same in another runtime, or ones
    that need no training. Shapes as in `Heads`."""

    @property
    def backend(self) -> str:
        """What runs them: "torch", or another runtime and what it chose."""
        ...

    @property
    def has_selector(self) -> bool:
        """Whether `groundable` can tell."""
        ...

    def require_fit(self, lmm: LmmShape) -> None:
        """Raises CheckpointError where the heads are for another language model."""
        ...

    def weighted_states(self, states: torch.Tensor) -> torch.Tensor:
        """States of all layers [L, T, D] to the words' cues [T, D]."""
        ...

    def groundable(self, states: torch.Tensor) -> torch.Tensor | None:
        """States [L, S, D] to the probability [S] that a token names something to point at; None
        where the heads cannot tell."""
        ...

    def heat(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, h, w] to what people are shown of them, [N, h, w]: why a mask is there."""
        ...

    def decode(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, h, w] to coarse logits [N, h', w'], padding of the view included."""
        ...

    def see(self, image: NDArray[np.uint8]) -> torch.Tensor | None:
        """An image's features for `refine`; None where nothing will look at it again."""
        ...

    def refine(
        self,
        features: torch.Tensor | None,
        coarse_logits: torch.Tensor,
        cues: Sequence[torch.Tensor],
        image_hw: tuple[int, int],
    ) -> Refined:
        """Un-padded coarse logits [N, h, w] to refined masks."""
        ...

    def upscale(self, low_logits: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """Refined logits to the size of the image, [N, H, W]."""
        ...


class Heads(nn.Module):
    """The trained part: `decode` maps to coarse logits, `cue` words, `refine` to masks."""

    def __init__(self, lmm: LmmShape, config: HeadsConfig) -> None:
        super().__init__()
        self.lmm = lmm
        self.config = config
        self.mask_decoder = MaskDecoder(
            lmm.map_channels,
            base_channels=config.base_channels,
            stages=config.stages,
            upsample_to=config.upsample_to,
        )
        self.mask_refiner = MaskRefiner(config.refiner, isolated=config.isolated)
        self.text_layer_weights = nn.Parameter(torch.ones(lmm.layers))
        self.text_proj = nn.Linear(lmm.width, config.refiner.hidden)
        self.phrase_selector = PhraseSelector(lmm.layers, lmm.width) if config.selector else None

    @classmethod
    def create(cls, lmm: LmmShape, config: HeadsConfig) -> Heads:
        """Untrained heads for a language model."""
        return cls(lmm, config)

    @property
    def backend(self) -> str:
        """What runs these heads."""
        return "torch"

    @property
    def has_selector(self) -> bool:
        """Whether a phrase selector was trained with these heads."""
        return self.phrase_selector is not None

    def require_fit(self, lmm: LmmShape) -> None:
        """Heads only fit the language model they were trained for.

        Raises:
            CheckpointError: `lmm` has other layers, maps or width.
        """
        have = (lmm.layers, lmm.map_channels, lmm.width)
        want = (self.lmm.layers, self.lmm.map_channels, self.lmm.width)
        if have != want:
            raise CheckpointError(
                f"heads: expected a language model of {want[0]} layers, {want[1]} attention maps "
                f"and width {want[2]}, got {have[0]}, {have[1]} and {have[2]}; these heads were "
                "trained for another model"
            )

    def weighted_states(self, states: torch.Tensor) -> torch.Tensor:
        """Hidden states of all layers [L, ..., D], summed with the learned weights: [..., D]."""
        weights = self.text_layer_weights.softmax(dim=0)
        return torch.tensordot(weights, states.to(weights.dtype), dims=1)

    def groundable(self, states: torch.Tensor) -> torch.Tensor | None:
        """States of all layers [L, S, D] to probabilities [S]; None without a selector."""
        if self.phrase_selector is None:
            return None
        logits: torch.Tensor = self.phrase_selector(states)
        return logits.sigmoid()

    def heat(self, maps: torch.Tensor) -> torch.Tensor:
        """The mean of all maps [N, C, h, w]: [N, h, w]."""
        return maps.mean(dim=1)

    def decode(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, h, w] to coarse logits [N, h', w'], padding of the view included."""
        logits: torch.Tensor = self.mask_decoder(maps)
        return logits

    def see(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """SAM's features of an RGB uint8 image [H, W, 3]: [1, hidden, g, g]."""
        return self.mask_refiner.see(image)

    def refine(
        self,
        features: torch.Tensor | None,
        coarse_logits: torch.Tensor,
        cues: Sequence[torch.Tensor],
        image_hw: tuple[int, int],
    ) -> Refined:
        """Un-padded coarse logits [N, h, w] and cues, N weighted states [T, D], to refined
        masks."""
        if features is None:
            raise ValueError("refine: expected the image's features, got none; call see() first")
        words = [self.text_proj(cue) for cue in cues] if self.config.use_text else None
        refined: Refined = self.mask_refiner(features, coarse_logits, words, image_hw)
        return refined

    def upscale(self, low_logits: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """Refined logits on SAM's square to the size of the image, [N, H, W]."""
        return self.mask_refiner.upscale(low_logits, image_hw)
