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

"""Heads that need no training: a few of the language model's own attention heads, then plain SAM.

Their maps are smoothed with a Gaussian and summed; what stands out is a pseudo-mask, and its box
and mask prompt SAM. Without SAM the pseudo-mask is the result.

Source: Kang et al., CVPR 2025 (see localisation_heads.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.localisation import Localisation
from flmm_ros.engine.heads.mask_refiner import MaskRefiner, Refined
from flmm_ros.engine.heads.trained import LmmShape

SIGMA = (
    1 / 32
)  # of the Gaussian, in the map's long side: wider, it moves the maximum off small things
LEVEL = 0.5  # of the highest value: what is above belongs to the pseudo-mask
SHARPNESS = 12.0  # from the level to logits: the highest value gets 6
UPSAMPLE_TO = 64  # long side of the pseudo-mask, as the mask decoder's


class TrainingFreeHeads(nn.Module):
    """Localisation heads and an optional mask refiner, in the place of trained heads."""

    has_selector = False

    def __init__(self, localisation: Localisation, refiner: MaskRefiner | None) -> None:
        super().__init__()
        self.localisation = localisation
        self.mask_refiner = refiner

    @property
    def backend(self) -> str:
        """What runs these heads."""
        return "torch, training-free"

    def require_fit(self, lmm: LmmShape) -> None:
        """Localisation heads belong to one language model.

        Raises:
            CheckpointError: `lmm` has other layers, heads or views.
        """
        if lmm != self.localisation.lmm:
            raise CheckpointError(
                f"localisation heads: expected a language model of {self.localisation.lmm}, got "
                f"{lmm}; find them anew: flmm localise MODEL IMAGES..."
            )

    def weighted_states(self, states: torch.Tensor) -> torch.Tensor:
        """The words' last hidden states [T, D]; plain SAM has no use for them."""
        return states[-1]

    def groundable(self, states: torch.Tensor) -> torch.Tensor | None:
        """Cannot tell."""
        return None

    def heat(self, maps: torch.Tensor) -> torch.Tensor:
        """What the chosen heads look at, smoothed: [N, h, w]."""
        chosen = maps[:, list(self.localisation.channels)]
        chosen = chosen / chosen.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)
        return gaussian(chosen.sum(dim=1, keepdim=True), SIGMA * max(maps.shape[-2:]))[:, 0]

    def decode(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, h, w] to the logits [N, h', w'] of pseudo-masks."""
        smooth = self.heat(maps)[:, None]
        scale = max(1.0, UPSAMPLE_TO / max(maps.shape[-2:]))
        smooth = F.interpolate(smooth, scale_factor=scale, mode="bilinear")[:, 0]
        share = smooth / smooth.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        share = torch.stack([_main_part(each) for each in share])
        return (share - LEVEL) * SHARPNESS

    def see(self, image: NDArray[np.uint8]) -> torch.Tensor | None:
        """SAM's features of an image; None without SAM."""
        return None if self.mask_refiner is None else self.mask_refiner.see(image)

    def refine(
        self,
        features: torch.Tensor | None,
        coarse_logits: torch.Tensor,
        cues: Sequence[torch.Tensor],
        image_hw: tuple[int, int],
    ) -> Refined:
        """Plain SAM, prompted by box and mask; without it the coarse logits themselves."""
        if self.mask_refiner is None or features is None:
            count = len(coarse_logits)
            confidence = coarse_logits.sigmoid().amax(dim=(1, 2))
            return Refined(coarse_logits, confidence, coarse_logits.new_zeros(count, 4))
        refined: Refined = self.mask_refiner(features, coarse_logits, None, image_hw)
        return refined

    def upscale(self, low_logits: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """Logits at the size of the image, [N, H, W]."""
        if self.mask_refiner is None:
            return F.interpolate(low_logits[:, None], image_hw, mode="bilinear")[:, 0]
        return self.mask_refiner.upscale(low_logits, image_hw)


def gaussian(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    """Maps [N, 1, h, w] smoothed; the edge is repeated outwards."""
    reach = max(1, int(3 * sigma + 0.5))
    at = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    maps = F.conv2d(F.pad(maps, (reach, reach, 0, 0), "replicate"), weights[None, None, None])
    return F.conv2d(F.pad(maps, (0, 0, reach, reach), "replicate"), weights[None, None, :, None])


def _main_part(share: torch.Tensor) -> torch.Tensor:
    """A map [h, w] whose highest value is 1, without other parts above the level: they are strays
    that would only widen the box."""
    labels, count = ndimage.label((share > LEVEL).cpu().numpy(), np.ones((3, 3), int))
    if count < 2:
        return share
    main = labels.flat[int(share.argmax())]
    strays = torch.from_numpy((labels > 0) & (labels != main)).to(share.device)
    return torch.where(strays, share.new_tensor(LEVEL / 2), share)
