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

"""From logits to what the user gets: masks, boxes, scores, present or absent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from flmm_ros.engine.answer import Grounding, Phrase
from flmm_ros.engine.masks.mask import tight_box


def groundings_from(
    phrases: Sequence[Phrase],
    refined_logits: torch.Tensor,
    heat: torch.Tensor,
    iou: torch.Tensor | None,
    *,
    mask_threshold: float,
    score_threshold: float,
) -> list[Grounding]:
    """One Grounding a phrase.

    Args:
        refined_logits: [N, H, W].
        heat: [N, h, w] attention over the image, any scale.
        iou: [N] predicted IoU, the score; None: the mean probability inside the mask is.
    """
    found = []
    for n, phrase in enumerate(phrases):  # one by one: of a large image, all at once take gigabytes
        soft = refined_logits[n].float().sigmoid()
        inside = soft > mask_threshold
        sure = iou[n] if iou is not None else soft[inside].sum() / inside.sum().clamp(min=1)
        mask: NDArray[np.bool_] = inside.cpu().numpy()
        score = min(max(float(sure), 0.0), 1.0)
        found.append(
            Grounding(
                phrase=phrase.text,
                mask=mask,
                soft_mask=soft.cpu().numpy(),
                heat=_stretched(heat[n], mask.shape),
                score=score,
                box_xyxy_px=tight_box(mask),
                is_present=bool(mask.any()) and score >= score_threshold,
                text_span=phrase.text_span,
            )
        )
    return found


def _stretched(heat: torch.Tensor, image_hw: tuple[int, ...]) -> NDArray[np.float32]:
    """Heat [h, w] at the size of the image, from 0 to 1."""
    warm = F.interpolate(heat[None, None].float(), image_hw, mode="bilinear")[0, 0]
    low, high = warm.aminmax()
    found: NDArray[np.float32] = warm.sub_(low).div_((high - low).clamp(min=1e-12)).cpu().numpy()
    return found
