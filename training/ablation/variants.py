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

"""What is left out, one thing at a time: prompts of the refiner, layers, the way tokens are merged.

The first four follow the paper's table of the refiner (none, + mask, + box, + text); every other
variant differs from the complete one in one respect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.heads.mask_refiner import MaskRefiner, Refined
from flmm_ros.engine.heads.trained import Heads, HeadsConfig, LmmShape


@dataclass(frozen=True)
class Variant:
    """One way to build the heads. layers: only the last so many of the language model, None for
    all. With `refines` False the coarse logits are the mask."""

    name: str
    group: str
    refines: bool = True
    has_box: bool = True
    has_words: bool = True
    merge: str = "mean"
    layers: int | None = None

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return "".join(c if c.isalnum() else "_" for c in self.name.lower()).strip("_")


COMPLETE = Variant("+ words (complete)", "prompts")
VARIANTS = (
    Variant("maps only", "prompts", refines=False, has_box=False, has_words=False),
    Variant("+ mask prompt", "prompts", has_box=False, has_words=False),
    Variant("+ box prompt", "prompts", has_words=False),
    COMPLETE,
    Variant("max over tokens", "merge", merge="max"),
    Variant("last layer", "layers", layers=1),
    Variant("last three layers", "layers", layers=3),
)


class AblatedRefiner(MaskRefiner):
    """A refiner that is prompted with less."""

    has_box = True

    def prompted(
        self,
        features: torch.Tensor,
        boxes: torch.Tensor,
        masks: torch.Tensor,
        words: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """SAM's layers with the mask prompt alone where there is to be no box."""
        if self.has_box or words is not None:
            return super().prompted(features, boxes, masks, words)
        low, iou = self.mask_decoder(
            image_embeddings=features.expand(len(masks), -1, -1, -1),
            image_positional_embeddings=self._position(),
            sparse_prompt_embeddings=None,
            dense_prompt_embeddings=self.prompt_encoder.mask_embed(masks),
            multimask_output=False,
        )
        return low[:, 0, 0], iou[:, 0, 0]


class Ablated(nn.Module):
    """The heads of one variant."""

    def __init__(self, variant: Variant, lmm: LmmShape, config: HeadsConfig) -> None:
        super().__init__()
        self.variant = variant
        layers = kept_layers(variant, lmm.layers)
        self.heads = Heads(LmmShape(layers, lmm.heads, lmm.width, lmm.views), config)
        refiner = AblatedRefiner(config.refiner, isolated=config.isolated)
        refiner.has_box = variant.has_box
        self.heads.mask_refiner = refiner

    @property
    def refiner(self) -> MaskRefiner:
        """SAM's part."""
        return self.heads.mask_refiner

    def start_from(self, trained: Heads) -> None:
        """Gives the refiner what a trained one knows, as the original starts from SAM; its image
        encoder stays frozen. Maps and words are learned from nothing."""
        self.refiner.load_state_dict(trained.mask_refiner.state_dict())
        self.refiner.image_encoder.requires_grad_(False)

    def trained_parts(self) -> list[nn.Parameter]:
        """What this variant trains."""
        modules: list[nn.Module] = [self.heads.mask_decoder]
        if self.variant.refines:
            modules += [self.refiner.prompt_encoder, self.refiner.mask_decoder]
        found = [p for module in modules for p in module.parameters() if p.requires_grad]
        if self.variant.has_words:
            found += [self.heads.text_layer_weights, *self.heads.text_proj.parameters()]
        return found

    def refine(
        self,
        features: torch.Tensor,
        coarse: torch.Tensor,
        states: Sequence[torch.Tensor],
        image_hw: tuple[int, int],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Coarse logits [N, h, w] to logits at image size [N, H, W] and predicted IoU [N].

        features: [N, hidden, g, g]. states: N tensors [L, T, D] of the phrases' words.
        """
        if not self.variant.refines:
            logits = F.interpolate(coarse[:, None], image_hw, mode="bilinear")[:, 0]
            inside = logits > 0
            sure = (logits.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
            return logits, sure
        words = None
        if self.variant.has_words:
            cues = [self.heads.weighted_states(self.last_layers(s)) for s in states]
            words = [self.heads.text_proj(cue) for cue in cues]
        refined: Refined = self.refiner(features, coarse, words, image_hw)
        return self.refiner.upscale(refined.low_logits, image_hw), refined.iou

    def last_layers(self, states: torch.Tensor) -> torch.Tensor:
        """States [L, ...] of the layers this variant reads."""
        return states[-self.heads.lmm.layers :]

    def last_maps(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, h, w] of the layers this variant reads; views one block after another."""
        shape = self.heads.lmm
        blocks = maps.unflatten(1, (shape.views, -1, shape.heads))  # [N, V, L, A, h, w]
        return blocks[:, :, -shape.layers :].flatten(1, 3)


def kept_layers(variant: Variant, layers: int) -> int:
    """How many layers a variant reads of a model with `layers`.

    Raises:
        ConfigError: the model has fewer.
    """
    if variant.layers is not None and variant.layers > layers:
        raise ConfigError(
            f"variant {variant.name!r}: expected a language model of at least {variant.layers} "
            f"layers, got {layers}; leave the variant out with --only"
        )
    return variant.layers or layers
