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

"""Masks for the embedded model: trains its heads while the language model stays frozen.

The U-Net and the SAM-style refiner train together on what the language model made of phrases
(readings.py), with the paper's losses on coarse and full-resolution logits, plus the predicted IoU.
The refiner's image encoder stays as it was pre-trained (refiner_encoder.py), as SAM's does in the
original.
A phrase that fits several objects asks for all of them; an absent one for an empty mask and a score
of 0.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.heads.refiner_shape import ConvEncoderShape, RefinerShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig
from flmm_ros.engine.lmm.view import View
from flmm_ros.engine.masks.framing import crop_to_image
from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX
from training.embedded.stages.batches import StagePlan, ahead
from training.embedded.stages.checkpoints import resume, save
from training.embedded.stages.readings import ReadingSet
from training.embedded.stages.scenes import SceneSet
from training.heads.losses import iou, mask_loss, score_loss

log = logging.getLogger(__name__)
PHRASES_AN_IMAGE = 3  # a step has so many times its images
MEASURED_EVERY = 350  # steps
WORDLESS = 0.15  # share of steps without words, as training-free heads use the refiner

HEADS = HeadsConfig(
    base_channels=16,
    selector=True,
    refiner=RefinerShape(
        hidden=128,
        input_size=256,
        decoder_mlp=512,
        iou_hidden=128,
        encoder=ConvEncoderShape(channels=(32, 64, 128), blocks=(1, 2, 4)),
    ),
)


class PhraseDraws:
    """Random phrases of two lengths a step, each length as often as it occurs: the refiner takes
    phrases of one length at a time, and all lengths in every step take three times as long."""

    def __init__(self, lengths: torch.Tensor) -> None:
        self.values, counts = np.unique(lengths.numpy(), return_counts=True)
        self.share = counts / counts.sum()
        self.of_length = {n: np.flatnonzero(lengths.numpy() == n) for n in self.values}

    def some(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        """Numbers of `count` phrases."""
        first, second = rng.choice(self.values, 2, p=self.share)
        half = count // 2
        picked = [
            rng.choice(self.of_length[first], count - half),
            rng.choice(self.of_length[second], half),
        ]
        return torch.from_numpy(np.concatenate(picked))


def targets_of(scenes: SceneSet, image: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Masks float32 [N, H, W] of the objects each phrase means; all zero where none."""
    labels = torch.from_numpy(scenes.labels[image.cpu().numpy()]).to(wanted.device).long()
    bit = torch.where(labels > 0, 1 << (labels - 1).clamp(min=0), 0)
    return ((bit & wanted[:, None, None].long()) > 0).float()


@dataclass(frozen=True)
class PhraseSet:
    """Phrases that were read, and the scenes they were read in."""

    readings: ReadingSet
    scenes: SceneSet


def start_from(heads: Heads, start: Heads) -> None:
    """Gives `heads` what others have learned, on another language model even. The image encoder and
    the phrase selector are not taken over: the one is trained before, the other afresh."""
    new = heads.state_dict()
    kept = ("mask_refiner.image_encoder.", "phrase_selector.")
    heads.load_state_dict(
        {name: new[name] if name.startswith(kept) else v for name, v in start.state_dict().items()}
    )


def train_heads(
    heads: Heads,
    train: PhraseSet,
    unseen: PhraseSet,
    checkpoint: Path,
    view: View,
    plan: StagePlan,
) -> dict[str, float]:
    """Trains `heads` in place, where they lie, on phrases read before. Resumable.

    view: where the LMM's grid lies on the image.
    """
    device = heads.text_layer_weights.device
    readings, scenes = train.readings.to(device), train.scenes
    draws = PhraseDraws(train.readings.lengths)
    heads.mask_refiner.image_encoder.requires_grad_(False)
    seen = see(heads, scenes, plan.workers)
    parts = [
        p
        for name, p in heads.named_parameters()
        if p.requires_grad and not name.startswith("phrase_selector.")
    ]
    optimizer = torch.optim.AdamW(parts, plan.peak_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.peak_rate, total_steps=plan.steps, pct_start=0.05
    )
    first = resume(checkpoint, heads, optimizer, schedule, plan.made_with)
    heads.train()
    sums = torch.zeros(3, device=device)
    for step in range(first, plan.steps):
        rng = np.random.default_rng([plan.seed, step])
        index = draws.some(rng, plan.images * PHRASES_AN_IMAGE)
        image = train.readings.image[index]
        truth = targets_of(scenes, image, readings.wanted[index])
        features = seen[image].to(device).float()
        with_words = rng.random() >= WORDLESS
        coarse, logits, score = run(heads, readings, index, features, view, with_words=with_words)
        small = F.adaptive_avg_pool2d(truth[:, None], (coarse.shape[1], coarse.shape[2]))[:, 0]
        losses = (
            mask_loss(coarse, small),
            mask_loss(logits, truth),
            score_loss(score, logits, truth),
        )
        optimizer.zero_grad()
        sum(losses).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(parts, 1.0)
        optimizer.step()
        schedule.step()
        sums += torch.stack([loss.detach() for loss in losses])
        if step % 50 == 49:
            means = [round(value / 50, 4) for value in sums.tolist()]
            log.info("heads %d/%d coarse, refined, score %s", step + 1, plan.steps, means)
            sums.zero_()
        if step % MEASURED_EVERY == MEASURED_EVERY - 1:
            log.info("heads unseen %s", measure(heads, unseen, view, 200))
            save(checkpoint, heads, optimizer, schedule, step + 1, plan.made_with)
            heads.train()
    return measure(heads, unseen, view, len(unseen.scenes))


@torch.no_grad()
def see(heads: Heads, scenes: SceneSet, workers: int) -> torch.Tensor:
    """The refiner's features of all scenes, fp16 [B, hidden, g, g]: a quarter of a MiB a scene."""
    heads.eval()
    refiner, parts = heads.mask_refiner, []

    def fifty(start: int) -> torch.Tensor:
        return refiner.pixels(list(scenes.rgb[start : start + 50]))

    for start, pixels in ahead(fifty, range(0, len(scenes), 50), workers):
        parts.append(refiner.features(pixels).half())
        if start % 1000 == 0:
            log.info("seeing %d/%d", start, len(scenes))
    return torch.cat(parts)


def run(
    heads: Heads,
    readings: ReadingSet,
    index: torch.Tensor,
    features: torch.Tensor,
    view: View,
    image_hw: tuple[int, int] = (HEIGHT_PX, WIDTH_PX),
    *,
    with_words: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coarse logits (un-padded), logits at image size and predicted IoU of the phrases `index`."""
    coarse = crop_to_image(heads.decode(readings.maps[index].float()), view, image_hw)
    words = None
    if with_words:
        cues = heads.weighted_states(readings.states[index].float().permute(2, 0, 1, 3))
        pairs = zip(heads.text_proj(cues), readings.lengths[index].tolist(), strict=True)
        words = [cue[:length] for cue, length in pairs]
    refined = heads.mask_refiner(features, coarse, words, image_hw)
    return coarse, heads.mask_refiner.upscale(refined.low_logits, image_hw), refined.iou


@torch.no_grad()
def calibrate(heads: Heads, data: PhraseSet, view: View) -> dict[str, float]:
    """Makes the score say how likely the mask is right (IoU above 0.5): a line through scores and
    outcomes of unseen phrases goes into the score's last layer.

    Trained as predicted IoU, a score of 0.85 stands on masks that are nearly always right.
    """
    heads.eval()
    readings = data.readings.to(heads.text_layer_weights.device)
    scores, right = [], []
    for start in range(0, len(data.readings.lengths), 20):
        index = torch.arange(start, min(start + 20, len(data.readings.lengths)))
        images = data.readings.image[index].numpy()
        pixels = heads.mask_refiner.pixels(list(data.scenes.rgb[images]))
        truth = targets_of(data.scenes, data.readings.image[index], readings.wanted[index])
        features = heads.mask_refiner.features(pixels)
        _, logits, score = run(heads, readings, index, features, view)
        scores.append(score.cpu())
        right.append((iou(logits > 0, truth > 0.5) > 0.5).cpu())
    slope, shift = np.polyfit(torch.cat(scores).numpy(), torch.cat(right).float().numpy(), 1)
    last = heads.mask_refiner.mask_decoder.iou_prediction_head.proj_out
    last.weight.mul_(slope)
    last.bias.mul_(slope).add_(shift)
    return {"score slope": float(slope), "score shift": float(shift)}


@torch.no_grad()
def measure(heads: Heads, data: PhraseSet, view: View, count: int) -> dict[str, float]:
    """cIoU, P@0.5 and presence on unseen phrases."""
    heads.eval()
    readings, scenes = data.readings.to(heads.text_layer_weights.device), data.scenes
    overlap = union = hits = there = 0.0
    right = 0
    count = min(count, len(readings.lengths))
    for start in range(0, count, 20):
        index = torch.arange(start, min(start + 20, count))
        images = data.readings.image[index].numpy()
        pixels = heads.mask_refiner.pixels(list(scenes.rgb[images]))
        truth = targets_of(scenes, data.readings.image[index], readings.wanted[index])
        _, logits, score = run(heads, readings, index, heads.mask_refiner.features(pixels), view)
        present = readings.wanted[index] > 0
        mask, target = logits > 0, truth > 0.5
        overlap += float((mask & target)[present].sum())
        union += float((mask | target)[present].sum())
        hits += float((iou(mask, target)[present] > 0.5).sum())
        there += float(present.sum())
        right += int(((score > 0.5) == present).sum())
    return {"cIoU": overlap / union, "P@0.5": hits / there, "presence": right / count}
