"""Numbers of the field for masks, answers and absence; numpy only.

cIoU is the sum of intersections over the sum of unions (also "overall IoU"), gIoU/mIoU the mean of
the IoUs, P@t the share of IoUs above t. Expected calibration error is over equal-width bins of the
score.
Does not know about: models, data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class MaskMetrics:
    """Collects pairs of masks of phrases that are there."""

    intersections: list[int] = field(default_factory=list)
    unions: list[int] = field(default_factory=list)

    def add(self, mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
        """Counts one pair bool [H, W] and returns its IoU."""
        if mask.shape != truth.shape:
            raise ValueError(f"expected masks of one shape, got {mask.shape} and {truth.shape}")
        self.intersections.append(int((mask & truth).sum()))
        self.unions.append(int((mask | truth).sum()))
        return self.intersections[-1] / max(self.unions[-1], 1)

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


def absence_f1(said_absent: Sequence[bool], is_absent: Sequence[bool]) -> dict[str, float]:
    """Precision, recall and F1 of calling a phrase absent."""
    said, truth = np.array(said_absent, bool), np.array(is_absent, bool)
    hits = float((said & truth).sum())
    precision = hits / max(float(said.sum()), 1.0)
    recall = hits / max(float(truth.sum()), 1.0)
    f1 = 0.0 if hits == 0 else 2 * precision * recall / (precision + recall)
    return {"precision": precision, "recall": recall, "F1": f1, "n": len(truth)}


def calibration_error(scores: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error: mean gap between score and share of right, weighted by count."""
    score, hit = np.array(scores, float), np.array(right, float)
    which = np.minimum((score * bins).astype(int), bins - 1)
    gaps = [
        abs(score[which == b].mean() - hit[which == b].mean()) * (which == b).sum()
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps) / max(len(score), 1))
