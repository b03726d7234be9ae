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

"""One HTML page that shows what was asked, what was answered, and why: masks, attention, times.

The page stands alone (pictures inside, no scripts, nothing from the network), so it can be sent to
somebody. Commands and answers are not trusted: the template escapes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.overlay import color_of, draw_heat
from flmm_ros.report.colors import OTHER_COLOR, STAGE_COLORS, css_color, plate_style
from flmm_ros.report.pictures import data_uri, overlay_picture
from flmm_ros.report.rendering import render


@dataclass(frozen=True)
class ShownObject:
    """One object of an answer. iou: against the truth, None where the truth is not known."""

    grounding: Grounding
    iou: float | None
    has_heat: bool


@dataclass(frozen=True)
class ShownCommand:
    """One command and everything about its answer.

    image: the camera image it was answered on, RGB uint8 [H, W, 3]. stages_ms: in order. problem:
    what is wrong with the answer, empty where it is right. is_as_due: it was answered, or refused
    where a refusal with this code is due.
    """

    title: str
    command: str
    scene: str
    channel: str
    intent: str
    answer: str
    objects: tuple[ShownObject, ...]
    image: NDArray[np.uint8]
    stages_ms: tuple[tuple[str, float], ...]
    total_ms: float
    error_code: str
    error_text: str
    problem: str
    is_as_due: bool = True

    @property
    def is_refused(self) -> bool:
        """Whether the node refused the command."""
        return self.error_code != "OK"

    @property
    def is_pointing(self) -> bool:
        """Whether any object was seen."""
        return any(o.grounding.is_present for o in self.objects)

    @property
    def shown_ms(self) -> float:
        """What the bar of stages stands for: the total, or all stages where that is more."""
        return max(self.total_ms, sum(ms for _, ms in self.stages_ms), 1e-9)

    def picture(self) -> NDArray[np.uint8]:
        """The image with masks and phrases, RGB uint8."""
        return overlay_picture(self.image, [o.grounding for o in self.objects])

    def heat_of(self, index: int) -> NDArray[np.uint8]:
        """What the model looked at for one of its objects, over the image, RGB uint8 [H, W, 3]."""
        return draw_heat(self.image, self.objects[index].grounding.heat, index)

    def marked_answer(self) -> Markup:
        """The answer as HTML, with its phrases in the colours of their masks."""
        return mark_spans(self.answer, [o.grounding for o in self.objects])


@dataclass(frozen=True)
class DemoSummary:
    """The numbers at the top of the page. mean_iou: over the objects pointed at, if any."""

    commands: int
    right: int
    objects: int
    mean_iou: float | None
    median_ms: float | None


def summarise(commands: Sequence[ShownCommand]) -> DemoSummary:
    """Counts over a run. Refused commands count as right where a refusal was expected."""
    ious = [
        o.iou for c in commands for o in c.objects if o.grounding.is_present and o.iou is not None
    ]
    times = [c.total_ms for c in commands if not c.is_refused]
    return DemoSummary(
        commands=len(commands),
        right=sum(not c.problem for c in commands),
        objects=len(ious),
        mean_iou=mean(ious) if ious else None,
        median_ms=median(times) if times else None,
    )


def write_report(
    directory: Path, commands: Sequence[ShownCommand], facts: Sequence[tuple[str, str]]
) -> Path:
    """Writes index.html, and beside it each overlay as a PNG. Returns the path of the page.

    facts: name and value of what the run was made with (model, machine, versions).
    """
    directory.mkdir(parents=True, exist_ok=True)
    for number, command in enumerate(commands, 1):
        if command.objects:
            Image.fromarray(command.picture()).save(directory / f"overlay_{number:02d}.png")
    page = directory / "index.html"
    page.write_text(render_page(commands, facts), encoding="utf-8")
    return page


def render_page(commands: Sequence[ShownCommand], facts: Sequence[tuple[str, str]]) -> str:
    """The whole page as HTML text."""
    return render(
        "examples.demo/demo.html",
        commands=commands,
        facts=facts,
        tiles=_tiles(summarise(commands)),
        data_uri=data_uri,
        color_of_object=lambda index: css_color(color_of(index)),
        color_of_stage=lambda stage: STAGE_COLORS.get(stage, OTHER_COLOR),
    )


def _tiles(summary: DemoSummary) -> tuple[tuple[str, str], ...]:
    iou = "-" if summary.mean_iou is None else f"{summary.mean_iou:.2f}"
    time = "-" if summary.median_ms is None else f"{summary.median_ms:.0f} ms"
    return (
        (f"{summary.right} / {summary.commands}", "commands answered right"),
        (iou, f"mean IoU of {summary.objects} objects pointed at"),
        (time, "median time per answered command"),
    )


def mark_spans(text: str, objects: Sequence[Grounding]) -> Markup:
    """The text as HTML, each present object's phrase on a plate of the object's colour.

    Spans that leave the text or overlap an earlier one stay unmarked: a page is no place to fail.
    """
    spans = sorted(
        (o.text_span, index)
        for index, o in enumerate(objects)
        if o.is_present and o.text_span is not None
    )
    marked = Markup()
    at = 0
    for (start, end), index in spans:
        if not at <= start < end <= len(text):
            continue
        plate = Markup('<mark style="{}">{}</mark>')
        marked += text[at:start]
        marked += plate.format(plate_style(color_of(index)), text[start:end])
        at = end
    return marked + text[at:]
