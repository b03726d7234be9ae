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

"""Trains and measures one variant: the same phrases, steps, seed and losses for each of them.

Resumable: a checkpoint every few steps, and a result file at the end, after which the variant is
not trained again.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.fingerprint import differences, tensors_fingerprint
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.lmm.view import View
from flmm_ros.engine.masks.framing import crop_to_image
from training.ablation.prepared import AblationPhrases
from training.ablation.variants import Ablated, Variant
from training.embedded.stages.checkpoints import resume, save
from training.evaluation.metrics import absence_f1
from training.heads.losses import iou, mask_loss, score_loss

log = logging.getLogger(__name__)
BATCH = 18
SAVED_EVERY = 50


@dataclass(frozen=True)
class TrainingBudget:
    """What every variant gets. scratch: the refiner starts from nothing instead of trained."""

    steps: int
    seed: int = 0
    peak_rate: float = 1e-3
    scratch: bool = False


@dataclass(frozen=True)
class VariantResult:
    """What a variant reached on unseen scenes; shares of one. weights: how many it trained."""

    variant: str
    group: str
    cIoU: float
    mIoU: float
    precision_at_05: float
    precision_at_09: float
    absent_f1: float
    weights: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class AblationData:
    """What variants are trained and measured on."""

    train: AblationPhrases
    unseen: AblationPhrases
    view: View
    trained: Heads

    @property
    def fingerprint(self) -> str:
        """Of everything here that changes a result."""
        tensors = {**self.trained.state_dict()}
        for name, part in (("train", self.train), ("unseen", self.unseen)):
            tensors |= {f"{name}.maps.{merge}": maps for merge, maps in part.maps.items()}
            tensors |= {f"{name}.states": part.states, f"{name}.masks": part.masks}
            tensors |= {f"{name}.features": part.features, f"{name}.scene": part.scene}
        return tensors_fingerprint(tensors)

    @property
    def image_hw(self) -> tuple[int, int]:
        """Of every scene."""
        height, width = self.train.masks.shape[1:]
        return height, width


def run_variant(
    variant: Variant,
    bench: AblationData,
    budget: TrainingBudget,
    folder: Path,
    advance: Callable[[int], None] = lambda steps: None,
) -> VariantResult:
    """The result of a variant; trains it unless `folder` has its result for this budget.

    advance: told how many steps were made.

    Raises:
        ConfigError: `folder` holds a result for another budget.
    """
    path = folder / f"{variant.slug}.json"
    made_with = made_with_of(variant, bench, budget)
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        before = {key: content.pop(key, None) for key in made_with}
        if before != made_with:
            changed = ", ".join(differences(before, made_with))
            raise ConfigError(
                f"{path}: expected the result for {asdict(budget)}, got one for another {changed}; "
                "delete the folder's JSON and checkpoints, or give another --out"
            )
        advance(budget.steps)
        return VariantResult(**content)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    torch.manual_seed(budget.seed)
    ablated = Ablated(variant, bench.trained.lmm, bench.trained.config)
    if not budget.scratch:
        ablated.start_from(bench.trained)
    ablated.refiner.image_encoder = nn.Identity()  # its features are there already
    ablated.to(bench.train.scene.device)
    train(ablated, bench, budget, folder / f"{variant.slug}.ckpt", advance)
    found = measure(ablated, bench.unseen, bench)
    result = VariantResult(
        variant.name,
        variant.group,
        **found,
        weights=sum(p.numel() for p in ablated.trained_parts()),
        steps=budget.steps,
        seconds=round(time.monotonic() - start, 1),
    )
    content = {**asdict(result), **made_with}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder / f"{variant.slug}.ckpt", ignore_errors=True)
    log.info("%s: %s", variant.name, found)
    return result


def made_with_of(
    variant: Variant, bench: AblationData, budget: TrainingBudget
) -> dict[str, dict[str, Any] | str]:
    """Everything that changes a result, for its file and for checkpoints."""
    return {
        "budget": asdict(budget),
        "definition": asdict(variant),
        "data": bench.fingerprint,
    }


def train(
    ablated: Ablated,
    bench: AblationData,
    budget: TrainingBudget,
    checkpoint: Path,
    advance: Callable[[int], None],
) -> None:
    """Trains in place, from the checkpoint where there is one."""
    parts = ablated.trained_parts()
    made_with = made_with_of(ablated.variant, bench, budget)
    optimizer = torch.optim.AdamW(parts, budget.peak_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, budget.peak_rate, total_steps=max(budget.steps, 2), pct_start=0.05
    )
    first = resume(checkpoint, ablated, optimizer, schedule, made_with)
    advance(first)
    ablated.train()
    recent: list[torch.Tensor] = []
    for step in range(first, budget.steps):
        rng = np.random.default_rng([budget.seed, step])
        index = torch.from_numpy(rng.integers(0, len(bench.train), BATCH))
        truth = bench.train.masks[index].float()
        coarse, logits, score = forward(ablated, bench.train, index, bench)
        small = F.adaptive_avg_pool2d(truth[:, None], (coarse.shape[1], coarse.shape[2]))[:, 0]
        loss = mask_loss(coarse, small)
        if ablated.variant.refines:
            loss = loss + mask_loss(logits, truth) + score_loss(score, logits, truth)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts, 1.0)
        optimizer.step()
        schedule.step()
        advance(1)
        recent.append(loss.detach())
        if step % SAVED_EVERY == SAVED_EVERY - 1:
            save(checkpoint, ablated, optimizer, schedule, step + 1, made_with)
            mean = torch.stack(recent).mean().item()
            log.info(
                "%s: step %d/%d, loss %.3f", ablated.variant.name, step + 1, budget.steps, mean
            )
            recent = []


def forward(
    ablated: Ablated, phrases: AblationPhrases, index: torch.Tensor, bench: AblationData
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coarse logits, logits at image size and score of the phrases `index`."""
    maps = ablated.last_maps(phrases.maps[ablated.variant.merge][index].float())
    coarse = crop_to_image(ablated.heads.decode(maps), bench.view, bench.image_hw)
    features = phrases.features[phrases.scene[index]].float()
    logits, score = ablated.refine(features, coarse, phrases.states_of(index), bench.image_hw)
    return coarse, logits, score


@torch.no_grad()
def measure(ablated: Ablated, phrases: AblationPhrases, bench: AblationData) -> dict[str, Any]:
    """cIoU, mIoU and precisions of what is there, F1 of calling the rest absent."""
    ablated.eval()
    intersections, unions, ious, said, absent = [], [], [], [], []
    for start in range(0, len(phrases), BATCH):
        index = torch.arange(start, min(start + BATCH, len(phrases)))
        _, logits, score = forward(ablated, phrases, index, bench)
        mask, truth = logits > 0, phrases.masks[index] > 0
        there = truth.any(2).any(1)
        intersections.append((mask & truth)[there].sum())
        unions.append((mask | truth)[there].sum())
        ious.append(iou(mask, truth)[there])
        absent += (~there).tolist()
        said += ((score < 0.5) | ~mask.any(2).any(1)).tolist()
    reached = torch.cat(ious)
    return {
        "cIoU": float(torch.stack(intersections).sum() / torch.stack(unions).sum()),
        "mIoU": float(reached.mean()),
        "precision_at_05": float((reached > 0.5).float().mean()),
        "precision_at_09": float((reached > 0.9).float().mean()),
        "absent_f1": absence_f1(said, absent)["F1"],
    }
