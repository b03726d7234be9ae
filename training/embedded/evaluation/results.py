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

"""Everything recorded while a model is evaluated on scenes, and the numbers made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from training.embedded.language.language import QUESTION_KINDS
from training.evaluation.metrics import (
    MaskMetrics,
    SpanMetrics,
    absence_f1,
    calibration_error,
    score_bins,
)


@dataclass(frozen=True)
class AmbiguousPhrase:
    """A phrase that fits several things: how many, how many candidates came, how many of the
    things have a candidate on them."""

    things: int
    candidates: int
    matched: int


@dataclass(frozen=True)
class ComparativePhrase:
    """A phrase that picks one thing by its place or size: "the mug left of the blue cube". iou: of
    its mask; is_contested: other things of that kind lie there, so that the kind does not tell."""

    sort: str
    iou: float
    is_contested: bool


@dataclass
class TabletopResults:
    """Notes on phrases (masks, presence, score), crowds, answers, conversations and words."""

    masks: MaskMetrics = field(default_factory=MaskMetrics)
    attention_points: list[bool] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    said_absent: list[bool] = field(default_factory=list)
    is_absent: list[bool] = field(default_factory=list)
    crowds: list[AmbiguousPhrase] = field(default_factory=list)
    compared: list[ComparativePhrase] = field(default_factory=list)
    unheard: list[bool] = field(default_factory=list)  # words of no training text: said absent
    misspelt: list[float] = field(default_factory=list)  # IoU of names with a typo
    false_alarms: list[bool] = field(default_factory=list)  # one thing meant, several reported
    answers: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    conversations: list[list[bool]] = field(default_factory=list)  # turns after the first
    selector: SpanMetrics = field(default_factory=SpanMetrics)
    rules: SpanMetrics = field(default_factory=SpanMetrics)
    mistakes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """All metrics as plain numbers; what was not evaluated has n = 0."""
        kinds = {k: share(v) for k, v in sorted(self.answers.items())}
        questions = [r for k in QUESTION_KINDS for r in self.answers.get(k, [])]
        bins = score_bins(self.scores, self.right)
        return {
            "masks": self.masks.summary(),
            "attention_on_object": share(self.attention_points),
            "answers": {"questions": share(questions), "by_kind": kinds, "n": len(questions)},
            "absent": absence_f1(self.said_absent, self.is_absent),
            "spelt": {
                "unheard_said_absent": share(self.unheard),
                "misspelt_P@0.5": share([iou > 0.5 for iou in self.misspelt]),
                "n": len(self.misspelt),
            },
            "calibration_error": calibration_error(bins),
            "reliability": [vars(b) for b in bins],
            "ambiguity": {
                "reported": share([c.candidates > 1 for c in self.crowds]),
                "right_number": share([c.candidates == c.things for c in self.crowds]),
                "all_matched": share([c.matched == c.things for c in self.crowds]),
                "n": len(self.crowds),
                "false_alarms": share(self.false_alarms),
                "unique_n": len(self.false_alarms),
            },
            "compared": {
                sort: {
                    "P@0.5": share([c.iou > 0.5 for c in self.compared if c.sort == sort]),
                    "P@0.5 contested": share(
                        [c.iou > 0.5 for c in self.compared if c.sort == sort and c.is_contested]
                    ),
                    "n": sum(c.sort == sort for c in self.compared),
                    "n contested": sum(c.sort == sort and c.is_contested for c in self.compared),
                }
                for sort in ("relation", "superlative")
            },
            "conversations": {
                "turns": share([r for turns in self.conversations for r in turns]),
                "whole": share([all(turns) for turns in self.conversations]),
                "n": len(self.conversations),
            },
            "phrases_of_answers": {
                "selector": self.selector.summary(),
                "rules": self.rules.summary(),
            },
        }


def share(right: Sequence[bool]) -> float:
    """The share of True; 0 of nothing."""
    return float(np.mean(right)) if right else 0.0
