"""Eyes: pre-trains the convolutional tower with one kind and one colour per image token.

This is the stand-in for CLIP pre-training, which a tower trained from nothing on two cores cannot
have. The labels come from the simulator's label image; the language model never sees them.
Does not know about: text, masks of whole objects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.conv_tower import ConvTower
from flmm_ros.tools.tabletop import COLORS, KINDS, SceneObject
from training.tabletop.scenes import SceneSet

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
    kinds = np.array([0, *(KINDS.index(o.kind) + 1 for o in objects)])
    colors = np.array([0, *(COLOR_NAMES.index(o.color) + 1 for o in objects)])
    return kinds[owner], colors[owner]


def all_token_labels(
    scenes: SceneSet, side_px: int, patch_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`token_labels` of every scene: two int64 tensors [B, I]."""
    pairs = [
        token_labels(labels, objects, side_px, patch_px)
        for labels, objects in zip(scenes.labels, scenes.objects, strict=True)
    ]
    return (
        torch.from_numpy(np.stack([p[0] for p in pairs])),
        torch.from_numpy(np.stack([p[1] for p in pairs])),
    )


def train_tower(
    tower: ConvTower,
    scenes: SceneSet,
    unseen: SceneSet,
    pixels: Pixels,
    *,
    steps: int,
    batch: int = 32,
    seed: int = 0,
) -> dict[str, float]:
    """Trains `tower` in place; returns kind and colour accuracy of object tokens, unseen scenes."""
    rng = np.random.default_rng(seed)
    side, patch = tower.config.image_size, tower.config.patch_size
    kinds, colors = all_token_labels(scenes, side, patch)
    grid = side // patch
    head = nn.Linear(tower.config.hidden_size, len(KINDS) + 1 + len(COLORS) + 1)
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps, pct_start=0.1
    )
    tower.to(memory_format=torch.channels_last)
    tower.train()
    for step in range(steps):
        index = rng.integers(0, len(scenes), batch)
        rgb = scenes.rgb[index]
        kind, color = kinds[index], colors[index]
        if step % 2:  # every other batch mirrored: the labels mirror with the grid
            rgb = rgb[:, :, ::-1]
            kind = kind.view(batch, grid, grid).flip(2).flatten(1)
            color = color.view(batch, grid, grid).flip(2).flatten(1)
        gain = torch.from_numpy(rng.uniform(0.85, 1.15, (batch, 3, 1, 1)).astype(np.float32))
        x = (pixels(rgb) * gain).contiguous(memory_format=torch.channels_last)
        loss = _loss(head(tower(x).last_hidden_state), kind, color)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            log.info("tower step %d/%d loss %.3f", step + 1, steps, loss.item())
        if step % 200 == 199:
            log.info("tower unseen %s", _accuracy(tower, head, unseen, pixels))
            tower.train()
    tower.to(memory_format=torch.contiguous_format)
    return _accuracy(tower, head, unseen, pixels)


def _loss(scores: torch.Tensor, kind: torch.Tensor, color: torch.Tensor) -> torch.Tensor:
    split = len(KINDS) + 1
    weight = torch.ones(split)
    weight[0] = 0.3  # most tokens are table
    color_weight = torch.ones(len(COLORS) + 1)
    color_weight[0] = 0.3
    flat = scores.flatten(0, 1)
    return F.cross_entropy(flat[:, :split], kind.flatten(), weight) + F.cross_entropy(
        flat[:, split:], color.flatten(), color_weight
    )


@torch.no_grad()
def _accuracy(
    tower: ConvTower, head: nn.Linear, unseen: SceneSet, pixels: Pixels
) -> dict[str, float]:
    tower.eval()
    kind, color = all_token_labels(unseen, tower.config.image_size, tower.config.patch_size)
    scores = torch.cat(
        [
            head(tower(pixels(unseen.rgb[i : i + 50])).last_hidden_state)
            for i in range(0, len(unseen), 50)
        ]
    )
    split, there = len(KINDS) + 1, kind > 0
    found_kind, found_color = scores[..., :split].argmax(-1), scores[..., split:].argmax(-1)
    return {
        "kind": (found_kind == kind)[there].float().mean().item(),
        "color": (found_color == color)[there].float().mean().item(),
        "table": (found_kind == 0)[~there].float().mean().item(),
    }
