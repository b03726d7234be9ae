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

"""Which sentences are said on which image, when images are looked at one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flmm_ros.replay.recording.bag import Bag
from flmm_ros.replay.recording.recorded_frames import RecordedFrame, frames, recorded_commands
from flmm_ros.replay.scenario import FrameSelection, Scenario, ScenarioCommand


@dataclass
class FrameCounts:
    """What became of the images of a recording.

    dropped: why the others were not used. gaps: used images without what the scenario names for
    them ("truth", "depth"), with the first one's reason in gap_reasons.
    """

    in_bag: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)
    gap_reasons: dict[str, str] = field(default_factory=dict)

    def add_gaps(self, gaps: Mapping[str, str]) -> None:
        """What one used image lacks, and why."""
        for what, reason in gaps.items():
            self.gaps[what] += 1
            self.gap_reasons.setdefault(what, reason)

    def gap_notes(self) -> list[str]:
        """A sentence for each kind of gap."""
        return [
            f"{count} of {self.used} images were judged without {what}: {self.gap_reasons[what]}"
            for what, count in sorted(self.gaps.items())
        ]


@dataclass(frozen=True)
class DueCommands:
    """A frame and the commands to be said on it, by their number."""

    frame: RecordedFrame
    commands: tuple[tuple[int, ScenarioCommand], ...]


def selected(
    stream: Iterator[RecordedFrame], choice: FrameSelection, counts: FrameCounts
) -> Iterator[RecordedFrame]:
    """The frames that the scenario wants looked at; all of them are counted."""
    next_s, taken = choice.start_s, 0
    for frame in stream:
        counts.in_bag += 1
        is_wanted = next_s <= frame.t_s < choice.stop_s
        if not is_wanted or (choice.limit and taken >= choice.limit):
            counts.dropped["not_selected"] += 1
            continue
        # Half a nanosecond: stamps that are exactly every_s apart must not be lost by rounding.
        next_s = frame.t_s + choice.every_s - 5e-10
        taken += 1
        yield frame


def due(
    stream: Iterator[RecordedFrame], commands: Sequence[ScenarioCommand], counts: FrameCounts
) -> Iterator[DueCommands]:
    """What is said on each frame; frames on which nothing is said are counted as dropped.

    A command that is said once is about the newest frame at its time, as on the robot: the last one
    that is not later; the first one, if its time is before all.
    """
    said_s: dict[int, float] = {}
    frame = next(stream, None)
    is_first = True
    while frame is not None:
        following = next(stream, None)
        next_s = float("inf") if following is None else following.t_s
        now = []
        for number, command in enumerate(commands):
            if command.every_s is None:
                is_due = (frame.t_s <= command.at_s or is_first) and command.at_s < next_s
            else:
                waited = frame.t_s - said_s.get(number, float("-inf"))
                is_due = command.at_s <= frame.t_s < command.until_s
                is_due = is_due and waited >= command.every_s - 5e-10
            if is_due:
                said_s[number] = frame.t_s
                now.append((number, command))
        counts.used += bool(now)
        counts.dropped["no_command"] += not now
        yield DueCommands(frame, tuple(now))
        frame, is_first = following, False


def all_commands(bag: Bag, scenario: Scenario) -> tuple[ScenarioCommand, ...]:
    """The scenario's commands, then those that were said while recording."""
    recorded = recorded_commands(bag, scenario.topics)
    if not recorded:
        return scenario.commands
    first = next(frames(bag, scenario), None)
    start_ns = recorded[0][0] if first is None else first.message.log_ns
    said = [ScenarioCommand(text, max(0.0, (log_ns - start_ns) / 1e9)) for log_ns, text in recorded]
    return (*scenario.commands, *said)
