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

"""The paper's losses: binary cross entropy and DICE on mask logits, and the score's own.

Source: F-LMM, section 3.3 (BCE + DICE with epsilon 1, weight 1 each, on coarse and refined logits).
The predicted IoU, unsupervised in the original, is trained here by squared error, as SAM trains its
own.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def mask_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """BCE + DICE of mask logits [N, h, w] against target [N, h, w] in 0..1; mean over N."""
    return mask_losses(logits, target).mean()


def mask_losses(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """BCE + DICE of each mask, [N]."""
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2))
    return bce + dice_loss(logits, target)


def dice_loss(logits: torch.Tensor, target: torch.Tensor, eps: float = 1.0) -> torch.Tensor:
    """1 - DICE of each mask [N]. An empty target asks for an empty mask."""
    soft = logits.sigmoid()
    overlap = (soft * target).sum((1, 2))
    return 1 - (2 * overlap + eps) / (soft.sum((1, 2)) + target.sum((1, 2)) + eps)


def score_loss(
    predicted_iou: torch.Tensor, logits: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Squared error of the predicted IoU [N] against the IoU reached; 0 is right for an absent
    phrase (empty target)."""
    return F.mse_loss(predicted_iou, iou(logits.detach() > 0, target > 0.5))


def iou(mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Intersection over union of bool masks [N, h, w] -> [N]; 0 where the target is empty."""
    union = (mask | target).sum((1, 2))
    return (mask & target).sum((1, 2)) / union.clamp_min(1)
