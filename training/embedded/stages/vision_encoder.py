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

"""Pre-trains the convolutional vision encoder with one kind and one colour per image token.

This is the stand-in for CLIP pre-training, which an encoder trained from nothing on two cores
cannot have. The labels come from the simulator's label image; the language model never sees them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.vision.conv_encoder import ConvVisionEncoder
from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS, SceneObject
from training.embedded.stages.batches import StagePlan, ahead
from training.embedded.stages.scenes import SceneSet

log = logging.getLogger(__name__)
COLOR_NAMES = tuple(COLORS)
BACKGROUND_SHARE = 0.7  # a token belongs to an object that fills more than 30 % of what is left

Pixels = Callable[[NDArray[np.uint8]], torch.Tensor]
"""RGB uint8 [B, H, W, 3] to the LMM's normalised pixels [B, 3, s, s]."""


def token_labels(
    labels: NDArray[np.uint8], objects: tuple[SceneObject, ...], side_px: int, patch_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Kind and colour index of every image token [I], 0 for the table, 1.. for the names.

    labels [H, W] is placed as the LLaVA pre-processing places the image: long side to `side_px`,
    centred in a square.
    """
    height, width = labels.shape
    scale = side_px / max(height, width)
    h, w = int(height * scale), int(width * scale)
    rows = np.minimum((np.arange(h) + 0.5) / scale, height - 1).astype(int)
    columns = np.minimum((np.arange(w) + 0.5) / scale, width - 1).astype(int)
    square = np.zeros((side_px, side_px), np.uint8)
    top, left = (side_px - h) // 2, (side_px - w) // 2
    square[top : top + h, left : left + w] = labels[rows][:, columns]
    grid = side_px // patch_px
    patches = square.reshape(grid, patch_px, grid, patch_px).transpose(0, 2, 1, 3)
    patches = patches.reshape(grid * grid, patch_px * patch_px)
    counts = np.stack([(patches == k).sum(1) for k in range(len(objects) + 1)], 1).astype(float)
    counts[:, 0] = np.minimum(counts[:, 0], patch_px * patch_px * BACKGROUND_SHARE)
    owner = counts.argmax(1)
    kinds = np.array([0, *(ALL_KINDS.index(o.kind) + 1 for o in objects)])
    colors = np.array([0, *(COLOR_NAMES.index(o.color) + 1 for o in objects)])
    return kinds[owner], colors[owner]


def all_token_labels(
    scenes: SceneSet, side_px: int, patch_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`token_labels` of every scene: two int64 tensors [B, I]."""
    return some_token_labels(scenes, range(len(scenes)), side_px, patch_px)


def some_token_labels(
    scenes: SceneSet, index: Iterable[int], side_px: int, patch_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of some scenes."""
    pairs = [token_labels(scenes.labels[i], scenes.objects[i], side_px, patch_px) for i in index]
    return (
        torch.from_numpy(np.stack([p[0] for p in pairs])),
        torch.from_numpy(np.stack([p[1] for p in pairs])),
    )


@dataclass(frozen=True)
class VisionBatch:
    """pixels [B, 3, s, s]; kind and color int64 [B, I]."""

    pixels: torch.Tensor
    kind: torch.Tensor
    color: torch.Tensor


class VisionData:
    """Scenes with their token labels, in batches."""

    def __init__(self, scenes: SceneSet, pixels: Pixels, side_px: int, patch_px: int) -> None:
        self.scenes, self.pixels = scenes, pixels
        self.side_px, self.patch_px = side_px, patch_px

    def drawn(self, seed: int, step: int, size: int) -> VisionBatch:
        """A random batch in random light; every other step mirrored, labels with the grid."""
        rng = np.random.default_rng([seed, step])
        index = rng.integers(0, len(self.scenes), size)
        rgb = self.scenes.rgb[index]
        kind, color = some_token_labels(self.scenes, index, self.side_px, self.patch_px)
        if step % 2:
            rgb, grid = rgb[:, :, ::-1], self.side_px // self.patch_px
            kind, color = (x.view(size, grid, grid).flip(2).flatten(1) for x in (kind, color))
        gain = torch.from_numpy(rng.uniform(0.85, 1.15, (size, 3, 1, 1)).astype(np.float32))
        return VisionBatch(self.pixels(rgb) * gain, kind, color)


def train_vision_encoder(
    tower: ConvVisionEncoder,
    scenes: SceneSet,
    unseen: SceneSet,
    pixels: Pixels,
    plan: StagePlan,
) -> dict[str, float]:
    """Trains `tower` in place, where it lies; returns kind and colour accuracy of object tokens in
    unseen scenes."""
    side, patch, device = tower.config.image_size, tower.config.patch_size, tower.device
    data = VisionData(scenes, pixels, side, patch)
    head = nn.Linear(tower.config.hidden_size, len(ALL_KINDS) + 1 + len(COLORS) + 1).to(device)
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, plan.peak_rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.peak_rate, total_steps=plan.steps, pct_start=0.1
    )
    tower.to(memory_format=torch.channels_last)
    tower.train()

    def drawn(step: int) -> VisionBatch:
        return data.drawn(plan.seed, step, plan.images)

    for step, part in ahead(drawn, range(plan.steps), plan.workers):
        x = part.pixels.to(device).contiguous(memory_format=torch.channels_last)
        loss = _loss(head(tower(x).last_hidden_state), part.kind.to(device), part.color.to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            log.info("vision encoder step %d/%d loss %.3f", step + 1, plan.steps, loss.item())
    tower.to(memory_format=torch.contiguous_format)
    return _accuracy(tower, head, unseen, pixels)


def _loss(scores: torch.Tensor, kind: torch.Tensor, color: torch.Tensor) -> torch.Tensor:
    split = len(ALL_KINDS) + 1
    weight = scores.new_ones(split)
    weight[0] = 0.3  # most tokens are table
    color_weight = scores.new_ones(len(COLORS) + 1)
    color_weight[0] = 0.3
    flat = scores.flatten(0, 1)
    return F.cross_entropy(flat[:, :split], kind.flatten(), weight) + F.cross_entropy(
        flat[:, split:], color.flatten(), color_weight
    )


@torch.no_grad()
def _accuracy(
    tower: ConvVisionEncoder, head: nn.Linear, unseen: SceneSet, pixels: Pixels
) -> dict[str, float]:
    tower.eval()
    kind, color = all_token_labels(unseen, tower.config.image_size, tower.config.patch_size)
    scores = torch.cat(
        [
            head(tower(pixels(unseen.rgb[i : i + 50]).to(tower.device)).last_hidden_state).cpu()
            for i in range(0, len(unseen), 50)
        ]
    )
    split, there = len(ALL_KINDS) + 1, kind > 0
    found_kind, found_color = scores[..., :split].argmax(-1), scores[..., split:].argmax(-1)
    return {
        "kind": (found_kind == kind)[there].float().mean().item(),
        "color": (found_color == color)[there].float().mean().item(),
        "table": (found_kind == 0)[~there].float().mean().item(),
    }
