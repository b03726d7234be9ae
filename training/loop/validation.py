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

"""How good the heads are on data they do not learn from: measured now and then on the way.

The processes share the samples, whatever their number, and add their sums. The whole evaluation
with all published numbers is training.evaluate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.features.readings import SampleTruth
from training.heads.losses import iou
from training.heads.objective import HeadsOutput

PRESENT = 0.5  # a score above it calls a phrase present


@dataclass
class ValidationSums:
    """Sums over phrases; those of several processes may be added."""

    sums: torch.Tensor

    @classmethod
    def empty(cls, device: torch.device) -> ValidationSums:
        """No phrase yet."""
        return cls(torch.zeros(7, dtype=torch.float64, device=device))

    @torch.no_grad()
    def add(self, outcome: HeadsOutput, truths: Sequence[SampleTruth]) -> None:
        """Counts the phrases of some samples."""
        for logits, score, truth in zip(outcome.refined, outcome.score, truths, strict=True):
            masks, found = truth.masks, logits > 0
            there = masks.flatten(1).any(dim=1)
            both = (found & masks)[there].sum()
            either = (found | masks)[there].sum()
            ious = iou(found, masks)[there]
            told = (score > PRESENT) == there
            parts = (both, either, ious.sum(), (ious > 0.5).sum(), there.sum(), told.sum())
            self.sums[:6] += torch.stack([part.double() for part in parts])
            self.sums[6] += len(masks)

    def summary(self) -> dict[str, float]:
        """cIoU, mIoU and P@0.5 of phrases that are there; the share of all phrases that the score
        rightly calls present or absent; how many there were."""
        both, either, total, hits, there, told, count = self.sums.tolist()
        return {
            "cIoU": both / max(either, 1),
            "mIoU": total / max(there, 1),
            "P@0.5": hits / max(there, 1),
            "presence": told / max(count, 1),
            "phrases": count,
        }


def spread(count: int, most: int, processes: int, rank: int) -> list[int]:
    """Which of `count` samples a process looks at: at most `most` in all, evenly spread, each by
    one process only."""
    chosen = [int(n * count / min(count, most)) for n in range(min(count, most))]
    return chosen[rank::processes]
