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

"""The page of a run: thresholds, numbers, timelines, plots, and the worst answers as pictures.

It stands alone (pictures and plots inside, no scripts, nothing from the network), so it can be an
artefact of CI or be sent to somebody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flmm_ros.replay.judging.judge import GOOD_IOU
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.judging.metrics import described, flat
from flmm_ros.replay.pages.worst_answers import WorstAnswer, draw_worst, problem_of, worst_rows
from flmm_ros.replay.scenario import Scenario
from flmm_ros.report import plots
from flmm_ros.report.pictures import data_uri
from flmm_ros.report.rendering import render

_TILES = (
    ("commands.right", "of the judged answers are right"),
    ("masks.cIoU", "cIoU of the masks"),
    ("absent.accuracy", "of what is absent is said to be"),
    ("answers.match", "of the answers hold the expected words"),
    ("times_ms.answer.p50", "ms from command to answer (median)"),
    ("times_ms.total.p50", "ms in the engine (median)"),
)
_MAX_TIMELINES = 20
_NO_PLOTS = "There are no plots: matplotlib is not installed (pip install matplotlib)."


def write_report(
    directory: Path,
    summary: Mapping[str, Any],
    rows: Sequence[JudgedAnswer],
    sources: Mapping[str, tuple[Path, Scenario]],
) -> Path:
    """Writes index.html. sources: where the recordings are, by name, for the pictures."""
    worst = draw_worst(worst_rows(rows), sources)
    page = directory / "index.html"
    page.write_text(render_page(summary, rows, worst), encoding="utf-8")
    return page


def render_page(
    summary: Mapping[str, Any], rows: Sequence[JudgedAnswer], worst: Sequence[WorstAnswer]
) -> str:
    """The whole page as HTML text."""
    notes = [words for bag in summary["bags"] for words in notes_of(bag, summary)]
    timelines: list[plots.Plot] = []
    drawn: list[plots.Plot] = []
    try:
        timelines, drawn = list(_timelines(rows)), list(_plots(summary, rows))
    except ImportError:
        notes.append(_NO_PLOTS)
    numbers = flat(summary["metrics"])
    return render(
        "flmm_ros.replay.pages/run.html",
        name=summary["scenario"]["name"],
        lead=_sentence(summary),
        tiles=list(_tiles(numbers)),
        facts=_facts(summary),
        warnings=warnings_of(summary),
        notes=notes,
        thresholds=summary["thresholds"],
        described=described,
        recordings=[_recording(bag) for bag in summary["bags"]],
        timelines=timelines,
        plots=drawn,
        worst=[_card(each) for each in worst],
        numbers=[(n, described(value)) for n, value in numbers.items() if value is not None],
    )


def warnings_of(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers: damage, and recordings that are left out."""
    bags = summary["bags"]
    damaged = [
        f"{bag['name']} is damaged, what can be read before that was judged: {bag['damage']}"
        for bag in bags
        if bag["damage"]
    ]
    return damaged + [f"{b['name']} was not evaluated: {b['error']}" for b in bags if b["error"]]


def notes_of(bag: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """What was left out of a recording and why, with its name where there are several."""
    several = len(summary["bags"]) > 1
    return [f"{bag['name']}: {note}" if several else note for note in bag.get("notes", ())]


def _sentence(summary: Mapping[str, Any]) -> str:
    frames = summary["metrics"]["frames"]
    how = {"lockstep": "every selected image once, in order", "online": "in a running node"}
    return (
        f"{summary['rows']} answers on {frames['used']} of {frames['in_bag']} images of "
        f"{len(summary['bags'])} recording(s), {how.get(summary['mode'], summary['mode'])}: "
        f"{summary['status']}."
    )


def _tiles(numbers: Mapping[str, float | None]) -> Iterator[tuple[str, str]]:
    for name, words in _TILES:
        value = numbers.get(name)
        if value is None:
            continue
        if name.startswith("times_ms"):
            yield f"{value:.0f}", words
        else:
            yield f"{value:.2f}" if name.startswith("masks") else f"{100 * value:.0f} %", words


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, Any]]:
    model = " ".join((summary["model"], summary.get("model_version", ""))).strip()
    facts = {"model": model, "mode": summary["mode"], **summary["machine"]}
    return [*facts.items(), ("made", summary["made"])]


def _recording(bag: Mapping[str, Any]) -> dict[str, Any]:
    """One of many, with the way to its own page."""
    status = "not evaluated" if bag["error"] else bag["status"]
    status = status or ("damaged" if bag["damage"] else "evaluated")
    return {
        "name": bag["name"],
        "has_page": not bag["error"],
        "used": bag["frames"]["used"],
        "in_bag": bag["frames"]["in_bag"],
        "status": status,
        "kind": {"passed": "met", "evaluated": ""}.get(status, "missed"),
        "missed": "; ".join(bag["missed"]),
    }


def _timelines(rows: Sequence[JudgedAnswer]) -> Iterator[plots.Plot]:
    """One for each recording: a lane for each command, green where it is right."""
    for bag in list(dict.fromkeys(row.bag for row in rows))[:_MAX_TIMELINES]:
        own = [row for row in rows if row.bag == bag]
        lanes = dict.fromkeys((row.command, row.text) for row in own)
        numbers = {lane: index for index, lane in enumerate(lanes)}
        marks = [_mark(row, numbers[row.command, row.text]) for row in own]
        end_s = max(row.t_s for row in own)
        texts = [text for _, text in lanes]
        yield plots.timeline(marks, texts, end_s, f"{bag}: every answer, green where right")


def _mark(row: JudgedAnswer, lane: int) -> plots.TimelineMark:
    verdict = row.is_right(GOOD_IOU)
    color = {True: plots.GOOD, False: plots.BAD, None: plots.NEUTRAL}[verdict]
    iou = "" if row.worst_iou is None else f", IoU {row.worst_iou:.2f}"
    words = problem_of(row) or row.answer or row.error
    return plots.TimelineMark(row.t_s, lane, color, words + iou)


def _plots(summary: Mapping[str, Any], rows: Sequence[JudgedAnswer]) -> Iterator[plots.Plot]:
    metrics = summary["metrics"]
    if ious := [pair.iou for row in rows for pair in row.pairs or ()]:
        yield plots.histogram(ious, f"IoU of {len(ious)} masks with the true ones")
    stages = [
        (name.removeprefix("times_ms."), [(p, numbers[p]) for p in ("p50", "p90", "p99")])
        for name, numbers in metrics.items()
        if name.startswith("times_ms.") and numbers["n"]
    ]
    if stages:
        yield plots.bars(stages, "times by stage", "ms")
    slow = "answer" if any("answer" in row.times_ms for row in rows) else "total"
    if totals := [row.times_ms[slow] for row in rows if slow in row.times_ms]:
        yield plots.cumulative(totals, f"time per answer ({slow})", "ms")
    frames = [(n.replace("_", " "), [("", float(v))]) for n, v in metrics["frames"].items()]
    yield plots.bars(frames, "images of the recording", "")
    if memory := [(float(i), row.rss_mb) for i, row in enumerate(rows) if row.rss_mb is not None]:
        yield plots.curve(memory, "memory of the process that answers", "answers", "MB")


def _card(each: WorstAnswer) -> dict[str, Any]:
    row = each.row
    return {
        "title": f"{row.bag}, image {row.frame}, {row.t_s:.2f} s",
        "iou": row.worst_iou,
        "problem": each.problem,
        "command": row.text,
        "answer": row.answer,
        "error": "" if row.error == "OK" else row.error,
        "picture": "" if each.picture is None else data_uri(each.picture),
    }
