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

"""From readings to losses: the heads run with gradients, several images at once.

One forward of the U-Net for all maps of a size, one of SAM's decoder for all phrases of a length,
whatever image they belong to. Every sample weighs the same, whatever number of phrases it has, as
in the original, where a sample is a batch; so the mean over processes is the mean over samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.masks.framing import crop_to_image
from training.features.readings import SampleReading, SampleTruth
from training.heads.losses import iou, mask_losses

LOSSES = ("coarse", "refined", "score", "selector")


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts; 0 switches it off."""

    coarse: float = 1.0
    refined: float = 1.0
    score: float = 1.0
    selector: float = 0.0


@dataclass(frozen=True)
class HeadsOutput:
    """losses: the mean of each over samples, with gradients. Of each sample, without: coarse logits
    [N, h, w], refined logits [N, H, W] and predicted IoU [N]."""

    losses: dict[str, torch.Tensor]
    coarse: tuple[torch.Tensor, ...]
    refined: tuple[torch.Tensor, ...]
    score: tuple[torch.Tensor, ...]


class Objective(nn.Module):
    """Heads and what they are held to; its forward is what DistributedDataParallel wraps.

    dtype: bfloat16 or float16: the heads compute in it where torch thinks it safe; weights,
    normalisation and losses stay in float32.
    """

    def __init__(
        self, heads: Heads, weights: LossWeights, *, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.heads = heads
        self.weights = weights
        freeze_unused(heads, weights)
        self.train()

    def train(self, mode: bool = True) -> Objective:
        """A frozen image encoder stays in its mode of use: its running means are frozen too."""
        super().train(mode)
        encoder = self.heads.mask_refiner.image_encoder
        if not any(p.requires_grad for p in encoder.parameters()):
            encoder.eval()
        return self

    def forward(
        self, readings: Sequence[SampleReading], truths: Sequence[SampleTruth]
    ) -> HeadsOutput:
        """Losses of B samples."""
        device = truths[0].masks.device.type
        with torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32):
            coarse = self._coarse(readings, truths)
            low, score = self._refined(readings, truths, coarse)
        upscale = self.heads.mask_refiner.upscale
        refined = [upscale(one, t.image_hw) for one, t in zip(low, truths, strict=True)]
        losses = self._losses(readings, truths, coarse, refined, score)
        return HeadsOutput(
            losses,
            tuple(c.detach() for c in coarse),
            tuple(r.detach() for r in refined),
            tuple(s.detach() for s in score),
        )

    def total(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        """What is minimised."""
        terms = [getattr(self.weights, name) * loss for name, loss in losses.items()]
        return torch.stack(terms).sum()

    def _coarse(
        self, readings: Sequence[SampleReading], truths: Sequence[SampleTruth]
    ) -> list[torch.Tensor]:
        """Coarse logits of each sample, un-padded [N, h', w']: one U-Net forward a grid size."""
        drawn: list[torch.Tensor | None] = [None] * len(readings)
        for members in _grouped([tuple(r.maps.shape[-2:]) for r in readings]):
            logits = self.heads.decode(torch.cat([readings[n].maps for n in members]))
            parts = logits.float().split([len(readings[n].maps) for n in members])
            for n, part in zip(members, parts, strict=True):
                drawn[n] = crop_to_image(part, readings[n].view, truths[n].image_hw)
        return [each for each in drawn if each is not None]

    def _refined(
        self,
        readings: Sequence[SampleReading],
        truths: Sequence[SampleTruth],
        coarse: Sequence[torch.Tensor],
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Low logits [N, 4g, 4g] and predicted IoU [N] of each sample."""
        refiner = self.heads.mask_refiner
        pairs = list(zip(coarse, truths, strict=True))
        boxes = torch.cat([refiner.boxes(logits, t.image_hw) for logits, t in pairs])
        masks = torch.cat([refiner.mask_prompt(logits, t.image_hw) for logits, t in pairs])
        counts = [len(logits) for logits in coarse]
        features = torch.repeat_interleave(
            self._features(readings), torch.tensor(counts, device=boxes.device), dim=0
        )
        words = None
        if self.heads.config.use_text:
            cues = self._cues([state for r in readings for state in r.states])
            words = [self.heads.text_proj(cue) for cue in cues]
        out = refiner.refined(features, boxes, masks, words, refiner.prompted)
        return list(out.low_logits.split(counts)), list(out.iou.split(counts))

    def _features(self, readings: Sequence[SampleReading]) -> torch.Tensor:
        made = [r.features for r in readings if r.features is not None]
        if len(made) == len(readings):
            return torch.stack(made)
        pixels = [r.pixels for r in readings if r.pixels is not None]
        if len(pixels) != len(readings):
            raise ValueError("objective: expected features or pixels of every sample")
        return self.heads.mask_refiner.features(torch.stack(pixels))

    def _cues(self, states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Weighted states [T, D] of every phrase, computed at once."""
        joined = self.heads.weighted_states(torch.cat(list(states), dim=1))
        return joined.split([state.shape[1] for state in states])

    def _losses(
        self,
        readings: Sequence[SampleReading],
        truths: Sequence[SampleTruth],
        coarse: Sequence[torch.Tensor],
        refined: Sequence[torch.Tensor],
        score: Sequence[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        weights, found = self.weights, {}
        targets = [t.masks.float() for t in truths]
        if weights.coarse:
            found["coarse"] = _mean(
                lambda n: mask_losses(coarse[n], _shrunk(targets[n], coarse[n])), len(truths)
            )
        if weights.refined:
            found["refined"] = _mean(lambda n: mask_losses(refined[n], targets[n]), len(truths))
        if weights.score:
            found["score"] = _mean(
                lambda n: (score[n] - iou(refined[n].detach() > 0, truths[n].masks)).square(),
                len(truths),
            )
        if weights.selector:
            found["selector"] = _mean(lambda n: self._selector_losses(readings[n]), len(truths))
        return found

    def _selector_losses(self, reading: SampleReading) -> torch.Tensor:
        """Cross entropy of every token of the answer [S]."""
        selector = self.heads.phrase_selector
        if selector is None or reading.answer is None or reading.groundable is None:
            raise ValueError("selector loss: expected heads with a selector and whole answers read")
        logits = selector(reading.answer)
        return F.binary_cross_entropy_with_logits(logits, reading.groundable, reduction="none")


def freeze_unused(heads: Heads, weights: LossWeights) -> None:
    """Leaves gradients only to what some loss reaches, so that every process waits for the same
    ones; everything else stays as it is."""
    refiner = heads.mask_refiner
    prompt = refiner.prompt_encoder
    masks_matter = bool(weights.refined)
    unused: list[nn.Module] = [prompt.no_mask_embed, prompt.not_a_point_embed]
    unused += list(prompt.point_embed[:2])  # of points; boxes have the others
    if not (masks_matter or weights.score):
        unused.append(refiner)
    if not weights.score:
        unused.append(refiner.mask_decoder.iou_prediction_head)
    if not masks_matter and weights.score:
        decoder = refiner.mask_decoder
        unused += [decoder.output_hypernetworks_mlps, decoder.upscale_conv1]
        unused += [decoder.upscale_conv2, decoder.upscale_layer_norm]
    if heads.phrase_selector is not None and not weights.selector:
        unused.append(heads.phrase_selector)
    for module in unused:
        module.requires_grad_(False)
    refiner.prompt_encoder.shared_embedding.positional_embedding.requires_grad_(False)
    cues_matter = heads.config.use_text and (masks_matter or bool(weights.score))
    if not cues_matter:
        heads.text_proj.requires_grad_(False)
        heads.text_layer_weights.requires_grad_(False)


def _mean(of_sample: Callable[[int], torch.Tensor], count: int) -> torch.Tensor:
    """The mean over samples of the mean over their phrases or tokens."""
    return torch.stack([of_sample(n).mean() for n in range(count)]).mean()


def _shrunk(masks: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Masks [N, H, W] to the share of each coarse cell that they fill."""
    height, width = int(like.shape[-2]), int(like.shape[-1])
    return F.adaptive_avg_pool2d(masks[:, None], (height, width))[:, 0]


def _grouped(keys: Sequence[object]) -> list[list[int]]:
    """Places of equal keys, in the order of their first."""
    groups: dict[object, list[int]] = {}
    for n, key in enumerate(keys):
        groups.setdefault(key, []).append(n)
    return list(groups.values())
