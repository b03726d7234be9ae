"""From measured rounds to one table and a JSON that says on what, and with what, it was measured.

Every number is a median over the rounds; a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.table import Table

from benchmarks.engine.models import ANSWER, Shape

Round = Mapping[str, Mapping[str, float]]
STAGES = ("encode", "generate", "read", "decode", "see", "refine")
HEADS = ("decode", "see", "refine")
_DIGITS = {"ms": 0, "MiB": 0, "s": 3}  # a GPU is done in hundredths of a second
# Peak bfloat16 operations and memory bytes a second, from the vendors' data sheets.
GPUS = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.04e12),
    "L40S": (362e12, 0.86e12),
    "RTX 4090": (165e12, 1.01e12),
}


@dataclass(frozen=True)
class Measured:
    """One model's rounds: seconds of commands and forwards, and peak MiB by way."""

    name: str
    shape: Shape
    commands: Sequence[Round]
    forwards: Sequence[Round]
    peaks_mib: Mapping[str, float]


@dataclass(frozen=True)
class Row:
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


def rows_of(model: Measured) -> list[Row]:
    """All numbers of one model, in the order of the table."""
    return [
        *_stage_rows(model.commands),
        *_command_rows(model.commands, is_tiled=model.shape.family == "llava_next"),
        *_phrase_rows(model.commands),
        *_reading_rows(model.commands, model.forwards),
        *_memory_rows(model.peaks_mib),
    ]


def _seconds(rounds: Sequence[Round], command: str, *stages: str) -> list[float]:
    """What some stages of a command took together, in every round; without stages all of it."""
    return [sum(r[command].get(s, 0.0) for s in stages or ("total",)) for r in rounds]


def _sums(*terms: Sequence[float]) -> list[float]:
    return [sum(term) for term in zip(*terms, strict=True)]


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def _stage_rows(rounds: Sequence[Round]) -> Iterator[Row]:
    for stage in STAGES:
        spent = statistics.median(_seconds(rounds, "question", stage))
        yield Row("a question on a new image", stage, 1e3 * spent, "ms")


def _command_rows(rounds: Sequence[Round], *, is_tiled: bool) -> Iterator[Row]:
    """The goals against the baseline are those of a question: it runs the whole image twice."""
    first_goal, five_goal = (3.0, 8.0) if is_tiled else (1.3, 4.0)
    first, again, baseline = (
        _seconds(rounds, n) for n in ("question", "question again", "baseline question")
    )
    yield from _compared("commands: question", first, again, baseline, first_goal, five_goal)
    section = "commands: 1 phrase"
    first, again, baseline = (
        _seconds(rounds, n) for n in ("1 phrase", "1 phrases again", "baseline 1 phrase")
    )
    yield from _compared(section, first, again, baseline)
    yield Row(section, "first / again", _ratio(first, again), "x", 5.0, at_most=False)


def _compared(
    section: str,
    first: Sequence[float],
    again: Sequence[float],
    baseline: Sequence[float],
    first_goal: float | None = None,
    five_goal: float | None = None,
) -> Iterator[Row]:
    yield Row(section, "first", statistics.median(first), "s")
    yield Row(section, "again on that image", statistics.median(again), "s")
    yield Row(section, "baseline", statistics.median(baseline), "s")
    yield Row(section, "baseline / first", _ratio(baseline, first), "x", first_goal, at_most=False)
    # The baseline remembers nothing: five of its commands take five times as long as one.
    theirs, ours = _sums(*[baseline] * 5), _sums(first, *[again] * 4)
    name = "five on one image: baseline / ours"
    yield Row(section, name, _ratio(theirs, ours), "x", five_goal, at_most=False)


def _phrase_rows(rounds: Sequence[Round]) -> Iterator[Row]:
    known = {n: _seconds(rounds, f"{n} phrases again") for n in (1, 4, 8)}
    image = _seconds(rounds, "1 phrase", "encode", "see")
    new = {n: _sums(image, seconds) for n, seconds in known.items()}
    for where, seconds in (("new", new), ("known", known)):
        for count in (1, 4, 8):
            spent = statistics.median(seconds[count])
            yield Row("phrases", f"{count}, {where} image", spent, "s")
        yield Row("phrases", f"8 / 1, {where} image", _ratio(seconds[8], seconds[1]), "x", 1.5)


def _reading_rows(commands: Sequence[Round], forwards: Sequence[Round]) -> Iterator[Row]:
    section = "answer first, then read"
    read = _seconds(commands, "question", "read")
    for where, stages, goal in (
        ("new", ("encode", "generate"), 1.05),
        ("known", ("generate",), None),
    ):
        answer = _seconds(commands, "question", *stages)
        name = f"answer and read / answer, {where} image"
        yield Row(section, name, _ratio(_sums(answer, read), answer), "x", goal)
    heads = statistics.median(_seconds(commands, "question", *HEADS))
    yield Row(section, "heads, 2 phrases, with SAM's image encoder", heads, "s")
    section, plain = "one forward of image and phrase", _seconds(forwards, "plain SDPA")
    for way, goal in (("recording rows", 1.03), ("eager, all kept", None)):
        ratio = _ratio(_seconds(forwards, way), plain)
        yield Row(section, f"{way} / plain SDPA", ratio, "x", goal)


def _memory_rows(peaks: Mapping[str, float]) -> Iterator[Row]:
    section = "peak memory above the loaded model, 1 phrase"
    for way, mib in peaks.items():
        yield Row(section, way, mib, "MiB")
    plain, engine, baseline = (peaks[k] for k in ("plain SDPA with cache", "engine", "baseline"))
    yield Row(section, "engine / baseline", 100 * engine / baseline, "%", 3.0)
    beyond = 100 * max(0.0, engine - plain) / max(1e-9, baseline - plain)
    yield Row(section, "the same, above plain SDPA with cache", beyond, "%", 3.0)


def describe_machine(device: str) -> dict[str, Any]:
    """On what, and with what, something is measured."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": _commit(),
    }


def _commit() -> str:
    """Of this checkout; "unknown" where it is none, or git is not installed."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def report(
    models: Sequence[Measured], machine: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything as one JSON: machine, settings, and each model's shape, rows and raw rounds."""
    found: dict[str, Any] = {"machine": dict(machine), "settings": dict(settings), "models": {}}
    for model in models:
        found["models"][model.name] = {
            "shape": dataclasses.asdict(model.shape),
            "rows": [{**asdict(row), "holds": row.holds} for row in rows_of(model)],
            "rounds": {"commands": model.commands, "forwards": model.forwards},
        }
        share = roofline(model, machine["device"])
        if share:
            found["models"][model.name]["roofline"] = share
    return found


def roofline(model: Measured, device: str) -> dict[str, float]:
    """The share of a known GPU's peak that encoding (operations) and generating (bytes) reach;
    empty elsewhere. Counts the text layers' weights only."""
    peaks = next((peak for name, peak in GPUS.items() if name in device), None)
    if peaks is None:
        return {}
    s, tokens = model.shape, 576 if model.shape.family == "llava" else 2340
    kv_width = s.width * s.key_value_heads // s.heads
    weights = s.layers * (2 * s.width * (s.width + kv_width) + 3 * s.width * s.mlp_width)
    encode = statistics.median(_seconds(model.commands, "question", "encode"))
    generate = statistics.median(_seconds(model.commands, "question", "generate"))
    steps = len(ANSWER.split()) + 1  # a token a word, and the end
    return {
        "encode": 2 * weights * tokens / encode / peaks[0],
        "generate": 2 * weights * steps / generate / peaks[1],
    }


def tables(content: Mapping[str, Any]) -> Table:
    """A report as one table, a column for each model; goals stand beside their numbers."""
    machine, models = content["machine"], content["models"]
    title = ", ".join(f"{key} {value}" for key, value in machine.items())
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    columns = [model["rows"] for model in models.values()]
    section = ""
    for lines in zip(*columns, strict=True):
        if lines[0]["section"] != section:
            section = lines[0]["section"]
            table.add_section()
            table.add_row(f"[bold]{section}[/bold]")
        table.add_row(f"  {lines[0]['name']}", *(_cell(line) for line in lines))
    for name, model in models.items():
        for stage, share in model.get("roofline", {}).items():
            table.add_row(f"  {name}: {stage}, share of the roofline", f"{share:.1%}")
    return table


def _cell(row: Mapping[str, Any]) -> str:
    number = f"{row['value']:.{_DIGITS.get(row['unit'], 2)}f} {row['unit']}"
    if row["goal"] is None:
        return number
    sign, mark = ("<=" if row["at_most"] else ">="), ("holds" if row["holds"] else "FAILS")
    return f"{number}  ({sign} {row['goal']:g} {mark})"
