"""The page of a run: thresholds, numbers, timelines, plots, and the worst answers as pictures.

It stands alone (pictures and plots inside, no scripts, nothing from the network), so it can be an
artefact of CI or be sent to somebody. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flmm_ros.replay.judging.judge import GOOD_IOU
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.judging.metrics import described, flat
from flmm_ros.replay.pages import plots
from flmm_ros.replay.pages.style import RUN_STYLE, TABLE_STYLE
from flmm_ros.replay.pages.worst_answers import WorstAnswer, draw_worst, problem_of, worst_rows
from flmm_ros.replay.scenario import Scenario
from flmm_ros.report.pictures import data_uri
from flmm_ros.report.style import STYLE

_TILES = (
    ("commands.right", "of the judged answers are right"),
    ("masks.cIoU", "cIoU of the masks"),
    ("absent.accuracy", "of what is absent is said to be"),
    ("answers.match", "of the answers hold the expected words"),
    ("times_ms.answer.p50", "ms from command to answer (median)"),
    ("times_ms.total.p50", "ms in the engine (median)"),
)
_MAX_TIMELINES = 20


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
    name = escape(str(summary["scenario"]["name"]))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>replay: {name}</title>
<style>{STYLE}{TABLE_STYLE}{RUN_STYLE}</style>
</head>
<body>
<header>
<h1>Replay: {name}</h1>
<p class="lead">{escape(_sentence(summary))}</p>
{_tiles(summary)}
{_facts(summary)}
{_damage(summary)}
</header>
<main>
{_thresholds(summary)}
{_recordings(summary)}
<h2>When</h2>
<div class="plots">{_timelines(rows)}</div>
<h2>How well, how fast</h2>
<div class="plots">{_plots(summary, rows)}</div>
<h2>The worst answers; a white line surrounds what should be found</h2>
<div class="worst">{"".join(_card(each) for each in worst) or "Nothing was judged."}</div>
<h2>All numbers</h2>
{_numbers(summary)}
</main>
<footer>result.jsonl beside this page has every answer with its masks; summary.json the numbers.
</footer>
</body>
</html>
"""


def _sentence(summary: Mapping[str, Any]) -> str:
    frames = summary["metrics"]["frames"]
    how = {"lockstep": "every selected image once, in order", "online": "in a running node"}
    return (
        f"{summary['rows']} answers on {frames['used']} of {frames['in_bag']} images of "
        f"{len(summary['bags'])} recording(s), {how.get(summary['mode'], summary['mode'])}: "
        f"{summary['status']}."
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    numbers = flat(summary["metrics"])
    tiles = []
    for name, words in _TILES:
        value = numbers.get(name)
        if value is None:
            continue
        is_share = not name.startswith(("times_ms", "masks"))
        plain = f"{value:.0f}" if name.startswith("times_ms") else f"{value:.2f}"
        shown = f"{100 * value:.0f} %" if is_share else plain
        tiles.append(f'<div class="tile"><b>{shown}</b><span>{escape(words)}</span></div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _facts(summary: Mapping[str, Any]) -> str:
    facts = {
        "model": " ".join((summary["model"], summary.get("model_version", ""))).strip(),
        "mode": summary["mode"],
        **summary["machine"],
        "made": summary["made"],
    }
    spans = (f"<span>{escape(k)} <b>{escape(str(v))}</b></span> " for k, v in facts.items())
    return f'<p class="facts">{"".join(spans)}</p>'


def _damage(summary: Mapping[str, Any]) -> str:
    words = [
        f"{bag['name']} is damaged; only its beginning was judged: {bag['damage']}"
        for bag in summary["bags"]
        if bag["damage"]
    ]
    words += [f"{b['name']} was not evaluated: {b['error']}" for b in summary["bags"] if b["error"]]
    return "".join(f'<p class="warning">{escape(each)}</p>' for each in words)


def _thresholds(summary: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<tr><td>{escape(t['metric'])}</td><td>{escape(t['rule'])}</td>"
        f'<td class="n">{described(t["value"])}</td>'
        f'<td class="{"met" if t["is_met"] else "missed"}">'
        f"{'met' if t['is_met'] else 'not met'}</td></tr>"
        for t in summary["thresholds"]
    )
    if not lines:
        return ""
    head = '<tr><th>threshold</th><th>rule</th><th class="n">measured</th><th></th></tr>'
    return f"<h2>Thresholds</h2><table>{head}{lines}</table>"


def _recordings(summary: Mapping[str, Any]) -> str:
    """A line for each of many, with the way to its own page."""
    bags = summary["bags"]
    if len(bags) < 2:
        return ""
    lines = []
    for bag in bags:
        name, frames = escape(bag["name"]), bag["frames"]
        if not bag["error"]:  # it has a page
            name = f'<a href="bags/{escape(quote(bag["name"]))}/index.html">{name}</a>'
        status = "not evaluated" if bag["error"] else bag["status"]
        status = status or ("damaged" if bag["damage"] else "evaluated")
        kind = {"passed": "met", "evaluated": ""}.get(status, "missed")
        lines.append(
            f'<tr><td>{name}</td><td class="n">{frames["used"]} of {frames["in_bag"]}</td>'
            f'<td class="{kind}">{status}</td><td>{escape("; ".join(bag["missed"]))}</td></tr>'
        )
    head = '<tr><th>recording</th><th class="n">images used</th><th>status</th><th>missed</th></tr>'
    return f"<h2>Recordings</h2><table>{head}{''.join(lines)}</table>"


def _timelines(rows: Sequence[JudgedAnswer]) -> str:
    """One for each recording: a lane for each command, green where it is right."""
    shown = []
    for bag in list(dict.fromkeys(row.bag for row in rows))[:_MAX_TIMELINES]:
        own = [row for row in rows if row.bag == bag]
        lanes = dict.fromkeys((row.command, row.text) for row in own)
        numbers = {lane: index for index, lane in enumerate(lanes)}
        marks = [_mark(row, numbers[row.command, row.text]) for row in own]
        end_s = max(row.t_s for row in own)
        texts = [text for _, text in lanes]
        svg = plots.timeline(marks, texts, end_s, f"{bag}: every answer, green where right")
        shown.append(svg.replace('class="plot"', 'class="plot wide"', 1))
    return "".join(shown)


def _mark(row: JudgedAnswer, lane: int) -> plots.TimelineMark:
    verdict = row.is_right(GOOD_IOU)
    color = {True: plots.GOOD, False: plots.BAD, None: plots.NEUTRAL}[verdict]
    iou = "" if row.worst_iou is None else f", IoU {row.worst_iou:.2f}"
    words = problem_of(row) or row.answer or row.error
    return plots.TimelineMark(row.t_s, lane, color, words + iou)


def _plots(summary: Mapping[str, Any], rows: Sequence[JudgedAnswer]) -> str:
    ious = [pair.iou for row in rows for pair in row.pairs or ()]
    metrics = summary["metrics"]
    stages = [
        (name.removeprefix("times_ms."), [(p, numbers[p]) for p in ("p50", "p90", "p99")])
        for name, numbers in metrics.items()
        if name.startswith("times_ms.") and numbers["n"]
    ]
    frames = [(n.replace("_", " "), [("", float(v))]) for n, v in metrics["frames"].items()]
    slow = "answer" if any("answer" in row.times_ms for row in rows) else "total"
    totals = [row.times_ms[slow] for row in rows if slow in row.times_ms]
    memory = [(float(i), row.rss_mb) for i, row in enumerate(rows) if row.rss_mb is not None]
    return "".join(
        (
            plots.histogram(ious, f"IoU of {len(ious)} masks with the true ones") if ious else "",
            plots.bars(stages, "times by stage", "ms") if stages else "",
            plots.cumulative(totals, f"time per answer ({slow})", "ms"),
            plots.bars(frames, "images of the recording", ""),
            plots.curve(memory, "memory of the process that answers", "answers", "MB"),
        )
    )


def _card(each: WorstAnswer) -> str:
    row = each.row
    iou = "" if row.worst_iou is None else f'<span class="chip">IoU {row.worst_iou:.2f}</span>'
    kind, words = ("bad", each.problem) if each.problem else ("good", "right")
    wrong = " wrong" if each.problem else ""
    said = escape(row.answer) if row.error == "OK" else f"<code>{escape(row.error)}</code>"
    picture = ""
    if each.picture is not None:
        uri = data_uri(each.picture)
        picture = f'<div class="pictures"><figure><img src="{uri}" alt="masks"></figure></div>'
    return f"""<section class="card{wrong}">
<div class="top"><span class="title">{escape(row.bag)}, image {row.frame}, {row.t_s:.2f} s</span>
{iou}<span class="chip {kind}">{escape(words)}</span></div>
<p class="command">{escape(row.text)}</p>
<p class="answer">{said}</p>
{picture}
</section>
"""


def _numbers(summary: Mapping[str, Any]) -> str:
    lines = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{described(value)}</td></tr>'
        for name, value in flat(summary["metrics"]).items()
        if value is not None
    )
    return f'<table><tr><th>metric</th><th class="n">value</th></tr>{lines}</table>'
