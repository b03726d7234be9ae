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

"""One line of result.jsonl: one command on one image, what came out, and how it was judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flmm_ros.engine.errors import FlmmError


class ResultError(FlmmError):
    """Results of an earlier run that cannot be read."""

    code = "RESULT"


@dataclass(frozen=True)
class JudgedObject:
    """An object of an answer; rle: its mask as COCO run lengths."""

    phrase: str
    score: float
    is_present: bool
    is_ambiguous: bool
    box_xyxy_px: tuple[int, int, int, int]
    rle: Mapping[str, Any]


@dataclass(frozen=True)
class MaskPair:
    """A thing that should be pointed at, and what was; phrase: None = nothing.

    target_error_m: distance between the centres of the two, where there is depth.
    """

    name: str
    phrase: str | None
    intersection_px: int
    union_px: int
    target_error_m: float | None = None

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return self.intersection_px / self.union_px if self.union_px else 0.0


@dataclass(frozen=True)
class Steadiness:
    """An answer beside the one to the same command on the image before.

    iou: of the two masks. true_iou: of the two true ones, where known: things do move.
    is_changed: something is pointed at only in one of the two.
    """

    iou: float
    true_iou: float | None
    is_changed: bool


@dataclass(frozen=True)
class JudgedAnswer:
    """See the module's docstring. Verdicts are None where they do not apply.

    command: its number in the scenario, recorded sentences after them. pairs: None = no true masks.
    extra: objects pointed at that should not be. times_ms: the engine's stages and their total, and
    online `answer` (from sending to the answer), `first_mask`, `cancel` (from the cancel to the
    end), `wait`, `image_age`. rss_mb: memory of the process that answered.
    """

    bag: str
    frame: int
    stamp_ns: int
    t_s: float
    command: int
    text: str
    answer: str
    error: str
    error_text: str
    intent: str = ""
    objects: tuple[JudgedObject, ...] = ()
    pairs: tuple[MaskPair, ...] | None = None
    extra: int = 0
    is_answer_right: bool | None = None
    is_error_right: bool | None = None
    is_absence_right: bool | None = None
    is_ambiguity_right: bool | None = None
    steadiness: Steadiness | None = None
    times_ms: Mapping[str, float] = field(default_factory=dict)
    rss_mb: float | None = None

    @property
    def key(self) -> tuple[str, int, int, float]:
        """What the row is about; the same in two runs over the same recordings."""
        return self.bag, self.stamp_ns, self.command, round(self.t_s, 3)

    @property
    def worst_iou(self) -> float | None:
        """The lowest of its pairs."""
        return min((pair.iou for pair in self.pairs), default=None) if self.pairs else None

    def is_right(self, good_iou: float) -> bool | None:
        """Everything that was judged; None where nothing was."""
        verdicts = [
            self.is_answer_right,
            self.is_error_right,
            self.is_absence_right,
            self.is_ambiguity_right,
        ]
        if self.pairs is not None and self.pairs:
            verdicts.append(self.extra == 0 and all(p.iou >= good_iou for p in self.pairs))
        judged = [verdict for verdict in verdicts if verdict is not None]
        return all(judged) if judged else None


def to_json(row: JudgedAnswer) -> str:
    """The line, without its end."""
    return json.dumps(asdict(row), ensure_ascii=False, separators=(",", ":"))


def from_json(line: str) -> JudgedAnswer:
    """The row of a line.

    Raises:
        ResultError: not a line that `to_json` writes.
    """
    try:
        content = json.loads(line)
        objects = tuple(
            JudgedObject(**{**o, "box_xyxy_px": tuple(o["box_xyxy_px"])})
            for o in content["objects"]
        )
        pairs = content["pairs"]
        steadiness = content["steadiness"]
        content |= {
            "objects": objects,
            "pairs": None if pairs is None else tuple(MaskPair(**pair) for pair in pairs),
            "steadiness": None if steadiness is None else Steadiness(**steadiness),
        }
        return JudgedAnswer(**content)
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(f"expected a line of result.jsonl, got {line[:80]!r}: {error}") from error


def read_rows(path: Path) -> Iterator[JudgedAnswer]:
    """The rows of a file. A last line that was cut off is left out: the run was interrupted.

    Raises:
        ResultError: no such file, or a broken line before the last.
    """
    if not path.is_file():
        raise ResultError(f"{path}: expected results of a replay, nothing there")
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield from_json(line)
