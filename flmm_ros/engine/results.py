"""From logits to what the user gets: masks, boxes, scores, present or absent.

Does not know about: models, how the logits came about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from flmm_ros.engine.types import Grounding, Phrase, tight_box


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
    soft = refined_logits.float().sigmoid()
    masks = soft > mask_threshold
    sums = (soft * masks).sum(dim=(1, 2))
    scores = iou if iou is not None else sums / masks.sum(dim=(1, 2)).clamp(min=1)
    warm = F.interpolate(heat[:, None].float(), refined_logits.shape[-2:], mode="bilinear")[:, 0]
    low, high = warm.amin((1, 2), keepdim=True), warm.amax((1, 2), keepdim=True)
    warm = (warm - low) / (high - low).clamp(min=1e-12)
    found = []
    for n, phrase in enumerate(phrases):
        mask: NDArray[np.bool_] = masks[n].cpu().numpy()
        score = min(max(float(scores[n]), 0.0), 1.0)
        found.append(
            Grounding(
                phrase=phrase.text,
                mask=mask,
                soft_mask=soft[n].cpu().numpy(),
                heat=warm[n].cpu().numpy(),
                score=score,
                box_xyxy_px=tight_box(mask),
                is_present=bool(mask.any()) and score >= score_threshold,
                text_span=phrase.text_span,
            )
        )
    return found
