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

"""Numbers of the field for masks, phrases, absence and scores; numpy only.

cIoU is the sum of intersections over the sum of unions (also "overall IoU"), gIoU/mIoU the mean of
the IoUs, P@t the share of IoUs above t. Expected calibration error is over equal-width bins of the
score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.masks.mask import overlap


@dataclass
class MaskMetrics:
    """Collects pairs of masks of phrases that are there."""

    intersections: list[int] = field(default_factory=list)
    unions: list[int] = field(default_factory=list)

    def add(self, mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
        """Counts one pair bool [H, W] and returns its IoU."""
        shared = overlap(mask, truth)
        self.intersections.append(shared.intersection_px)
        self.unions.append(shared.union_px)
        return shared.iou()

    @property
    def ious(self) -> NDArray[np.float64]:
        """IoU of every pair [n]."""
        return np.array(self.intersections) / np.maximum(self.unions, 1)

    def summary(self) -> dict[str, float]:
        """cIoU, mIoU, P@0.5 ... P@0.9 and the number of pairs."""
        if not self.unions:
            return {"n": 0}
        ious = self.ious
        found = {
            "cIoU": float(sum(self.intersections) / max(sum(self.unions), 1)),
            "mIoU": float(ious.mean()),
        }
        for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
            found[f"P@{threshold}"] = float((ious > threshold).mean())
        return {**found, "n": len(ious)}


@dataclass
class SpanMetrics:
    """Collects spans of tokens that were found against those that should have been."""

    token_counts: list[int] = field(default_factory=lambda: [0, 0, 0])  # both, found, true
    span_counts: list[int] = field(default_factory=lambda: [0, 0, 0])

    def add(self, found: Sequence[tuple[int, int]], true: Sequence[tuple[int, int]]) -> None:
        """Counts the half-open token ranges of one text."""
        tokens = [{i for a, b in spans for i in range(a, b)} for spans in (found, true)]
        for counts, (said, meant) in (
            (self.token_counts, tokens),
            (self.span_counts, (set(found), set(true))),
        ):
            for i, part in enumerate((said & meant, said, meant)):
                counts[i] += len(part)

    def summary(self) -> dict[str, float]:
        """F1 by token and by whole span (both ends right), and the number of true spans."""
        (token, phrase) = (
            2 * both / max(found + true, 1)
            for both, found, true in (self.token_counts, self.span_counts)
        )
        return {"token_F1": token, "phrase_F1": phrase, "n": self.span_counts[2]}


def absence_f1(said_absent: Sequence[bool], is_absent: Sequence[bool]) -> dict[str, float]:
    """Precision, recall and F1 of calling a phrase absent."""
    said, truth = np.array(said_absent, bool), np.array(is_absent, bool)
    hits = float((said & truth).sum())
    precision = hits / max(float(said.sum()), 1.0)
    recall = hits / max(float(truth.sum()), 1.0)
    f1 = 0.0 if hits == 0 else 2 * precision * recall / (precision + recall)
    return {"precision": precision, "recall": recall, "F1": f1, "n": len(truth)}


@dataclass(frozen=True)
class ScoreBin:
    """The scores between two bounds: their mean, the share of them that was right, how many."""

    score: float
    right: float
    count: int


def score_bins(scores: Sequence[float], right: Sequence[bool], bins: int = 10) -> list[ScoreBin]:
    """What a reliability diagram shows: bins of equal width over 0..1, empty ones left out."""
    score, hit = np.array(scores, float), np.array(right, float)
    which = np.minimum((score * bins).astype(int), bins - 1)
    return [
        ScoreBin(
            float(score[which == b].mean()), float(hit[which == b].mean()), int((which == b).sum())
        )
        for b in range(bins)
        if (which == b).any()
    ]


def calibration_error(bins: Sequence[ScoreBin]) -> float:
    """Expected calibration error: mean gap between score and share of right, weighted by count."""
    total = sum(b.count for b in bins)
    return sum(abs(b.score - b.right) * b.count for b in bins) / max(total, 1)
