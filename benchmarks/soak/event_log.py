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

"""The event log of a soak: every command sent, what became of it, and every image published.

All times are monotonic seconds of one machine, the same in every process on it. Safe to use from
several threads.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

OK, NODE_KILLED, NO_NODE, CANCELED = "OK", "NODE_KILLED", "NO_NODE", "CANCELED"
IN_FLIGHT_S = 0.3  # sent this shortly before a node was told to end, a command may not have arrived
TOLERANCE_S = 0.25  # between the node's look at its clock and the engine's `open` on a busy machine
MAX_STALE_EXAMPLES = 20


@dataclass
class SentCommand:
    """One command. `outcome` is OK, a code's name, or one of the names above; "" while it is open.

    cancel_s: when its cancel was requested. life: which process of the node it was sent to.
    """

    key: str
    kind: str  # goal or topic
    text: str
    sent_s: float
    life: int
    outcome: str = ""
    answered_s: float | None = None
    cancel_s: float | None = None
    times_on_topic: int = 0


@dataclass(frozen=True)
class PublishedImage:
    """One image that was published. clock: how often the clock had jumped back before it."""

    number: int
    stamp_ns: int
    published_s: float
    clock: int


@dataclass(frozen=True)
class AnsweredImage:
    """What an answer says about the image it was computed from."""

    number: int
    opened_s: float
    stamp_ns: int  # of the answer's header


@dataclass
class StaleAnswers:
    """Answers about an image that should not have been used, by reason, with some examples."""

    by_reason: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, reason: str, example: str) -> None:
        """Counts one."""
        self.by_reason[reason] += 1
        if len(self.examples) < MAX_STALE_EXAMPLES:
            self.examples.append(f"{reason}: {example}")


class EventLog:
    """Records every command, its answer, and every image.

    Args:
        max_age_s: images older than this when the work begins must be refused by the node.
    """

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._sent: dict[str, SentCommand] = {}
        self._open_topics: defaultdict[str, list[str]] = defaultdict(list)  # text -> keys, in order
        self._late_topics: Counter[str] = Counter()  # texts whose answers may still arrive
        self._frames: dict[int, PublishedImage] = {}
        self._pauses: list[tuple[float, float]] = []  # inactive from, until
        self._jumps_s: list[float] = []
        self._life = 1
        self._unexpected: Counter[str] = Counter()
        self.stale = StaleAnswers()

    def record_sent(self, key: str, kind: str, text: str, now_s: float) -> SentCommand:
        """Records a command before it is sent."""
        with self._lock:
            sent = self._sent[key] = SentCommand(key, kind, text, now_s, self._life)
            if kind == "topic":
                self._open_topics[text].append(key)
            return sent

    def record_cancel(self, key: str, now_s: float) -> None:
        """Records that its cancel is being requested."""
        with self._lock:
            self._sent[key].cancel_s = now_s

    def record_image(self, frame: PublishedImage) -> None:
        """Records an image before it is published."""
        with self._lock:
            self._frames[frame.number] = frame

    def record_clock_jump(self, now_s: float) -> None:
        """Records that the clock has jumped back."""
        with self._lock:
            self._jumps_s.append(now_s)

    def record_inactive(self, from_s: float, until_s: float) -> None:
        """The node was inactive in between: no image from before may be used after it."""
        with self._lock:
            self._pauses.append((from_s, until_s))

    def record_restart(self, unanswerable_since_s: float) -> None:
        """A new process of the node is up. Commands sent to the previous process after
        `unanswerable_since_s` and still open are recorded as NODE_KILLED.

        A killed process answers nothing: give 0. One that was asked to end has to answer what it
        had: give the time at which it was asked.
        """
        with self._lock:
            for sent in self._sent.values():
                if not sent.outcome and sent.sent_s >= unanswerable_since_s:
                    self._close(sent, NODE_KILLED, None)
                    if sent.kind == "topic":
                        self._late_topics[sent.text] += 1
            self._life += 1

    def record_result(self, key: str, code: str, now_s: float, seen: AnsweredImage | None) -> None:
        """Records the result of a goal, or the refusal of a client that found no node."""
        with self._lock:
            sent = self._sent.get(key)
            if sent is None or sent.outcome not in ("", NODE_KILLED):
                self._unexpected["second result" if sent else "result of an unknown goal"] += 1
                return
            self._close(sent, code, now_s)
            self._check(sent, code, seen)

    def record_topic_answer(
        self, command_id: str, text: str, code: str, now_s: float, seen: AnsweredImage | None
    ) -> None:
        """Records an answer on the grounding topic: of a goal, by its id, or of a topic command."""
        with self._lock:
            if not command_id.startswith("topic-"):
                sent = self._sent.get(command_id)
                if sent is not None:  # else a goal of somebody else
                    sent.times_on_topic += 1
                    if sent.times_on_topic > 1:
                        self._unexpected["a goal's answer twice on the topic"] += 1
                return
            keys = self._open_topics[text]
            if not keys and self._late_topics[text]:
                self._late_topics[text] -= 1  # it started before `record_restart`
                return
            if not keys:
                self._unexpected["answer without a command"] += 1
                return
            sent = self._sent[keys[0]]
            self._close(sent, code, now_s)
            self._check(sent, code, seen)

    def _close(self, sent: SentCommand, outcome: str, now_s: float | None) -> None:
        sent.outcome, sent.answered_s = outcome, now_s
        if sent.kind == "topic" and sent.key in self._open_topics[sent.text]:
            self._open_topics[sent.text].remove(sent.key)

    def _check(self, sent: SentCommand, code: str, seen: AnsweredImage | None) -> None:
        """Checks that an answer is about an image that was fresh when the work began."""
        if code != OK:
            return
        if seen is None:
            self.stale.add("no picture named", sent.text)
            return
        frame = self._frames.get(seen.number)
        if frame is None:
            self.stale.add("a picture never shown", f"{sent.text!r}, frame {seen.number}")
            return
        age_s = seen.opened_s - frame.published_s
        what = f"{sent.text!r}, frame {seen.number}, {age_s:.3f} s old"
        if frame.stamp_ns != seen.stamp_ns:
            self.stale.add("header of another picture", what)
        if age_s > self._max_age_s + TOLERANCE_S:
            self.stale.add("too old", what)
        opened_s = seen.opened_s - TOLERANCE_S
        if frame.clock < sum(jump_s < opened_s for jump_s in self._jumps_s):
            self.stale.add("from before a jump of the clock", what)
        if any(frame.published_s < a and b < seen.opened_s for a, b in self._pauses):
            self.stale.add("from before a pause", what)

    def open_commands(self) -> list[str]:
        """Keys of the commands that are not answered yet."""
        with self._lock:
            return [s.key for s in self._sent.values() if not s.outcome]

    def first_ok_since(self, since_s: float) -> float | None:
        """When the first command that was sent after `since_s` was answered OK."""
        with self._lock:
            times = [
                s.answered_s
                for s in self._sent.values()
                if s.outcome == OK and s.sent_s >= since_s and s.answered_s is not None
            ]
            return min(times, default=None)

    def totals(self) -> CommandTotals:
        """Totals of everything so far."""
        with self._lock:
            sent = list(self._sent.values())
            outcomes = Counter(s.outcome for s in sent if s.outcome)
            latencies = [
                s.answered_s - s.cancel_s
                for s in sent
                if s.outcome == CANCELED and s.cancel_s is not None and s.answered_s is not None
            ]
            return CommandTotals(
                sent=len(sent),
                sent_by_topic=sum(s.kind == "topic" for s in sent),
                answered=outcomes[OK],
                refused={k: n for k, n in sorted(outcomes.items()) if k != OK},
                lost=[f"{s.kind} {s.text!r} in life {s.life}" for s in sent if not s.outcome],
                unexpected=dict(self._unexpected),
                cancel_ms=[1e3 * s for s in latencies],
                answer_s=[
                    s.answered_s - s.sent_s for s in sent if s.outcome == OK and s.answered_s
                ],
                frames=len(self._frames),
                timeline=[(s.sent_s, s.outcome) for s in sent],
            )


@dataclass(frozen=True)
class CommandTotals:
    """Totals over a soak. lost: commands that were never answered. unexpected: answers without a
    command, or a second one. cancel_ms: from requesting a cancel to the end of the goal, of those
    that it ended. timeline: when each was sent, and its outcome."""

    sent: int
    sent_by_topic: int
    answered: int
    refused: dict[str, int]
    lost: list[str]
    unexpected: dict[str, int]
    cancel_ms: list[float]
    answer_s: list[float]
    frames: int
    timeline: list[tuple[float, str]]


def percentile(values: Sequence[float], percent: float) -> float:
    """Of no values: NaN."""
    return float(np.percentile(values, percent)) if len(values) else float("nan")
