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

"""One HTML page of an evaluation: the scores, and the best, the worst and random phrases.

The page stands alone: pictures inside, no scripts, nothing from the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.overlay import draw_heat
from flmm_ros.report.colors import css_color
from flmm_ros.report.pictures import data_uri
from flmm_ros.report.rendering import render
from training.evaluation.cases import Case
from training.evaluation.pages.tables import ScoreTable

# RGB, distinguishable to people with colour-blindness too.
RIGHT, TOO_MUCH, MISSED = (0, 158, 115), (230, 120, 0), (60, 130, 255)
_OPACITY = 0.6


@dataclass(frozen=True)
class ShownCase:
    """A case with everything to be seen of it.

    rgb: uint8 [H, W, 3]. grounding: of the phrase. truth, ignored: bool [H, W]. text: what the
    phrase stands in, with its span; the answer where a question was answered.
    """

    case: Case
    rgb: NDArray[np.uint8]
    grounding: Grounding
    truth: NDArray[np.bool_]
    ignored: NDArray[np.bool_] | None
    text: str
    text_span: tuple[int, int]
    answer: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the mask lies on the thing, or what is absent was reported so."""
        return self.case.said_absent if self.case.is_absent else self.case.iou > 0.5

    @property
    def verdict(self) -> str:
        """How well it went, in a few words."""
        if self.case.is_absent:
            return "not there, " + ("reported absent" if self.is_good else "but pointed at")
        absent = ", reported absent" if self.case.said_absent else ""
        return f"IoU {self.case.iou:.2f}{absent}"

    @property
    def has_context(self) -> bool:
        """Whether the phrase stands in a longer text."""
        return self.text_span != (0, len(self.text))

    def pictures(self) -> tuple[tuple[str, NDArray[np.uint8]], ...]:
        """Caption and picture: the image, mask beside truth, and attention."""
        masks = compared(self.rgb, self.grounding.mask, self.truth, self.ignored)
        heat = draw_heat(self.rgb, self.grounding.heat, 0)
        return (("image", self.rgb), ("mask and truth", masks), ("attention", heat))


@dataclass(frozen=True)
class Chosen:
    """Which cases are shown: the best and the worst by IoU, and some at random."""

    best: tuple[Case, ...]
    worst: tuple[Case, ...]
    random: tuple[Case, ...]

    def sections(self) -> tuple[tuple[str, tuple[Case, ...]], ...]:
        """Title and cases, in the order of the page."""
        return (
            ("Worst", self.worst),
            ("Random", self.random),
            ("Best", self.best),
        )


def choose(cases: Sequence[Case], count: int, seed: int = 0) -> Chosen:
    """`count` cases of each sort, of different images where there are enough, none twice.

    A phrase without a target is at its best where it was reported absent.
    """
    ordered = sorted(cases, key=lambda c: (_quality(c), c.place))
    worst = _of_different_images(ordered, count)
    taken = {c.place for c in worst}
    best = _of_different_images([c for c in ordered[::-1] if c.place not in taken], count)
    taken |= {c.place for c in best}
    left = [c for c in sorted(cases, key=lambda c: c.place) if c.place not in taken]
    order = np.random.default_rng(seed).permutation(len(left))
    random = _of_different_images([left[i] for i in order], count)
    return Chosen(tuple(best), tuple(worst), tuple(random))


def compared(
    rgb: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The image in grey, with every pixel right, too much or missed in its colour."""
    counts = np.ones_like(mask) if ignored is None else ~ignored
    canvas = np.repeat(rgb.astype(np.float32).mean(axis=2, keepdims=True), 3, axis=2)
    for color, pixels in (
        (RIGHT, mask & truth),
        (TOO_MUCH, mask & ~truth),
        (MISSED, truth & ~mask),
    ):
        where = pixels & counts
        canvas[where] = (1 - _OPACITY) * canvas[where] + _OPACITY * np.array(color, np.float32)
    return canvas.round().astype(np.uint8)


def render_page(
    title: str,
    table: ScoreTable,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[tuple[str, Sequence[ShownCase]]],
) -> str:
    """The whole page as HTML text."""
    colors = {"right": RIGHT, "too_much": TOO_MUCH, "missed": MISSED}
    return render(
        "training.evaluation.pages/evaluation.html",
        title=title,
        table=table,
        facts=facts,
        sections=sections,
        colors={name: css_color(color) for name, color in colors.items()},
        data_uri=data_uri,
    )


def _quality(case: Case) -> float:
    return float(case.said_absent) if case.is_absent else case.iou


def _of_different_images(cases: Sequence[Case], count: int) -> list[Case]:
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.key, case)
    chosen = list(first.values())[:count]
    taken = {c.place for c in chosen}
    more = [c for c in cases if c.place not in taken]
    return chosen + more[: count - len(chosen)]
