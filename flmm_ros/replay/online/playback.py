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

"""Plays a recording into the running node, with its clock, and measures what a robot would see.

Images go out at the times at which they were recorded, divided by the rate; sentences are sent as
goals at theirs. Each answer is judged on the image it is about, found by its stamp.
"""

from __future__ import annotations

import heapq
import queue
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flmm_ros.msg import GroundedAnswer
from flmm_ros.replay.judging.judge import AnsweredObject, AnswerJudge, GivenAnswer
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.judging.metrics import spread
from flmm_ros.replay.online.node_link import NodeLink, OnlineError, SentGoal
from flmm_ros.replay.recording.bag import Bag, RecordedMessage
from flmm_ros.replay.recording.bag_topics import image_topic
from flmm_ros.replay.recording.recorded_frames import RecordedFrame, frames
from flmm_ros.replay.runs.process_usage import ProcessUsage
from flmm_ros.replay.runs.schedule import FrameCounts, all_commands, selected
from flmm_ros.replay.scenario import Expectation, Scenario, ScenarioCommand
from flmm_ros.ros.client.client import GroundingResult, result_from_msg

TICK_S = 0.01
IDLE_S = 0.02  # judging an answer may take this long; it waits for a gap in the recording
_NODE_TOPICS = {"depth": "depth", "camera_info": "camera_info"}
_ALSO_PLAYED = ("/tf", "/tf_static")


@dataclass(frozen=True)
class Playback:
    """How a recording is played. answer_s: how long the last answers are waited for."""

    rate: float = 1.0
    start_s: float = 120.0
    answer_s: float = 60.0


class OnlineReplay:
    """One recording, played once. `late_ms` says how well it kept its own times."""

    def __init__(
        self,
        bag: Bag,
        scenario: Scenario,
        link: NodeLink,
        counts: FrameCounts,
        usage: ProcessUsage,
        playing: Playback,
    ) -> None:
        self._bag, self._scenario, self._link = bag, scenario, link
        self._counts, self._usage, self._playing = counts, usage, playing
        self._judge = AnswerJudge(bag.name)
        self._commands: tuple[ScenarioCommand, ...] = ()
        self._frames: dict[int, RecordedFrame] = {}  # by stamp: those an answer may still be about
        self._newest_ns = 0
        self._zero_ns = 0  # when the first image of the recording was recorded
        self._said_on: dict[int, int] = {}  # stamp of the newest image when it was said last
        self._first_said_s: dict[int, float] = {}  # when each command was said for the first time
        self._has_mask: set[int] = set()
        self._next_s: dict[int, float] = {}  # seconds of recording when each command is due
        self._asked: list[SentGoal] = []
        self._used: set[int] = set()
        self._gaps: dict[int, dict[str, str]] = {}  # by stamp: what judged images lack
        self._busy: list[tuple[float, float]] = []  # monotonic seconds in which goals were open
        self._played: list[tuple[int, float]] = []  # stamp, monotonic seconds
        self._late_ms: list[float] = []
        self._unjudged: deque[tuple[SentGoal, GroundedAnswer, RecordedFrame]] = deque()

    @property
    def late_ms(self) -> dict[str, float | None]:
        """How much later than planned images went out."""
        return spread(self._late_ms)

    def rows(self) -> Iterator[JudgedAnswer]:
        """Plays everything and yields answers in the order in which they came.

        Raises:
            OnlineError: the node cannot be used, or went away.
        """
        self._commands = all_commands(self._bag, self._scenario)
        self._next_s = {n: c.at_s for n, c in enumerate(self._commands)}
        events = self._events()
        first = next(events, None)
        if first is None:
            return
        start_ns = first[0]
        self._connect(start_ns)
        begin_s = time.monotonic()
        upcoming: tuple[int, RecordedMessage, RecordedFrame | None] | None = first
        while upcoming is not None:
            at_s = (upcoming[0] - start_ns) / 1e9 / self._playing.rate
            while (now_s := time.monotonic() - begin_s) < at_s:
                yield from self._between(start_ns, now_s, at_s)
            begin_s += self._play(upcoming, begin_s + at_s)
            if upcoming[2] is not None:  # not between an image and the depth of the same moment
                self._say(upcoming[0])
            upcoming = next(events, None)
        yield from self._finish(start_ns, begin_s)
        self._count_dropped()

    def _events(self) -> Iterator[tuple[int, RecordedMessage, RecordedFrame | None]]:
        """Everything that is played, by time: images with what is known about them."""
        topics = self._scenario.topics
        others = [t for t in (topics.depth, topics.camera_info) if t]
        others += [t for t in _ALSO_PLAYED if t in self._bag.topics]
        chosen = selected(frames(self._bag, self._scenario), self._scenario.frames, self._counts)
        images = ((f.message.log_ns, 1, f.message, f) for f in chosen)
        rest = ((m.log_ns, 0, m, None) for m in self._bag.messages(others)) if others else iter(())
        merged = heapq.merge(rest, images, key=lambda event: event[:2])
        return ((log_ns, message, frame) for log_ns, _, message, frame in merged)

    def _connect(self, start_ns: int) -> None:
        link, topics = self._link, self._scenario.topics
        source = image_topic(self._bag, self._scenario)
        kind = self._bag.topics[source].type
        link.wait_until_ready(start_ns, self._playing.start_s)
        self._names = {source: "image"}
        for field_name, name in _NODE_TOPICS.items():
            if topic := getattr(topics, field_name):
                self._names[topic] = name
        self._names |= {t: t for t in _ALSO_PLAYED if t in self._bag.topics}
        for topic, name in list(self._names.items()):
            if not link.advertise(name, self._bag.topics[topic].type):
                del self._names[topic]
        if source not in self._names:
            raise OnlineError(f"{kind}: expected its package installed here, it is not")
        settings = link.parameters(["image_qos", "depth"])
        is_auto, timeout_s = settings.get("image_qos") == "auto", self._playing.start_s
        has_depth = settings.get("depth") not in ("off", False)  # False: YAML's word for off
        for topic, name in self._names.items():
            if name == "image" or (name in _NODE_TOPICS and has_depth):
                kind = self._bag.topics[topic].type
                link.wait_for_listener(name, kind, start_ns, timeout_s, reliably=is_auto)

    def _play(
        self, event: tuple[int, RecordedMessage, RecordedFrame | None], due_s: float
    ) -> float:
        """Plays one message. Returns for how many seconds the recording stood still for that."""
        log_ns, message, frame = event
        self._link.tick(log_ns)
        if frame is None:
            if message.topic in self._names:
                self._link.play(self._names[message.topic], message.data)
            return 0.0
        still_s, now_s = 0.0, time.monotonic()
        if self._played:
            self._link.play("image", message.data)
        else:
            self._zero_ns = log_ns - int(frame.t_s * 1e9)
            still_s = self._link.wait_until_heard("image", message.data, self._playing.start_s)
        self._late_ms.append(1e3 * (now_s - due_s))
        self._played.append((frame.stamp_ns, time.monotonic()))
        self._newest_ns = frame.stamp_ns
        self._frames[frame.stamp_ns] = replace(frame, image=None)  # the picture is not needed
        self._forget()
        return still_s

    def _between(self, start_ns: int, now_s: float, next_s: float) -> Iterator[JudgedAnswer]:
        """What is done until the next message: the clock, sentences, cancels, verdicts."""
        now_ns = start_ns + int(now_s * self._playing.rate * 1e9)
        self._link.tick(now_ns)
        self._say(now_ns)
        self._cancel()
        self._collect()
        if next_s - now_s > IDLE_S:
            yield from self._judged()
        time.sleep(max(0.0, min(TICK_S, next_s - now_s)))

    def _say(self, now_ns: int) -> None:
        """Sends what is due. A repeated command waits for its own last answer and a new image."""
        bag_s = (now_ns - self._zero_ns) / 1e9
        for number, command in enumerate(self._commands):
            due_s = self._next_s.get(number)
            is_open = any(goal.number == number for goal in self._asked)
            is_old = self._said_on.get(number, 0) == self._newest_ns  # also before the first image
            if due_s is None or bag_s < due_s or is_open or is_old:
                continue
            if bag_s >= command.until_s:
                del self._next_s[number]
                continue
            if command.every_s is None:
                del self._next_s[number]
            else:
                self._next_s[number] = bag_s + command.every_s
            goal = SentGoal(number, time.monotonic(), self._newest_ns)
            if command.cancel_after_s is not None:
                goal.cancel_at_s = goal.sent_s + command.cancel_after_s
            self._first_said_s.setdefault(number, goal.sent_s)
            self._said_on[number] = self._newest_ns
            self._asked.append(goal)
            self._link.ask(
                goal,
                command.say,
                intent=command.intent.value if command.intent else "",
                chat_id=command.chat,
            )

    def _cancel(self) -> None:
        for goal in self._asked:
            if goal.is_cancel_due:
                self._link.cancel(goal)

    def _collect(self) -> None:
        """Takes in the answers that have come, each with the frame it is about."""
        while True:
            try:
                goal = self._link.answered.get_nowait()
            except queue.Empty:
                return
            self._asked.remove(goal)
            self._busy.append((goal.sent_s, goal.answered_s))
            if goal.answer is None:
                text = self._commands[goal.number].say
                raise OnlineError(f"{text!r}: expected an answer, got {goal.error}")
            stamp = goal.answer.header.stamp
            stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
            stamp_ns = stamp_ns or goal.newest_ns  # a driver that leaves stamps 0 tells no more
            if goal.answer.error_code == GroundedAnswer.OK:
                self._used.add(stamp_ns)
            frame = self._frames.get(stamp_ns) or self._frames[goal.newest_ns]
            self._unjudged.append((goal, goal.answer, frame))

    def _judged(self) -> Iterator[JudgedAnswer]:
        """The rows of the answers that have come."""
        while self._unjudged:
            yield self._row(*self._unjudged.popleft())

    def _row(self, goal: SentGoal, answer: GroundedAnswer, frame: RecordedFrame) -> JudgedAnswer:
        command, result = self._commands[goal.number], result_from_msg(answer)
        times = dict(result.timings_ms) if result.is_ok else {}
        times["answer"] = 1e3 * (goal.answered_s - goal.sent_s)
        if goal.cancelled_s is not None:
            times["cancel"] = 1e3 * (goal.answered_s - goal.cancelled_s)
        if result.is_ok:
            times["wait"] = float(answer.wait_ms)
            times["image_age"] = 1e3 * result.image_age_s
            if goal.number not in self._has_mask and result.present:
                self._has_mask.add(goal.number)
                first_s = self._first_said_s[goal.number]
                times["first_mask"] = 1e3 * (goal.answered_s - first_s)
        expect = command.expect
        if goal.cancelled_s is not None and result.error == "CANCELED":
            expect = Expectation(error="CANCELED")
        given = given_answer_from(result, times, self._usage.rss_mb())
        row = self._judge.judge(frame, goal.number, command.say, expect, given)
        self._gaps[frame.stamp_ns] = self._judge.gaps_of(frame)
        return row

    def _finish(self, start_ns: int, begin_s: float) -> Iterator[JudgedAnswer]:
        """The answers that are still on their way; the clock goes on for the node's sake."""
        end_s = time.monotonic() + self._playing.answer_s
        self._collect()
        yield from self._judged()
        while self._asked:
            if time.monotonic() > end_s:
                texts = ", ".join(repr(self._commands[g.number].say) for g in self._asked)
                raise OnlineError(
                    f"expected answers within {self._playing.answer_s:g} s, none came to {texts}"
                )
            self._link.check()
            bag_s = (time.monotonic() - begin_s) * self._playing.rate
            self._link.tick(start_ns + int(bag_s * 1e9))
            self._cancel()
            time.sleep(TICK_S)
            self._collect()
            yield from self._judged()

    def _forget(self) -> None:
        """Drops frames no answer can be about: older than the oldest open question's newest.

        A conversation stays with its first image, so its frames are kept to the end.
        """
        oldest_ns = min((goal.newest_ns for goal in self._asked), default=self._newest_ns)
        is_chat = any(command.chat for command in self._commands)
        for stamp_ns in [s for s in self._frames if s < oldest_ns]:
            if not is_chat:
                del self._frames[stamp_ns]

    def _count_dropped(self) -> None:
        """Why images were not used: nothing was asked, or the node was still at an older one."""
        self._counts.used = len(self._used)
        for stamp_ns in sorted(self._used & set(self._gaps)):
            self._counts.add_gaps(self._gaps[stamp_ns])
        for stamp_ns, played_s in self._played:
            if stamp_ns in self._used:
                continue
            is_busy = any(start <= played_s <= end for start, end in self._busy)
            self._counts.dropped["busy" if is_busy else "no_command"] += 1


def given_answer_from(
    result: GroundingResult, times_ms: dict[str, float], rss_mb: float | None
) -> GivenAnswer:
    """The node's answer as it is judged."""
    found: Sequence[AnsweredObject] = [
        AnsweredObject(o.phrase, o.score, o.is_present, o.is_ambiguous, o.box_xyxy_px, o.mask)
        for o in result.objects
    ]
    return GivenAnswer(
        text=result.text,
        error=result.error,
        error_text=result.error_text,
        intent=result.intent,
        objects=tuple(found),
        times_ms=times_ms,
        rss_mb=rss_mb,
    )
