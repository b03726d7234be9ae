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

"""The soak's event log, faults and result, by value; the soak itself is run by `make soak`."""

import json

import numpy as np
import pytest

from benchmarks.soak.image_number import MAX_NUMBER, OpenedImage, number_of, with_number
from flmm_ros.engine.errors import CheckpointError, ConfigError

pytest.importorskip("rclpy")

from benchmarks.soak import report as soak_report
from benchmarks.soak.disturbances import DISTURBANCES, FATAL, DisturbanceResult
from benchmarks.soak.event_log import AnsweredImage, EventLog, PublishedImage, percentile
from benchmarks.soak.faulty_node import Faults, FaultyChat, parse_faults
from benchmarks.soak.result import SoakResult
from benchmarks.soak.soak_process import ProcessSample, growth_percent
from flmm_ros.ros.commands.refusals import refusal_of

PICTURE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


@pytest.mark.parametrize("number", [0, 1, 255, 70_000, MAX_NUMBER])
def test_a_number_in_the_pixels_comes_back_and_touches_two_of_them(number):
    marked = with_number(PICTURE, number)
    assert number_of(marked) == number
    assert (marked != PICTURE).any(axis=2).sum() <= 2
    assert number_of(np.zeros_like(PICTURE)) is None
    with pytest.raises(ValueError, match="expected 0.."):
        with_number(PICTURE, MAX_NUMBER + 1)


def test_faults_by_number():
    assert parse_faults("exception=2, load=3,") == {"exception": 2, "load": 3}
    faults = Faults({"exception": 2, "out_of_memory": 3, "load": 2})
    faults.check_load()
    with pytest.raises(CheckpointError, match="load 2 fails on purpose"):
        faults.check_load()
    faults.check_command()
    with pytest.raises(RuntimeError, match="command 2 fails on purpose"):
        faults.check_command()
    with pytest.raises(RuntimeError) as lack:
        faults.check_command()
    assert refusal_of(lack.value).text.startswith("out of memory: ")


@pytest.mark.parametrize("text", ["exception", "exception=0", "exception=x", "fire=3", "=3"])
def test_a_fault_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="FLMM_FAULTS: expected KIND=N"):
        parse_faults(text)


def test_an_answer_says_which_picture_it_is_about():
    from flmm_ros.engine.answer import Answer, Intent

    class Chat:
        def say(self, command, intent=None, on_stage=None):
            return Answer(f"here is {command}.", (), Intent.ANSWER)

    opened = OpenedImage(7, 12.345678)
    text = FaultyChat(Chat(), Faults({}), opened).say("the mug").text
    assert text == "here is the mug. [frame 7 opened at 12.345678]"
    assert OpenedImage.of(text) == opened
    assert OpenedImage.of("here is the mug.") is None


def filled_log():
    log = EventLog(max_age_s=1.0)
    for number in range(5):
        log.record_image(
            PublishedImage(number, stamp_ns=number * 100, published_s=float(number), clock=0)
        )
    return log


def seen(number, opened_s, stamp_ns=None):
    return AnsweredImage(number, opened_s, number * 100 if stamp_ns is None else stamp_ns)


def test_a_fresh_answer_is_recorded_once():
    log = filled_log()
    log.record_sent("a", "goal", "the mug", 4.0)
    assert log.open_commands() == ["a"]
    log.record_topic_answer("a", "the mug", "OK", 4.4, seen(4, 4.1))
    log.record_result("a", "OK", 4.5, seen(4, 4.1))
    count = log.totals()
    assert (count.sent, count.answered, count.lost, count.unexpected) == (1, 1, [], {})
    assert count.answer_s == [0.5]
    assert not log.stale.by_reason
    assert log.first_ok_since(3.9) == 4.5 and log.first_ok_since(4.1) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (seen(2, 4.1), "too old"),
        (seen(4, 4.1, stamp_ns=300), "header of another picture"),
        (seen(99, 4.1), "a picture never shown"),
        (None, "no picture named"),
    ],
)
def test_a_stale_answer_by_its_reason(answer, reason):
    log = filled_log()
    log.record_sent("a", "goal", "the mug", 4.0)
    log.record_result("a", "OK", 4.5, answer)
    assert dict(log.stale.by_reason) == {reason: 1}


def test_a_picture_from_before_a_jump_or_a_pause_is_stale_though_it_is_young():
    log = filled_log()
    log.record_clock_jump(4.1)
    log.record_sent("a", "goal", "the mug", 4.2)
    log.record_result("a", "OK", 5.0, seen(4, 4.2))  # within what two clocks may differ
    assert not log.stale.by_reason
    log.record_sent("b", "goal", "the mug", 4.6)
    log.record_result("b", "OK", 5.0, seen(4, 4.6))
    assert dict(log.stale.by_reason) == {"from before a jump of the clock": 1}
    log = filled_log()
    log.record_inactive(4.1, 4.3)
    log.record_sent("a", "goal", "the mug", 4.2)
    log.record_result("a", "OK", 5.0, seen(4, 4.35))
    assert dict(log.stale.by_reason) == {"from before a pause": 1}


def test_a_refusal_is_no_stale_answer():
    log = filled_log()
    log.record_sent("a", "topic", "the mug", 4.0)
    log.record_topic_answer("topic-1", "the mug", "IMAGE_TOO_OLD", 4.5, None)
    assert log.totals().refused == {"IMAGE_TOO_OLD": 1} and not log.stale.by_reason


def test_topic_commands_of_one_text_are_matched_in_order_and_one_too_many_is_noticed():
    log = filled_log()
    for key in ("a", "b"):
        log.record_sent(key, "topic", "the mug", 4.0)
    log.record_topic_answer("topic-1", "the mug", "BUSY", 4.1, None)
    assert log.open_commands() == ["b"]
    log.record_topic_answer("topic-2", "the mug", "BUSY", 4.2, None)
    log.record_topic_answer("topic-3", "the mug", "BUSY", 4.3, None)
    assert log.totals().unexpected == {"answer without a command": 1}


def test_a_second_result_and_a_second_answer_on_the_topic_are_noticed():
    log = filled_log()
    log.record_sent("a", "goal", "the mug", 4.0)
    for _ in range(2):
        log.record_result("a", "BUSY", 4.1, None)
        log.record_topic_answer("a", "the mug", "BUSY", 4.1, None)
    assert log.totals().unexpected == {
        "second result": 1,
        "a goal's answer twice on the topic": 1,
    }


def test_a_kill_excuses_what_the_process_cannot_answer_and_nothing_else():
    log = filled_log()
    for key, at_s in (("old", 1.0), ("new", 3.0)):
        log.record_sent(key, "topic", "the mug", at_s)
    log.record_restart(unanswerable_since_s=2.0)  # asked to end at 2: `old` had to be answered
    count = log.totals()
    assert count.refused == {"NODE_KILLED": 1}
    assert count.lost == ["topic 'the mug' in life 1"]
    log.record_topic_answer("topic-1", "the mug", "OK", 5.0, seen(4, 4.5))  # closes `old`
    log.record_topic_answer(
        "topic-2", "the mug", "BUSY", 5.0, None
    )  # given up, but the new process had it
    assert log.totals().lost == [] and log.totals().unexpected == {}


def test_cancel_latency_is_from_asking_to_the_end():
    log = filled_log()
    for key, code in (("a", "CANCELED"), ("b", "BUSY")):
        log.record_sent(key, "goal", "the mug", 4.0)
        log.record_cancel(key, 4.25)
        log.record_result(key, code, 4.375, None)
    assert log.totals().cancel_ms == [125.0]
    assert percentile([1.0, 3.0], 50) == 2.0 and np.isnan(percentile([], 50))


def samples(rss, life=2):
    return [ProcessSample(float(i), life, value, 0.0) for i, value in enumerate(rss)]


def test_memory_growth_is_that_of_the_last_life_after_its_warm_up():
    warm_up = [10.0] * 60
    steady = [100.0] * 100
    assert growth_percent(samples(warm_up + steady)) == 0.0
    assert growth_percent(samples(warm_up + steady[:50] + [103.0] * 50)) == pytest.approx(3.0)
    first_life = samples([500.0] * 100, life=1)
    assert growth_percent(first_life + samples(warm_up + steady)) == 0.0
    assert np.isnan(growth_percent(samples(warm_up + [100.0] * 20)))
    assert np.isnan(growth_percent([]))


def outcome(**fields):
    log = filled_log()
    for number in range(4):
        log.record_sent(f"{number}", "goal", "the mug", 10.0 + number)
        log.record_cancel(f"{number}", 10.5 + number)
        log.record_result(f"{number}", "CANCELED", 10.6 + number, None)
    values = {
        "start_s": 10.0,
        "minutes": 0.5,
        "settings": {},
        "machine": {},
        "count": log.totals(),
        "stale": log.stale,
        "events": [DisturbanceResult("flood", 12.0, 0.1, None, 0.5)],
        "samples": samples([100.0] * 200, life=1),
        "unanswered_probes": 0,
    }
    return SoakResult(**{**values, **fields})


def missed(found):
    return [check.name for check in found.checks if not check.is_met]


def test_floors():
    assert missed(outcome()) == []
    unnamed = DisturbanceResult("camera hangs", 12.0, 0.1, "", 0.5)
    stuck = DisturbanceResult("camera hangs", 12.0, 0.1, "problem: the newest image", None)
    assert missed(outcome(events=[unnamed])) == ["disturbances not named by diagnostics"]
    assert missed(outcome(events=[stuck])) == ["disturbances not recovered from"]
    growing = samples(np.linspace(100.0, 110.0, 200), life=1)
    assert missed(outcome(samples=growing)) == ["memory growth after warm-up, %"]
    log = filled_log()
    log.record_sent("a", "goal", "the mug", 10.0)
    assert missed(outcome(count=log.totals())) == ["commands lost", "cancel latency p99, ms"]


def test_a_report_is_written_also_of_what_was_not_measured(tmp_path):
    soak_report.write(outcome(samples=[]), tmp_path)
    content = json.loads((tmp_path / "soak.json").read_text())
    growth = next(c for c in content["checks"] if c["name"].startswith("memory"))
    assert growth["value"] is None and growth["is_met"]
    assert content["is_passed"] and content["events"][0]["at_s"] == 2.0
    assert content["commands"]["cancel_ms"] == pytest.approx([100.0] * 4)
    assert (tmp_path / "soak.png").stat().st_size > 5000


def test_what_ends_a_process_is_among_the_disturbances():
    assert set(FATAL) <= set(DISTURBANCES) and len(DISTURBANCES) == 11
