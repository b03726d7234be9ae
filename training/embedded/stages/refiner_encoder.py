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

"""Pre-trains the refiner's image encoder: the kind and colour of the object in every cell, and the
offset to its centre.

A real refiner brings SAM's pre-trained image encoder. The embedded one starts from random weights,
and masks alone teach it too slowly to distinguish a mug from a cube of the same colour, or two mugs
from each other. So it is pre-trained here and frozen while the heads train, as SAM's is in the
original. The linear probe on top is discarded.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.heads.mask_refiner import MaskRefiner
from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS, HEIGHT_PX, WIDTH_PX
from training.embedded.stages.batches import StagePlan, ahead
from training.embedded.stages.checkpoints import resume, save
from training.embedded.stages.scenes import SceneSet

log = logging.getLogger(__name__)
TABLE_WEIGHT = 0.15  # most cells show the table
OFFSET_PX = 40.0  # about the size of a thing
COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True)
class CellTruth:
    """The truth of every cell of B images: kind and color int64 [B, r, c], 0 for the table; offset
    float32 [B, 2, r, c], from the cell to the middle of its thing, x and y, in OFFSET_PX."""

    kind: torch.Tensor
    color: torch.Tensor
    offset: torch.Tensor

    def mirrored(self) -> CellTruth:
        """The same seen in a mirror."""
        turn = torch.tensor([-1.0, 1.0])[:, None, None]
        return CellTruth(self.kind.flip(2), self.color.flip(2), self.offset.flip(3) * turn)

    def to(self, device: torch.device) -> CellTruth:
        """The same on a device."""
        return CellTruth(*(part.to(device, non_blocking=True) for part in vars(self).values()))


class RefinerProbe(nn.Module):
    """Names kind and colour in every cell of the refiner's image features, and points at the middle
    of the thing."""

    kind_weight: torch.Tensor
    color_weight: torch.Tensor

    def __init__(self, refiner: MaskRefiner) -> None:
        super().__init__()
        counts = (1 + len(ALL_KINDS), 1 + len(COLORS), 2)
        self.parts = list(counts)
        self.linear = nn.Conv2d(refiner.shape.hidden, sum(counts), 1)
        height, width = refiner.fitted_hw((HEIGHT_PX, WIDTH_PX))
        stride = refiner.shape.input_size // refiner.grid
        self.rows = cell_centres(height // stride, HEIGHT_PX)
        self.columns = cell_centres(width // stride, WIDTH_PX)
        self.register_buffer("kind_weight", torch.tensor([TABLE_WEIGHT, *[1.0] * len(ALL_KINDS)]))
        self.register_buffer("color_weight", torch.tensor([TABLE_WEIGHT, *[1.0] * len(COLORS)]))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Features [B, hidden, g, g] to logits of kind and colour and the offset, [B, K, r, c]."""
        seen = self.linear(features)[:, :, : len(self.rows), : len(self.columns)]
        return tuple(seen.split(self.parts, dim=1))

    def loss(self, features: torch.Tensor, truth: CellTruth) -> torch.Tensor:
        """Cross entropy of kind and colour, and the offset's distance on things."""
        kind, color, offset = self(features)
        there = (truth.kind > 0)[:, None].float()
        apart = F.smooth_l1_loss(offset, truth.offset, reduction="none")
        return (
            F.cross_entropy(kind, truth.kind, self.kind_weight)
            + 0.5 * F.cross_entropy(color, truth.color, self.color_weight)
            + (apart * there).sum() / there.sum().clamp_min(1)
        )

    def truth(self, scenes: SceneSet, index: np.ndarray) -> CellTruth:
        """What is at the centre of every cell of some scenes."""
        at = np.ix_(self.rows, self.columns)
        kinds, colors, offsets = [], [], []
        for i in index:
            table = np.zeros((256, 4), np.float32)
            for o in scenes.objects[i]:
                place = (1 + ALL_KINDS.index(o.kind), 1 + COLOR_NAMES.index(o.color), *o.center_px)
                table[o.label] = place
            cells = table[scenes.labels[i][at]]
            kinds.append(cells[..., 0].astype(np.int64))
            colors.append(cells[..., 1].astype(np.int64))
            here = np.stack(np.meshgrid(self.columns, self.rows), axis=0)
            offsets.append((cells[..., 2:].transpose(2, 0, 1) - here) / OFFSET_PX)
        return CellTruth(
            torch.from_numpy(np.stack(kinds)),
            torch.from_numpy(np.stack(colors)),
            torch.from_numpy(np.stack(offsets).astype(np.float32)),
        )


def train_refiner_encoder(
    refiner: MaskRefiner,
    scenes: SceneSet,
    unseen: SceneSet,
    checkpoint: Path,
    plan: StagePlan,
) -> dict[str, float]:
    """Trains the refiner's image encoder in place; the stand-in for SAM's pre-training. Resumable.

    Returns the shares of cells of things, in unseen scenes, whose kind and colour are right.
    """
    encoder = refiner.image_encoder
    device = next(encoder.parameters()).device
    probe = RefinerProbe(refiner).to(device)
    both = nn.ModuleList([encoder, probe])
    optimizer = torch.optim.AdamW(both.parameters(), plan.peak_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.peak_rate, total_steps=plan.steps, pct_start=0.1
    )
    first = resume(checkpoint, both, optimizer, schedule, plan.made_with)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    total = torch.zeros((), device=device)

    def drawn(step: int) -> tuple[torch.Tensor, CellTruth]:
        rng = np.random.default_rng([plan.seed, step])
        index = rng.integers(0, len(scenes), plan.images)
        truth, rgb = probe.truth(scenes, index), scenes.rgb[index]
        if step % 2:  # every other batch mirrored
            truth, rgb = truth.mirrored(), rgb[:, :, ::-1]
        gain = torch.from_numpy(rng.uniform(0.9, 1.1, (plan.images, 3, 1, 1)).astype(np.float32))
        return refiner.pixels(list(rgb)) * gain, truth

    for step, (pixels, truth) in ahead(drawn, range(first, plan.steps), plan.workers):
        encoder.train()
        x = pixels.to(device).contiguous(memory_format=torch.channels_last)
        loss = probe.loss(encoder(x), truth.to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.detach()
        if step % 50 == 49:
            log.info(
                "refiner encoder step %d/%d loss %.3f", step + 1, plan.steps, total.item() / 50
            )
            total.zero_()
        if step % 250 == 249:
            log.info("refiner encoder, unseen scenes: %s", refiner_accuracy(refiner, probe, unseen))
            save(checkpoint, both, optimizer, schedule, step + 1, plan.made_with)
    encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return refiner_accuracy(refiner, probe, unseen)


@torch.no_grad()
def refiner_accuracy(
    refiner: MaskRefiner, probe: RefinerProbe, unseen: SceneSet
) -> dict[str, float]:
    """Shares of cells whose kind and colour are right, on things, and of table cells left alone."""
    refiner.image_encoder.eval()
    right: dict[str, list[torch.Tensor]] = {"kind": [], "color": [], "table": []}
    for start in range(0, len(unseen), 50):
        index = np.arange(start, min(start + 50, len(unseen)))
        truth = probe.truth(unseen, index)
        seen = refiner.features(refiner.pixels(list(unseen.rgb[index])))
        kind, color, _ = (part.cpu() for part in probe(seen))
        there = truth.kind > 0
        right["kind"].append((kind.argmax(1) == truth.kind)[there])
        right["color"].append((color.argmax(1) == truth.color)[there])
        right["table"].append((kind.argmax(1) == 0)[~there])
    return {name: torch.cat(parts).float().mean().item() for name, parts in right.items()}


def cell_centres(cells: int, size_px: int) -> np.ndarray:
    """The pixel in the middle of each of `cells` equal parts of a side."""
    return ((np.arange(cells) + 0.5) * size_px / cells).astype(int)
