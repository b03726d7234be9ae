"""One HTML page that shows what was asked, what was answered, and why: masks, attention, times.

The page stands alone (pictures inside, no scripts, nothing from the network), so it can be sent to
somebody. All text is escaped: commands and answers are not trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.overlay import color_of, draw_heat
from flmm_ros.report.pictures import data_uri, overlay_picture
from flmm_ros.report.style import OTHER_COLOR, STAGE_COLORS, STYLE


@dataclass(frozen=True)
class ShownObject:
    """One object of an answer. iou: against the truth, None where the truth is not known."""

    grounding: Grounding
    iou: float | None
    has_heat: bool


@dataclass(frozen=True)
class ShownCommand:
    """One command and everything about its answer.

    image: the camera image it was answered on, RGB uint8 [H, W, 3]. stages_ms: in order. problem:
    what is wrong with the answer, empty where it is right. is_as_due: it was answered, or refused
    where a refusal with this code is due.
    """

    title: str
    command: str
    scene: str
    channel: str
    intent: str
    answer: str
    objects: tuple[ShownObject, ...]
    image: NDArray[np.uint8]
    stages_ms: tuple[tuple[str, float], ...]
    total_ms: float
    error_code: str
    error_text: str
    problem: str
    is_as_due: bool = True

    @property
    def is_refused(self) -> bool:
        """Whether the node refused the command."""
        return self.error_code != "OK"

    def picture(self) -> NDArray[np.uint8]:
        """The image with masks and phrases, RGB uint8."""
        return overlay_picture(self.image, [o.grounding for o in self.objects])


@dataclass(frozen=True)
class Summary:
    """The numbers at the top of the page. mean_iou: over the objects pointed at, if any."""

    commands: int
    right: int
    objects: int
    mean_iou: float | None
    median_ms: float | None


def summarise(commands: Sequence[ShownCommand]) -> Summary:
    """Counts over a run. Refused commands count as right where a refusal was expected."""
    ious = [
        o.iou for c in commands for o in c.objects if o.grounding.is_present and o.iou is not None
    ]
    times = [c.total_ms for c in commands if not c.is_refused]
    return Summary(
        commands=len(commands),
        right=sum(not c.problem for c in commands),
        objects=len(ious),
        mean_iou=mean(ious) if ious else None,
        median_ms=median(times) if times else None,
    )


def write_report(
    directory: Path, commands: Sequence[ShownCommand], facts: Sequence[tuple[str, str]]
) -> Path:
    """Writes index.html, and beside it each overlay as a PNG. Returns the path of the page.

    facts: name and value of what the run was made with (model, machine, versions).
    """
    directory.mkdir(parents=True, exist_ok=True)
    for number, command in enumerate(commands, 1):
        if command.objects:
            Image.fromarray(command.picture()).save(directory / f"overlay_{number:02d}.png")
    page = directory / "index.html"
    page.write_text(render_page(commands, facts), encoding="utf-8")
    return page


def render_page(commands: Sequence[ShownCommand], facts: Sequence[tuple[str, str]]) -> str:
    """The whole page as HTML text."""
    cards: list[str] = []
    scene = None
    for number, command in enumerate(commands, 1):
        if command.scene != scene:
            scene = command.scene
            cards.append(f"<h2>{escape(scene)}</h2>")
        cards.append(_card(number, command))
    facts_line = "".join(f"<span>{escape(n)} <b>{escape(v)}</b></span>" for n, v in facts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>flmm_ros: what the camera saw and what the words meant</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>flmm_ros demo</h1>
<p class="lead">A ROS 2 node looked at a simulated camera and was told these sentences. The
coloured words of each answer are the masks of the same colour; the heat maps are the language
model&#x27;s own attention while it read those words. IoU compares a mask with the
simulator&#x27;s truth.</p>
{_tiles(summarise(commands))}
<p class="facts">{facts_line}</p>
</header>
<main>
{"".join(cards)}
</main>
<footer>Masks, scores, answers and times are what the node sent. The attention was read again from
the same picture by the same model, because the messages do not carry it.</footer>
</body>
</html>
"""


def _tiles(summary: Summary) -> str:
    iou = "-" if summary.mean_iou is None else f"{summary.mean_iou:.2f}"
    time = "-" if summary.median_ms is None else f"{summary.median_ms:.0f} ms"
    tiles = (
        (f"{summary.right} / {summary.commands}", "commands answered right"),
        (iou, f"mean IoU of {summary.objects} objects pointed at"),
        (time, "median time per answered command"),
    )
    body = "".join(f'<div class="tile"><b>{b}</b><span>{s}</span></div>' for b, s in tiles)
    return f'<div class="tiles">{body}</div>'


def _card(number: int, c: ShownCommand) -> str:
    verdict = (
        f'<span class="chip bad">{escape(c.problem)}</span>'
        if c.problem
        else f'<span class="chip good">{"refused as it should" if c.is_refused else "right"}</span>'
    )
    intent = f'<span class="chip">{escape(c.intent)}</span>' if c.intent else ""
    command = (
        f'<p class="command">{escape(c.command)}</p>'
        if c.command.strip()
        else '<p class="command blank">(nothing but blanks)</p>'
    )
    return f"""<section class="card{" wrong" if c.problem else ""}">
<div class="top"><span class="title">{number}. {escape(c.title)}</span>
<span class="chip">{escape(c.channel)}</span>{intent}{verdict}</div>
{command}
{_answer(c)}
{_pictures(c)}
{_times(c)}
</section>
"""


def _answer(c: ShownCommand) -> str:
    if c.is_refused:
        return f'<p class="refused"><code>{escape(c.error_code)}</code>{escape(c.error_text)}</p>'
    return f'<p class="answer">{mark_spans(c.answer, [o.grounding for o in c.objects])}</p>'


def mark_spans(text: str, objects: Sequence[Grounding]) -> str:
    """The text as HTML, each present object's phrase on a plate of the object's colour.

    Spans that leave the text or overlap an earlier one stay unmarked: a page is no place to fail.
    """
    spans = sorted(
        (o.text_span, index)
        for index, o in enumerate(objects)
        if o.is_present and o.text_span is not None
    )
    pieces: list[str] = []
    at = 0
    for (start, end), index in spans:
        if not at <= start < end <= len(text):
            continue
        pieces.append(escape(text[at:start]))
        pieces.append(f'<mark style="{_plate(color_of(index))}">{escape(text[start:end])}</mark>')
        at = end
    return "".join([*pieces, escape(text[at:])])


def _pictures(c: ShownCommand) -> str:
    if c.is_refused:
        return ""
    figures = [_figure(c.image, "camera", "camera")]
    if any(o.grounding.is_present for o in c.objects):
        figures.append(_figure(c.picture(), "masks over the camera image", "masks"))
    for index, o in enumerate(c.objects):
        if o.has_heat:
            picture = draw_heat(c.image, o.grounding.heat, index)
            figures.append(
                _figure(picture, f"attention for {o.grounding.phrase}", _caption(index, o))
            )
    return f'<div class="pictures">{"".join(figures)}</div>'


def _caption(index: int, o: ShownObject) -> str:
    """HTML: what a heat map is of, and the numbers of its mask."""
    g = o.grounding
    dot = f'<span class="dot" style="background:{_css(color_of(index))}"></span>'
    numbers = f"score {g.score:.2f}" if g.is_present else f"not seen, score {g.score:.2f}"
    if g.is_present and o.iou is not None:
        numbers += f" &middot; IoU {o.iou:.2f}"
    return f"{dot}<b>{escape(g.phrase)}</b> {numbers}"


def _figure(picture: NDArray[np.uint8], alt: str, caption_html: str) -> str:
    return (
        f'<figure><img src="{data_uri(picture)}" alt="{escape(alt)}">'
        f"<figcaption>{caption_html}</figcaption></figure>"
    )


def _times(c: ShownCommand) -> str:
    """A bar with one piece per stage, and the same in numbers."""
    if not c.stages_ms:
        return ""
    whole = max(c.total_ms, sum(ms for _, ms in c.stages_ms), 1e-9)
    bar, words = [], []
    for stage, ms in c.stages_ms:
        color = STAGE_COLORS.get(stage, OTHER_COLOR)
        bar.append(f'<i style="width:{100 * ms / whole:.2f}%;background:{color}"></i>')
        dot = f'<i class="dot" style="background:{color}"></i>'
        words.append(f"<span>{dot}{escape(stage)} {ms:.1f} ms</span>")
    words.append(f"<span><b>total {c.total_ms:.1f} ms</b></span>")
    return f'<div class="times"><div class="bar">{"".join(bar)}</div>{"".join(words)}</div>'


def _plate(color: tuple[int, int, int]) -> str:
    """Style of a plate with readable words on it: white where black would be too close."""
    red, green, blue = ((value / 255) ** 2.2 for value in color)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return f"background:{_css(color)};color:{'#000' if luminance > 0.18 else '#fff'}"


def _css(color: tuple[int, int, int]) -> str:
    return "rgb({},{},{})".format(*color)
