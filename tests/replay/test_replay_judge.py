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

"""Verdicts, numbers, schedules and scenarios of a replay, by value."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flmm_ros.engine.errors import ConfigError
from flmm_ros.replay.judging.judge import AnsweredObject, AnswerJudge, GivenAnswer
from flmm_ros.replay.judging.judged_answer import JudgedAnswer, ResultError, from_json, to_json
from flmm_ros.replay.judging.metrics import flat, measure
from flmm_ros.replay.judging.summary import BagFacts, check_thresholds, summarise
from flmm_ros.replay.recording.recorded_frames import RecordedFrame
from flmm_ros.replay.runs.schedule import FrameCounts, due, selected
from flmm_ros.replay.scenario import (
    Expectation,
    FrameSelection,
    Scenario,
    ScenarioCommand,
    Threshold,
    load_scenario,
)

SIZE = (20, 30)


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


RED, BLUE = box(0, 0, 10, 10), box(15, 5, 25, 15)
TRUTH = {"red mug": RED, "blue mug": BLUE}


def seen(phrase: str, mask: np.ndarray, **fields: Any) -> AnsweredObject:
    values = {"score": 0.9, "is_present": True, "is_ambiguous": False, **fields}
    return AnsweredObject(phrase=phrase, mask=mask, box_xyxy_px=(0, 0, 1, 1), **values)


def frame(
    t_s: float = 0.0, truth: Mapping[str, Any] | None = TRUTH, **fields: Any
) -> RecordedFrame:
    return RecordedFrame(round(t_s * 10), int(t_s * 1e9), t_s, None, None, truth, **fields)  # type: ignore


def judged(
    expect: Expectation, heard: GivenAnswer, judge: AnswerJudge | None = None, **fields: Any
) -> JudgedAnswer:
    return (judge or AnswerJudge("bag")).judge(frame(**fields), 0, "say", expect, heard)


BOTH = Expectation(objects=("red mug", "blue mug"))


def test_masks_are_paired_by_words_and_counted_in_pixels():
    half = box(0, 0, 5, 10)
    row = judged(
        BOTH, GivenAnswer("", objects=(seen("the blue mug", BLUE), seen("the red mug", half)))
    )
    assert [(p.name, p.phrase, p.intersection_px, p.union_px) for p in row.pairs] == [
        ("red mug", "the red mug", 50, 100),
        ("blue mug", "the blue mug", 100, 100),
    ]
    assert row.extra == 0 and row.is_right(0.5) is True and row.is_right(0.51) is False


def test_swapped_names_are_wrong_and_synonyms_are_not():
    swapped = judged(BOTH, GivenAnswer("", objects=(seen("red mug", BLUE), seen("blue mug", RED))))
    assert [p.iou for p in swapped.pairs] == [0.0, 0.0] and swapped.is_right(0.5) is False
    synonyms = judged(
        BOTH, GivenAnswer("", objects=(seen("a cup", BLUE), seen("another cup", RED)))
    )
    assert [p.iou for p in synonyms.pairs] == [1.0, 1.0] and synonyms.is_right(0.5) is True


def test_what_is_missed_and_what_is_too_much():
    elsewhere = box(0, 15, 5, 20)
    row = judged(
        BOTH, GivenAnswer("", objects=(seen("the red mug", RED), seen("a spoon", elsewhere)))
    )
    assert [(p.phrase, p.iou) for p in row.pairs] == [("the red mug", 1.0), (None, 0.0)]
    assert row.extra == 1 and row.is_right(0.5) is False
    absent = seen("the blue mug", BLUE, is_present=False)
    row = judged(BOTH, GivenAnswer("", objects=(seen("the red mug", RED), absent)))
    assert row.pairs[1].phrase is None and row.pairs[1].union_px == 100 and row.extra == 0


def test_absence_words_ambiguity_and_refusals():
    nothing = Expectation(objects=())
    assert judged(nothing, GivenAnswer("")).is_absence_right is True
    assert judged(nothing, GivenAnswer("", objects=(seen("x", RED),))).is_absence_right is False
    # What is expected but hidden on this image is absent there.
    hidden = {"red mug": np.zeros(SIZE, bool)}
    one = Expectation(objects=("red mug",))
    assert judged(one, GivenAnswer(""), truth=hidden).is_absence_right is True

    words = Expectation(answer=("two",), answer_without=("three",))
    assert judged(words, GivenAnswer("There are Two.")).is_answer_right is True
    assert judged(words, GivenAnswer("twofold")).is_answer_right is False
    assert judged(words, GivenAnswer("two or three")).is_answer_right is False

    asks = Expectation(objects=("red mug", "blue mug"), ambiguous=True)
    candidates = tuple(seen("the mug", m, is_ambiguous=True) for m in (RED, BLUE))
    assert judged(asks, GivenAnswer("which?", objects=candidates)).is_right(0.5) is True
    assert (
        judged(asks, GivenAnswer("", objects=(seen("the mug", RED),))).is_ambiguity_right is False
    )

    due_code = Expectation(error="UNKNOWN_WORD")
    assert judged(due_code, GivenAnswer("", error="UNKNOWN_WORD")).is_right(0.5) is True
    assert judged(due_code, GivenAnswer("here")).is_right(0.5) is False
    refused = judged(BOTH, GivenAnswer("", error="BUSY"))
    assert refused.is_right(0.5) is False and [p.iou for p in refused.pairs] == [0.0, 0.0]
    assert judged(Expectation(), GivenAnswer("hello")).is_right(0.5) is None


def test_without_truth_masks_are_not_judged():
    row = judged(BOTH, GivenAnswer("", objects=(seen("the red mug", RED),)), truth=None)
    assert row.pairs is None and row.is_right(0.5) is None


def test_truth_of_another_size_is_an_error():
    with pytest.raises(ConfigError, match=r"expected a mask of \(20, 30\)"):
        judged(
            BOTH,
            GivenAnswer("", objects=(seen("m", RED),)),
            truth={"red mug": np.ones((4, 4), bool)},
        )


def test_steadiness_is_the_overlap_with_the_answer_before():
    judge, one = AnswerJudge("bag"), Expectation(objects=("red mug",))
    moved = box(5, 0, 15, 10)
    first = judged(one, GivenAnswer("", objects=(seen("m", RED),)), judge)
    second = judged(
        one, GivenAnswer("", objects=(seen("m", moved),)), judge, truth={"red mug": moved}
    )
    third = judged(one, GivenAnswer("", objects=(seen("m", RED, is_present=False),)), judge)
    assert first.steadiness is None
    assert second.steadiness.iou == pytest.approx(50 / 150)
    assert second.steadiness.true_iou == pytest.approx(50 / 150)
    assert not second.steadiness.is_changed and third.steadiness.is_changed


def test_the_target_error_is_in_metres():
    depth_mm = np.full(SIZE, 1000, "<u2")
    depth = SimpleNamespace(
        height=20, width=30, encoding="16UC1", is_bigendian=0, step=60,
        data=depth_mm.view(np.uint8).reshape(-1),
    )  # fmt: skip
    K = [100.0, 0, 15, 0, 100.0, 10, 0, 0, 1]
    P = [100.0, 0, 15, 0, 0, 100.0, 10, 0, 0, 0, 1, 0]
    info = SimpleNamespace(height=20, width=30, k=K, p=P, d=[0.0] * 5, distortion_model="plumb_bob")
    found = box(3, 0, 13, 10)  # three pixels to the right: 3 / 100 m at 1 m
    heard = GivenAnswer("", objects=(seen("the red mug", found),))
    row = judged(Expectation(objects=("red mug",)), heard, depth=depth, camera_info=info)
    assert row.pairs[0].target_error_m == pytest.approx(0.03, abs=1e-6)
    heard = GivenAnswer("", objects=(seen("the red mug", RED),))
    row = judged(Expectation(objects=("red mug",)), heard, depth=depth, camera_info=info)
    assert row.pairs[0].target_error_m == pytest.approx(0.0, abs=1e-6)


def some_rows() -> list[JudgedAnswer]:
    half = box(0, 0, 5, 10)
    return [
        judged(
            BOTH,
            GivenAnswer(
                "two",
                objects=(
                    seen("red mug", half),
                    seen("blue mug", BLUE),
                    seen("cup", box(0, 18, 3, 20)),
                ),
                times_ms={"read": 10.0, "total": 100.0},
                rss_mb=500.0,
            ),
        ),
        judged(BOTH, GivenAnswer("", objects=(seen("red mug", RED),), times_ms={"total": 300.0})),
        judged(Expectation(objects=()), GivenAnswer("")),
        judged(Expectation(answer=("two",)), GivenAnswer("three")),
    ]  # fmt: skip


def test_metrics_by_hand():
    numbers = flat(measure(some_rows()))
    # IoUs 0.5, 1, 1, 0 over unions of 100 pixels each
    assert numbers["masks.cIoU"] == pytest.approx(250 / 400)
    assert numbers["masks.mIoU"] == pytest.approx(2.5 / 4)
    assert numbers["masks.P@0.5"] == 0.5 and numbers["masks.found"] == 0.75
    assert numbers["masks.false_alarms"] == pytest.approx(1 / 4) and numbers["masks.n"] == 4
    assert numbers["absent.accuracy"] == 1.0 and numbers["answers.match"] == 0.0
    assert numbers["commands.right"] == 0.25 and numbers["commands.n"] == 4
    assert numbers["times_ms.total.p50"] == 200.0 and numbers["times_ms.total.max"] == 300.0
    assert numbers["times_ms.total.p99"] == pytest.approx(298.0)
    assert numbers["times_ms.read.n"] == 1 and numbers["target.mean_m"] is None


def test_rows_survive_the_file(tmp_path):
    for row in some_rows():
        assert from_json(to_json(row)) == row
    with pytest.raises(ResultError, match="expected a line of result"):
        from_json('{"bag": 1}')


def scenario(*thresholds: Threshold) -> Scenario:
    return Scenario("s", (ScenarioCommand("x"),), thresholds=thresholds)


def test_thresholds_decide():
    facts = BagFacts("b", "/b", "00", "", {"in_bag": 5, "used": 3, "dropped": {"busy": 2}}, 1.0)
    good = scenario(Threshold("masks.cIoU", ">=", 0.6), Threshold("frames.dropped_busy", "<=", 2.0))
    summary = summarise(some_rows(), [facts], good, {"mode": "lockstep"})
    assert summary["status"] == "passed" and summary["metrics"]["frames"]["dropped_busy"] == 2
    poor = scenario(Threshold("masks.cIoU", ">", 0.7))
    assert summarise(some_rows(), [facts], poor, {})["status"] == "failed"
    unmeasured = scenario(Threshold("target.mean_m", "<=", 1.0))
    assert summarise(some_rows(), [facts], unmeasured, {})["status"] == "failed"
    broken = BagFacts(**{**vars(facts), "damage": "cut off"})
    assert summarise(some_rows(), [broken], good, {})["status"] == "damaged"
    with pytest.raises(ConfigError, match=r"expected one of masks\.cIoU, .*got 'masks\.ciou'"):
        check_thresholds(scenario(Threshold("masks.ciou", ">", 0.7)))
    check_thresholds(scenario(Threshold("times_ms.read.p90", "<", 5.0)))


# When things are said.


def times_said(commands: list[ScenarioCommand], count: int = 6, **choice: float) -> list[list[int]]:
    counts = FrameCounts()
    stream = (frame(i / 10) for i in range(count))
    moments = due(selected(stream, FrameSelection(**choice), counts), commands, counts)  # type: ignore
    return [[n for n, _ in moment.commands] for moment in moments]


def test_commands_are_said_when_they_are_due():
    commands = [
        ScenarioCommand("once at the start"),
        ScenarioCommand("once between two frames", at_s=0.25),
        ScenarioCommand("always", at_s=0.1, until_s=0.4, every_s=0.0),
        ScenarioCommand("every 0.2 s", every_s=0.2),
        ScenarioCommand("once after the end", at_s=99.0),
    ]
    assert times_said(commands) == [[0, 3], [2], [1, 2, 3], [2], [3], [4]]


def test_frames_are_chosen_and_counted():
    always = [ScenarioCommand("x", at_s=0.2, every_s=0.0)]
    assert times_said(always, start_s=0.1, stop_s=0.5, every_s=0.2) == [[], [0]]
    counts = FrameCounts()
    stream = selected(
        (frame(i / 10) for i in range(6)), FrameSelection(start_s=0.1, limit=2), counts
    )
    assert [d.frame.index for d in due(stream, always, counts)] == [1, 2]
    assert (counts.in_bag, counts.used) == (6, 1)
    assert dict(counts.dropped) == {"not_selected": 4, "no_command": 1}


# Scenarios as people write them.


def written(tmp_path: Path, text: str) -> Scenario:
    (tmp_path / "s.yaml").write_text(text)
    return load_scenario(tmp_path / "s.yaml")


def test_a_scenario_is_read(tmp_path):
    found = written(
        tmp_path,
        """
topics: {image: /camera/image}
frames: {every_s: 1}
truth: {labels: /l, fixed_names: {1: red mug}, tolerance_ms: 5}
commands:
  - {say: the red mug, every_s: 0, expect: {objects: [red mug], answer: "a mug"}}
  - {say: stop, cancel_after_s: 0.2, chat: a, expect: {error: CANCELED}}
thresholds: {masks.cIoU: ">= 0.7", times_ms.total.p90: "< 5e2"}
""",
    )
    assert found.name == "s" and len(found.sha256) == 64
    assert found.frames.every_s == 1.0 and found.truth.fixed_names == {1: "red mug"}
    first, second = found.commands
    assert first.every_s == 0.0 and second.every_s is None and math.isinf(first.until_s)
    assert first.expect == Expectation(objects=("red mug",), answer=("a", "mug"))
    assert second.cancel_after_s == 0.2 and second.expect.error == "CANCELED"
    assert found.thresholds == (
        Threshold("masks.cIoU", ">=", 0.7),
        Threshold("times_ms.total.p90", "<", 500.0),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("commands: []", "expected at least one, or topics.command"),
        ("comands: [{say: x}]", "unknown key 'comands' .did you mean 'commands'"),
        ("commands: [{sey: x}]", r"commands\[0\]: unknown key 'sey' .did you mean 'say'"),
        ("commands: [{say: x, at: 3}]", r"commands\[0\]: unknown key 'at'"),
        ("commands: [{say: x, at_s: -1}]", r"at_s: expected a number of at least 0, got -1"),
        ("commands: [{say: x, at_s: .nan}]", r"at_s: expected a number of at least 0, got nan"),
        ("commands: [{say: x, intent: grab}]", "intent: expected one of ground"),
        ("commands: [{say: x, expect: {objects: red mug}}]", "objects: expected a list of texts"),
        ("commands: [{say: x, expect: {ambiguous: 3}}]", "ambiguous: expected bool, got int 3"),
        ("commands: [{say: x}]\nthresholds: {masks.cIoU: high}", 'expected a rule like ">= 0.7"'),
        ("commands: [{say: x}]\ntruth: {labels: a, sidecar: b}", "expected labels or sidecar"),
        ("[1, 2]", "expected 'key: value' lines, got list"),
        ("a: [", "expected readable YAML"),
    ],
)
def test_mistakes_in_a_scenario_are_named(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        written(tmp_path, text)
    with pytest.raises(ConfigError, match="nothing there"):
        load_scenario(tmp_path / "none.yaml")
