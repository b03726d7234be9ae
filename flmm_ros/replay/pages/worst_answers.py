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

"""Finds the answers that deserve a look, and draws what was pointed at and what should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.masks import rle
from flmm_ros.replay.judging.judge import GOOD_IOU
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.recording.bag import Bag
from flmm_ros.replay.recording.recorded_frames import RecordedFrame, frames
from flmm_ros.replay.scenario import Scenario
from flmm_ros.report.pictures import overlay_picture

SHOWN = 12
SAME = 2  # of one command on one recording; more of them show nothing new
_TRUE_COLOR = (255, 255, 255)


@dataclass(frozen=True)
class WorstAnswer:
    """A row, why it is here, and its picture RGB uint8 [H, W, 3]; None: there is no image."""

    row: JudgedAnswer
    problem: str
    picture: NDArray[np.uint8] | None


def worst_rows(rows: Sequence[JudgedAnswer], count: int = SHOWN) -> list[JudgedAnswer]:
    """Wrong ones first, each kind of wrong by its lowest IoU; then the right ones' lowest."""

    def order(row: JudgedAnswer) -> tuple[bool, float]:
        iou = row.worst_iou
        return row.is_right(GOOD_IOU) is not False, 1.0 if iou is None else iou

    shown: list[JudgedAnswer] = []
    alike = Counter[tuple[str, int]]()
    for row in sorted((r for r in rows if r.is_right(GOOD_IOU) is not None), key=order):
        alike[row.bag, row.command] += 1
        if alike[row.bag, row.command] <= SAME:
            shown.append(row)
    return shown[:count]


def problem_of(row: JudgedAnswer) -> str:
    """What is wrong with a row in a few words; empty where it is right."""
    found = []
    if row.is_error_right is False:
        found.append(f"{row.error}: {row.error_text}" if row.error != "OK" else "not refused")
    if row.is_answer_right is False:
        found.append("not the expected words")
    if row.is_absence_right is False:
        found.append("points at something that is not there")
    if row.is_ambiguity_right is False:
        found.append("whether it is ambiguous")
    if row.error == "OK":
        missed = [p.name for p in row.pairs or () if p.phrase is None]
        poor = [p.name for p in row.pairs or () if p.phrase is not None and p.iou < GOOD_IOU]
        found += [f"does not see {', '.join(missed)}"] if missed else []
        found += [f"mask not on {', '.join(poor)}"] if poor else []
    if row.extra and row.pairs:
        found.append(f"{row.extra} more than expected")
    return "; ".join(found)


def draw_worst(
    rows: Sequence[JudgedAnswer], sources: Mapping[str, tuple[Path, Scenario]]
) -> list[WorstAnswer]:
    """Pictures of rows. A recording that is no longer there leaves its rows without one."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    for bag, (path, scenario) in sources.items():
        wanted = {row.frame for row in rows if row.bag == bag}
        for frame in _frames_of(path, scenario, wanted):
            for row in rows:
                if row.bag == bag and row.frame == frame.index:
                    pictures[id(row)] = _draw(row, frame)
    return [WorstAnswer(row, problem_of(row), pictures.get(id(row))) for row in rows]


def _frames_of(path: Path, scenario: Scenario, wanted: set[int]) -> list[RecordedFrame]:
    """The frames with these numbers; those that cannot be read are left out."""
    found: list[RecordedFrame] = []
    if not wanted or not path.exists():
        return found
    with Bag(path) as bag:
        for frame in frames(bag, scenario):
            if frame.index in wanted:
                found.append(frame)
            if frame.index >= max(wanted):
                break
    return found


def _draw(row: JudgedAnswer, frame: RecordedFrame) -> NDArray[np.uint8]:
    """The masks over the image, and around what should be found a white line."""
    try:
        rgb = frame.rgb()
    except FlmmError:  # the row says so
        return np.zeros((60, 80, 3), np.uint8)
    objects = []
    for o in row.objects:
        mask = rle.decode(o.rle)
        nothing = np.zeros(mask.shape, np.float32)
        objects.append(
            Grounding(
                phrase=o.phrase,
                mask=mask,
                soft_mask=mask.astype(np.float32),
                heat=nothing,
                score=min(1.0, max(0.0, o.score)),
                box_xyxy_px=o.box_xyxy_px,
                is_present=o.is_present,
                is_ambiguous=o.is_ambiguous,
            )
        )
    picture = overlay_picture(rgb, objects)
    scale = picture.shape[0] // rgb.shape[0]
    for pair in row.pairs or ():
        true = (frame.truth or {}).get(pair.name)
        if true is not None:
            large = true.repeat(scale, axis=0).repeat(scale, axis=1)
            picture[_edge(large)] = _TRUE_COLOR
    return picture


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A line of two pixels along the inside of a mask."""
    inner = mask.copy()
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & inner
    return mask & ~inner
