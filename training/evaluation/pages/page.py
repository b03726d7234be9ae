"""One HTML page of an evaluation: the scores, and the best, the worst and random phrases.

The page stands alone (pictures inside, no scripts, nothing from the network). All text is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.overlay import draw_heat
from flmm_ros.report.pictures import data_uri
from flmm_ros.report.style import STYLE
from training.evaluation.cases import Case
from training.evaluation.pages.tables import ScoreTable

# RGB, distinguishable to people with colour-blindness too.
RIGHT, TOO_MUCH, MISSED = (0, 158, 115), (230, 120, 0), (60, 130, 255)
_OPACITY = 0.6
_MORE_STYLE = """
table { border-collapse: collapse; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
.scores { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; padding: 12px 18px; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; }
tr.ours td { font-weight: 700; }
.context { color: var(--soft); margin: 0 0 14px; overflow-wrap: anywhere; }
.context mark { background: var(--plate); color: var(--ink); font-weight: 600; border-radius: 4px;
  padding: 1px 4px; }
"""


@dataclass(frozen=True)
class ShownCase:
    """A case with everything to be seen of it.

    rgb: uint8 [H, W, 3]. grounding: of the phrase. truth, ignored: bool [H, W]. text: what the
    phrase stands in, with its span; the answer where a question was answered.
    """

    case: Case
    rgb: NDArray[np.uint8]
    grounding: Grounding
    truth: NDArray[np.bool_]
    ignored: NDArray[np.bool_] | None
    text: str
    text_span: tuple[int, int]
    answer: str = ""


@dataclass(frozen=True)
class Chosen:
    """Which cases are shown: the best and the worst by IoU, and some at random."""

    best: tuple[Case, ...]
    worst: tuple[Case, ...]
    random: tuple[Case, ...]

    def sections(self) -> tuple[tuple[str, tuple[Case, ...]], ...]:
        """Title and cases, in the order of the page."""
        return (
            ("Worst", self.worst),
            ("Random", self.random),
            ("Best", self.best),
        )


def choose(cases: Sequence[Case], count: int, seed: int = 0) -> Chosen:
    """`count` cases of each sort, of different images where there are enough, none twice.

    A phrase without a target is at its best where it was reported absent.
    """
    ordered = sorted(cases, key=lambda c: (_quality(c), c.place))
    worst = _of_different_images(ordered, count)
    taken = {c.place for c in worst}
    best = _of_different_images([c for c in ordered[::-1] if c.place not in taken], count)
    taken |= {c.place for c in best}
    left = [c for c in sorted(cases, key=lambda c: c.place) if c.place not in taken]
    order = np.random.default_rng(seed).permutation(len(left))
    random = _of_different_images([left[i] for i in order], count)
    return Chosen(tuple(best), tuple(worst), tuple(random))


def compared(
    rgb: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The image in grey, with every pixel right, too much or missed in its colour."""
    counts = np.ones_like(mask) if ignored is None else ~ignored
    canvas = np.repeat(rgb.astype(np.float32).mean(axis=2, keepdims=True), 3, axis=2)
    for color, pixels in (
        (RIGHT, mask & truth),
        (TOO_MUCH, mask & ~truth),
        (MISSED, truth & ~mask),
    ):
        where = pixels & counts
        canvas[where] = (1 - _OPACITY) * canvas[where] + _OPACITY * np.array(color, np.float32)
    return canvas.round().astype(np.uint8)


def render_page(
    title: str,
    table: ScoreTable,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[tuple[str, Sequence[ShownCase]]],
) -> str:
    """The whole page as HTML text."""
    cards = "".join(
        f"<h2>{escape(name)}</h2>" + "".join(_card(shown) for shown in some)
        for name, some in sections
        if some
    )
    line = "".join(f"<span>{escape(n)} <b>{escape(v)}</b></span>" for n, v in facts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}{_MORE_STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="lead">In the middle pictures {_dot(RIGHT)}is right, {_dot(TOO_MUCH)}too much,
{_dot(MISSED)}missed. The pictures on the right are the language model&#x27;s own attention while it
read the phrase.</p>
{_scores(table)}
<p class="facts">{line}</p>
</header>
<main>
{cards}
</main>
<footer>The phrases on this page were read a second time, by the same model, to draw them.</footer>
</body>
</html>
"""


def _quality(case: Case) -> float:
    return float(case.said_absent) if case.is_absent else case.iou


def _of_different_images(cases: Sequence[Case], count: int) -> list[Case]:
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.key, case)
    chosen = list(first.values())[:count]
    taken = {c.place for c in chosen}
    more = [c for c in cases if c.place not in taken]
    return chosen + more[: count - len(chosen)]


def _scores(table: ScoreTable) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in table.columns)
    body = "".join(
        f"<tr{'' if n else ' class=ours'}>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>"
        for n, row in enumerate(table.rows)
    )
    notes = " ".join(escape(note) for note in (f"{table.unit.capitalize()}.", *table.notes))
    rows = f"<tr>{head}</tr>{body}"
    return f'<div class="scores"><table>{rows}</table></div><p class="facts">{notes}</p>'


def _card(shown: ShownCase) -> str:
    case = shown.case
    verdict = f"IoU {case.iou:.2f}"
    good = case.iou > 0.5
    if case.is_absent:
        good = case.said_absent
        verdict = "not there, " + ("reported absent" if good else "but pointed at")
    elif case.said_absent:
        verdict += ", reported absent"
    refused = (
        f'<p class="refused"><code>refused</code>{escape(case.refused)}</p>' if case.refused else ""
    )
    answer = f'<p class="answer">{escape(shown.answer)}</p>' if shown.answer else ""
    masks = compared(shown.rgb, shown.grounding.mask, shown.truth, shown.ignored)
    heat = draw_heat(shown.rgb, shown.grounding.heat, 0)
    return f"""<section class="card{"" if good else " wrong"}">
<div class="top"><span class="title">{escape(case.key)}</span>
<span class="chip">score {case.score:.2f}</span>
<span class="chip {"good" if good else "bad"}">{verdict}</span></div>
<p class="command">{escape(case.words)}</p>
{answer}{_context(shown)}{refused}
<div class="pictures">
{_figure(shown.rgb, "image")}{_figure(masks, "mask and truth")}{_figure(heat, "attention")}
</div>
</section>
"""


def _context(shown: ShownCase) -> str:
    """The text around the phrase, where there is any."""
    start, stop = shown.text_span
    if (start, stop) == (0, len(shown.text)) or shown.answer:
        return ""
    before, words, after = shown.text[:start], shown.text[start:stop], shown.text[stop:]
    return f'<p class="context">{escape(before)}<mark>{escape(words)}</mark>{escape(after)}</p>'


def _figure(picture: NDArray[np.uint8], caption: str) -> str:
    return (
        f'<figure><img src="{data_uri(picture)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _dot(color: tuple[int, int, int]) -> str:
    red, green, blue = color
    return f'<span class="dot" style="background:rgb({red},{green},{blue})"></span>'
