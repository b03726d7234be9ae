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

"""Says how right one answer is: its masks against the true ones, its words, its refusals.

What is pointed at is brought together with what should be: first by the words (the phrase "the red
mug" and the thing "red mug"), then by where the masks lie, one to one. So a model that finds both
mugs but swaps their names gets neither, and one that calls a mug a cup is not wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.masks import rle
from flmm_ros.engine.masks.mask import iou, overlap
from flmm_ros.replay.judging.judged_answer import JudgedAnswer, JudgedObject, MaskPair, Steadiness
from flmm_ros.replay.judging.target_error import target_error_m
from flmm_ros.replay.recording.recorded_frames import DEPTH, RecordedFrame
from flmm_ros.replay.recording.true_masks import Masks
from flmm_ros.replay.scenario import Expectation

GOOD_IOU = 0.5  # a mask below this is not on the thing
_NAME_FIRST = 2.0  # more than any IoU: words decide before places


@dataclass(frozen=True)
class AnsweredObject:
    """One object of an answer; mask bool [H, W]."""

    phrase: str
    score: float
    is_present: bool
    is_ambiguous: bool
    box_xyxy_px: tuple[int, int, int, int]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class GivenAnswer:
    """An answer, or a refusal (error is not "OK"), as every way of asking gives it."""

    text: str
    error: str = "OK"
    error_text: str = ""
    intent: str = ""
    objects: tuple[AnsweredObject, ...] = ()
    times_ms: Mapping[str, float] = field(default_factory=dict)
    rss_mb: float | None = None

    @property
    def present(self) -> tuple[AnsweredObject, ...]:
        """What is pointed at."""
        return tuple(o for o in self.objects if o.is_present)


class AnswerJudge:
    """Judges the answers of one recording; remembers the last one to each command."""

    def __init__(self, bag: str) -> None:
        self._bag = bag
        self._unusable_depth: dict[int, str] = {}  # by index of the frame
        self._last: dict[int, tuple[NDArray[np.bool_], NDArray[np.bool_] | None, set[str]]] = {}

    def judge(
        self, frame: RecordedFrame, number: int, text: str, expect: Expectation, given: GivenAnswer
    ) -> JudgedAnswer:
        """One answer beside what was expected.

        Raises:
            ConfigError: the true masks have another size than the image.
        """
        truth = frame.truth
        _check_sizes(given, truth)
        wanted = _wanted(expect, truth)
        pairs: tuple[MaskPair, ...] | None = None
        extra = 0
        if wanted is not None and truth is not None and given.error == "OK":
            found = match(given.present, wanted, truth)
            pairs = tuple(self._pair(name, seen, truth[name], frame) for name, seen in found)
            extra = len(given.present) - sum(seen is not None for _, seen in found)
        elif wanted and truth is not None:  # refused: everything is missed
            pairs = tuple(MaskPair(name, None, 0, int(truth[name].sum())) for name in wanted)
        is_refused = given.error != "OK"
        return JudgedAnswer(
            bag=self._bag,
            frame=frame.index,
            stamp_ns=frame.stamp_ns,
            t_s=frame.t_s,
            command=number,
            text=text,
            answer=given.text,
            error=given.error,
            error_text=given.error_text,
            intent=given.intent,
            objects=tuple(_pointed(o) for o in given.objects),
            pairs=pairs,
            extra=extra,
            is_answer_right=_is_answer_right(expect, given.text),
            is_error_right=(given.error == expect.error)
            if is_refused or expect.error != "OK"
            else None,
            is_absence_right=None if wanted != () or is_refused else not given.present,
            is_ambiguity_right=None
            if expect.ambiguous is None
            else any(o.is_ambiguous for o in given.present) == expect.ambiguous,
            steadiness=None if is_refused else self._steadiness(number, given, wanted, truth),
            times_ms=dict(given.times_ms),
            rss_mb=given.rss_mb,
        )

    def gaps_of(self, frame: RecordedFrame) -> dict[str, str]:
        """What a frame lacks, also what was found to be unusable when it was judged."""
        unusable = self._unusable_depth.get(frame.index)
        return {**frame.gaps, **({DEPTH: unusable} if unusable else {})}

    def _pair(
        self,
        name: str,
        seen: AnsweredObject | None,
        true: NDArray[np.bool_],
        frame: RecordedFrame,
    ) -> MaskPair:
        """With the distance of the two centres, where the recording has depth."""
        if seen is None:
            return MaskPair(name, None, 0, int(true.sum()))
        shared = overlap(seen.mask, true)
        error_m = None
        if frame.depth is not None and frame.camera_info is not None:
            try:
                error_m = target_error_m(seen.mask, true, frame.depth, frame.camera_info)
            except ConfigError as error:
                self._unusable_depth[frame.index] = str(error)
        return MaskPair(name, seen.phrase, shared.intersection_px, shared.union_px, error_m)

    def _steadiness(
        self, number: int, given: GivenAnswer, wanted: Sequence[str] | None, truth: Masks | None
    ) -> Steadiness | None:
        """Beside the last answer to the same command, if it pointed at anything."""
        if not given.objects:
            return None
        mask = _union([o.mask for o in given.present], given.objects[0].mask.shape)
        true = (
            None
            if truth is None or wanted is None
            else _union([truth[name] for name in wanted], mask.shape)
        )
        phrases = {o.phrase for o in given.present}
        last = self._last.get(number)
        self._last[number] = (mask, true, phrases)
        if last is None or last[0].shape != mask.shape:
            return None
        is_changed = phrases != last[2]
        if not (mask.any() or last[0].any()):  # absent both times
            return Steadiness(1.0, None, is_changed)
        true_iou = None if true is None or last[1] is None else iou(true, last[1])
        return Steadiness(iou(mask, last[0]), true_iou, is_changed)


def match(
    present: Sequence[AnsweredObject], wanted: Sequence[str], truth: Masks
) -> list[tuple[str, AnsweredObject | None]]:
    """What is pointed at for each wanted thing; None = nothing."""
    scores = np.zeros((len(wanted), len(present)))
    for i, name in enumerate(wanted):
        for j, seen in enumerate(present):
            is_named = words_of(name) <= words_of(seen.phrase)
            scores[i, j] = _NAME_FIRST * is_named + iou(seen.mask, truth[name])
    rows, columns = linear_sum_assignment(scores, maximize=True)
    chosen = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if scores[i, j] > 0}
    return [(n, present[chosen[i]] if i in chosen else None) for i, n in enumerate(wanted)]


def words_of(text: str) -> frozenset[str]:
    """The words of a text, in lower case."""
    return frozenset(re.findall(r"\w+", text.lower()))


def _wanted(expect: Expectation, truth: Masks | None) -> tuple[str, ...] | None:
    """What should be pointed at on this image: of what is expected, what can be seen."""
    if expect.objects is None or expect.error != "OK":
        return None
    if truth is None:
        return () if expect.objects == () else None
    return tuple(n for n in expect.objects if n in truth and truth[n].any())


def _is_answer_right(expect: Expectation, text: str) -> bool | None:
    if not expect.answer and not expect.answer_without:
        return None
    said = words_of(text)
    wanted = words_of(" ".join(expect.answer))
    return wanted <= said and not said & words_of(" ".join(expect.answer_without))


def _check_sizes(given: GivenAnswer, truth: Masks | None) -> None:
    for o in given.objects:
        for name, mask in (truth or {}).items():
            if mask.shape != o.mask.shape:
                raise ConfigError(
                    f"truth {name!r}: expected a mask of {o.mask.shape} like the image, got "
                    f"{mask.shape}"
                )
        return  # all masks of an answer have one size


def _pointed(o: AnsweredObject) -> JudgedObject:
    return JudgedObject(
        o.phrase,
        round(float(o.score), 6),
        o.is_present,
        o.is_ambiguous,
        (o.box_xyxy_px[0], o.box_xyxy_px[1], o.box_xyxy_px[2], o.box_xyxy_px[3]),
        rle.encode(o.mask),
    )


def _union(masks: Sequence[NDArray[np.bool_]], size: tuple[int, ...]) -> NDArray[np.bool_]:
    union = np.zeros(size, bool)
    for mask in masks:
        union |= mask
    return union
