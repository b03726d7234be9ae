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

"""Heads in another runtime have to draw the masks that torch draws in float32.

The inputs are made up: a picture with a few coloured discs, attention that gathers on each of them
as trained maps do, and random words. So that masks never come out empty, as they may for made-up
words, both runtimes' logits are cut at the middle of torch's. Features are compared too: a made-up
picture may depend on them less than a camera's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.trained import AnyHeads, Heads
from flmm_ros.engine.masks.mask import iou

log = logging.getLogger(__name__)
LEAST_IOU = 0.98
MOST_SCORE_ERROR = 0.02
MOST_FEATURE_ERROR = 0.02  # of their norm; float16 makes 0.0005
IMAGE_HW, GRID_HW = (240, 320), (24, 24)
_PLACES = ((0.3, 0.25), (0.65, 0.5), (0.35, 0.75), (0.8, 0.85))  # of the discs, (y, x) in 0..1
_RADIUS = 0.12
_TOKENS = (1, 2, 2, 4)


@dataclass(frozen=True)
class Inputs:
    """One picture and N phrases: image [H, W, 3] uint8, maps [N, C, h, w], states N x [L, T, D]."""

    image: NDArray[np.uint8]
    maps: torch.Tensor
    states: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Masks:
    """What heads made of them: features [1, hidden, g, g], coarse [N, h', w'] and refined
    [N, H, W] logits, scores [N]."""

    features: torch.Tensor
    coarse: torch.Tensor
    refined: torch.Tensor
    scores: torch.Tensor


@dataclass(frozen=True)
class Agreement:
    """The worst of all phrases: overlap of the masks, difference of the predicted IoU; and how far
    the features are apart, relative to their norm."""

    iou: float
    score_error: float
    feature_error: float

    @property
    def suffices(self) -> bool:
        """Whether the masks may stand for torch's."""
        return (
            self.iou >= LEAST_IOU
            and self.score_error <= MOST_SCORE_ERROR
            and self.feature_error <= MOST_FEATURE_ERROR
        )

    def __str__(self) -> str:
        return (
            f"IoU {self.iou:.4f}, scores {self.score_error:.4f} and features "
            f"{self.feature_error:.4f} apart"
        )


def require_equal_masks(reference: Heads, heads: AnyHeads, precision: str) -> Agreement:
    """Runs both on the same inputs.

    Raises:
        CheckpointError: the masks or scores differ.
    """
    inputs = made_up_inputs(reference)
    agreement = compare(drawn_by(reference, inputs), drawn_by(heads, inputs))
    if not agreement.suffices:
        is_half = precision == "float16"
        advice = "refiner_precision: float32" if is_half else "refiner_backend: torch"
        raise CheckpointError(
            f"heads on {heads.backend}: expected the masks of torch (IoU at least {LEAST_IOU}, "
            f"scores at most {MOST_SCORE_ERROR} and features {MOST_FEATURE_ERROR} apart), got "
            f"{agreement}; set {advice}"
        )
    log.info("heads on %s agree with torch: %s", heads.backend, agreement)
    return agreement


def made_up_inputs(heads: Heads) -> Inputs:
    """The same for each call, on the device of the heads."""
    random = torch.Generator().manual_seed(5)
    device = heads.text_layer_weights.device
    discs = torch.stack([_disc(place, GRID_HW) for place in _PLACES])  # [N, h, w]
    channels = heads.lmm.map_channels
    gains = torch.rand(len(discs), channels, 1, 1, generator=random) ** 2
    floor = 0.1 * torch.rand(len(discs), channels, *GRID_HW, generator=random)
    states = tuple(
        torch.randn(heads.lmm.layers, tokens, heads.lmm.width, generator=random).to(device)
        for tokens in _TOKENS
    )
    return Inputs(_picture(), (gains * discs[:, None] + floor).to(device), states)


def drawn_by(heads: AnyHeads, inputs: Inputs) -> Masks:
    """The whole way from maps to masks."""
    with torch.inference_mode():
        coarse = heads.decode(inputs.maps)
        cues = [heads.weighted_states(states) for states in inputs.states]
        features = heads.see(inputs.image)
        refined = heads.refine(features, coarse, cues, IMAGE_HW)
        logits = heads.upscale(refined.low_logits, IMAGE_HW)
        if features is None:
            raise ValueError("drawn_by: expected heads that look at the image")
        return Masks(features.cpu(), coarse, logits, refined.iou)


def compare(reference: Masks, other: Masks) -> Agreement:
    """How far two sets of masks agree."""
    ious = [
        iou((want > want.median()).numpy(), (have > want.median()).numpy(), empty=1.0)
        for wanted, had in ((reference.coarse, other.coarse), (reference.refined, other.refined))
        for want, have in zip(wanted, had, strict=True)
    ]
    score_error = float((reference.scores - other.scores).abs().max())
    feature_error = (reference.features - other.features).norm() / reference.features.norm()
    return Agreement(min(ious), score_error, float(feature_error))


def _disc(place: tuple[float, float], hw: tuple[int, int]) -> torch.Tensor:
    """A soft disc of value 0..1 at a place of an image."""
    y, x = (torch.linspace(0, 1, side) for side in hw)
    squared = (y[:, None] - place[0]) ** 2 + (x[None] - place[1]) ** 2
    return torch.sigmoid((_RADIUS**2 - squared) * 400)


def _picture() -> NDArray[np.uint8]:
    """Discs of four colours on a slope of grey, with a little noise."""
    random = torch.Generator().manual_seed(6)
    picture = torch.linspace(60, 180, IMAGE_HW[1]).expand(3, *IMAGE_HW).clone()
    colours = torch.tensor([[200, 40, 40], [40, 70, 200], [40, 160, 60], [220, 190, 40]])
    for place, colour in zip(_PLACES, colours, strict=True):
        inside = _disc(place, IMAGE_HW)
        picture = picture * (1 - inside) + colour[:, None, None] * inside
    picture += 6 * torch.randn(picture.shape, generator=random)
    array: NDArray[np.uint8] = picture.clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    return array
