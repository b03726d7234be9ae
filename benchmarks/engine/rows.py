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

"""From measured rounds to the rows of the table.

Every number is a median over the rounds; a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.engine.models import Shape

RoundSeconds = Mapping[str, Mapping[str, float]]
STAGES = ("encode", "generate", "read", "decode", "see", "refine")
HEADS = ("decode", "see", "refine")
BASELINE_WAYS = ("one pass", "two passes")


@dataclass(frozen=True)
class ModelMeasurement:
    """One model's rounds: seconds of commands and forwards, and peak MiB by way."""

    name: str
    shape: Shape
    commands: Sequence[RoundSeconds]
    forwards: Sequence[RoundSeconds]
    peaks_mib: Mapping[str, float]


@dataclass(frozen=True)
class BenchmarkRow:
    """One line of the table. goal: what the value has to be, at least or at most."""

    section: str
    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = True

    @property
    def holds(self) -> bool | None:
        """None where there is no goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def rows_of(model: ModelMeasurement) -> list[BenchmarkRow]:
    """All numbers of one model, in the order of the table."""
    return [
        *_stage_rows(model.commands),
        *_command_rows(model.commands, is_tiled=model.shape.family == "llava_next"),
        *_phrase_rows(model.commands),
        *_reading_rows(model.commands, model.forwards),
        *_memory_rows(model.peaks_mib),
    ]


def seconds(rounds: Sequence[RoundSeconds], command: str, *stages: str) -> list[float]:
    """What some stages of a command took together, in every round; without stages all of it."""
    return [sum(r[command].get(s, 0.0) for s in stages or ("total",)) for r in rounds]


def _sums(*terms: Sequence[float]) -> list[float]:
    return [sum(term) for term in zip(*terms, strict=True)]


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def _stage_rows(rounds: Sequence[RoundSeconds]) -> Iterator[BenchmarkRow]:
    for stage in STAGES:
        spent = statistics.median(seconds(rounds, "question", stage))
        yield BenchmarkRow("a question on a new image", stage, 1e3 * spent, "ms")


def better_baseline(rounds: Sequence[RoundSeconds]) -> str:
    """The way in which the baseline answers questions faster, by its median."""
    return min(
        BASELINE_WAYS,
        key=lambda way: statistics.median(seconds(rounds, f"baseline question, {way}")),
    )


def _command_rows(rounds: Sequence[RoundSeconds], *, is_tiled: bool) -> Iterator[BenchmarkRow]:
    """The goals against the baseline are those of a question."""
    first_goal, five_goal = (3.0, 8.0) if is_tiled else (1.3, 4.0)
    section, way = "commands: question", better_baseline(rounds)
    first, again = seconds(rounds, "question"), seconds(rounds, "question again")
    baseline = seconds(rounds, f"baseline question, {way}")
    yield from _compared(section, first, again, baseline, first_goal, five_goal)
    for each in BASELINE_WAYS:
        spent = statistics.median(seconds(rounds, f"baseline question, {each}"))
        yield BenchmarkRow(section, f"baseline in {each}", spent, "s")
    yield from _limit_rows(section, first, seconds(rounds, "limit question"), 1.15)
    section = "commands: 1 phrase"
    first, again = seconds(rounds, "1 phrase"), seconds(rounds, "1 phrases again")
    baseline = seconds(rounds, "baseline 1 phrase")
    yield from _compared(section, first, again, baseline)
    yield BenchmarkRow(section, "baseline / again", _ratio(baseline, again), "x")
    yield BenchmarkRow(section, "first / again", _ratio(first, again), "x", 5.0, at_most=False)
    yield from _limit_rows(section, first, seconds(rounds, "limit 1 phrase"), 1.10)


def _limit_rows(
    section: str, ours: Sequence[float], limit: Sequence[float], goal: float
) -> Iterator[BenchmarkRow]:
    """Beside a plain forward of the same tokens and SAM's image encoder."""
    yield BenchmarkRow(section, "limit: plain forward + SAM", statistics.median(limit), "s")
    yield BenchmarkRow(section, "first / limit", _ratio(ours, limit), "x", goal)


def _compared(
    section: str,
    first: Sequence[float],
    again: Sequence[float],
    baseline: Sequence[float],
    first_goal: float | None = None,
    five_goal: float | None = None,
) -> Iterator[BenchmarkRow]:
    yield BenchmarkRow(section, "first", statistics.median(first), "s")
    yield BenchmarkRow(section, "again on that image", statistics.median(again), "s")
    yield BenchmarkRow(section, "baseline", statistics.median(baseline), "s")
    ratio = _ratio(baseline, first)
    yield BenchmarkRow(section, "baseline / first", ratio, "x", first_goal, at_most=False)
    # The baseline remembers nothing: five of its commands take five times as long as one.
    theirs, ours = _sums(*[baseline] * 5), _sums(first, *[again] * 4)
    name = "five on one image: baseline / ours"
    yield BenchmarkRow(section, name, _ratio(theirs, ours), "x", five_goal, at_most=False)


def _phrase_rows(rounds: Sequence[RoundSeconds]) -> Iterator[BenchmarkRow]:
    section = "phrases"
    known = {n: seconds(rounds, f"{n} phrases again") for n in (1, 4, 8)}
    image = seconds(rounds, "1 phrase", "encode", "see")
    new = {n: _sums(image, spent) for n, spent in known.items()}
    for where, spent in (("new", new), ("known", known)):
        for count in (1, 4, 8):
            median = statistics.median(spent[count])
            yield BenchmarkRow(section, f"{count}, {where} image", median, "s")
        ratio = _ratio(spent[8], spent[1])
        yield BenchmarkRow(section, f"8 / 1, {where} image", ratio, "x", 1.5)
    baseline = seconds(rounds, "baseline 8 phrases")
    yield BenchmarkRow(section, "8, baseline", statistics.median(baseline), "s")
    yield BenchmarkRow(section, "8, new image: baseline / ours", _ratio(baseline, new[8]), "x")


def _reading_rows(
    commands: Sequence[RoundSeconds], forwards: Sequence[RoundSeconds]
) -> Iterator[BenchmarkRow]:
    section = "answer first, then read"
    read = seconds(commands, "question", "read")
    for where, stages, goal in (
        ("new", ("encode", "generate"), 1.05),
        ("known", ("generate",), None),
    ):
        answer = seconds(commands, "question", *stages)
        name = f"answer and read / answer, {where} image"
        yield BenchmarkRow(section, name, _ratio(_sums(answer, read), answer), "x", goal)
    heads = statistics.median(seconds(commands, "question", *HEADS))
    yield BenchmarkRow(section, "heads, 2 phrases, with SAM's image encoder", heads, "s")
    section, plain = "one forward of image and phrase", seconds(forwards, "plain SDPA")
    for way, goal in (("recording rows", 1.03), ("eager, all kept", None)):
        ratio = _ratio(seconds(forwards, way), plain)
        yield BenchmarkRow(section, f"{way} / plain SDPA", ratio, "x", goal)


def _memory_rows(peaks: Mapping[str, float]) -> Iterator[BenchmarkRow]:
    section = "peak memory above the loaded model, 1 phrase"
    for way, mib in peaks.items():
        yield BenchmarkRow(section, way, mib, "MiB")
    plain, engine, baseline = (peaks[k] for k in ("plain SDPA with cache", "engine", "baseline"))
    yield BenchmarkRow(section, "engine / baseline", 100 * engine / baseline, "%", 3.0)
    beyond = 100 * max(0.0, engine - plain) / max(1e-9, baseline - plain)
    yield BenchmarkRow(section, "the same, above plain SDPA with cache", beyond, "%", 3.0)
