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

"""Plots inside a page, as SVG in the colours of the page, light or dark as the reader's screen is.

matplotlib draws them; it is loaded when the first one is drawn. It knows no CSS variables: it draws
in placeholder colours, which become the page's variables afterwards.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOOD, BAD, NEUTRAL = "#010101", "#020202", "#030303"
INK, SOFT, LINE, ACCENT = "#040404", "#050505", "#060606", "#070707"
_CSS = {
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    NEUTRAL: "var(--soft)",
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
}
_WIDTH_PX, _HEIGHT_PX, _TEXT_PX = 560, 190, 12
_PX_PER_INCH = 72  # of SVG, as matplotlib writes it
_LANE_PX, _LANE_NAMES_PX, _TIMELINE_WIDTH_PX, _LANE_CHARS = 20, 300, 1060, 44
_BAR_PX, _BAR_GAP_PX, _BAR_NAMES_PX, _BAR_VALUES_PX = 15, 9, 110, 110
_SHADES = (1.0, 0.65, 0.4)


@dataclass(frozen=True)
class Plot:
    """A plot with its title. svg: escaped, to stand in a page as it is."""

    title: str
    svg: Markup
    is_wide: bool = False


@dataclass(frozen=True)
class TimelineMark:
    """One thing on a timeline: when, in which lane, how good (GOOD, BAD, NEUTRAL), what it says."""

    at_s: float
    lane: int
    color: str
    words: str


def histogram(values: Sequence[float], title: str, bins: int = 20) -> Plot:
    """How often values between 0 and 1 occur."""
    figure, axes = _axes()
    axes.hist(values, bins=bins, range=(0.0, 1.0), color=ACCENT, rwidth=0.9)
    axes.set_xlim(0.0, 1.0)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.locator_params(axis="y", integer=True, nbins=4)
    return _plot(figure, title)


def bars(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str, unit: str) -> Plot:
    """Groups of bars from left to right, such as p50, p90, p99 of each stage."""
    count = sum(len(values) for _, values in rows)
    height_px = max(20, count * _BAR_PX + len(rows) * _BAR_GAP_PX)
    figure, axes = _axes(height_px=height_px, is_framed=False)
    axes.set_position(
        (_BAR_NAMES_PX / _WIDTH_PX, 0.0, 1 - (_BAR_NAMES_PX + _BAR_VALUES_PX) / _WIDTH_PX, 1.0)
    )
    y_px, names = 0.0, []
    for name, values in rows:
        names.append((y_px + _BAR_PX / 2, name))
        for index, (label, value) in enumerate(values):
            middle_px = y_px + _BAR_PX / 2
            shade = _SHADES[index % len(_SHADES)]
            axes.barh(middle_px, value, height=_BAR_PX - 3, color=ACCENT, alpha=shade)
            axes.annotate(
                f"{label} {value:.4g} {unit}".strip(),
                (value, middle_px),
                (4, 0),
                textcoords="offset pixels",
                va="center_baseline",
                color=SOFT,
                fontsize=_TEXT_PX,
            )
            y_px += _BAR_PX
        y_px += _BAR_GAP_PX
    axes.set_ylim(height_px, 0)
    axes.set_xlim(0, max((v for _, values in rows for _, v in values), default=0.0) or 1.0)
    axes.set_xticks([])
    axes.set_yticks([at for at, _ in names], [name for _, name in names])
    return _plot(figure, title)


def curve(points: Sequence[tuple[float, float]], title: str, x_unit: str, y_unit: str) -> Plot:
    """A line through points, its lowest value 0."""
    figure, axes = _axes()
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=ACCENT, linewidth=1.5, marker="o", markersize=3)
    axes.set_ylim(0, 1.05 * max(y) or 1.0)
    axes.set_xlabel(x_unit, color=SOFT, fontsize=_TEXT_PX)
    return _plot(figure, f"{title} ({y_unit})")


def cumulative(values: Sequence[float], title: str, unit: str) -> Plot:
    """The share of values that are not above x."""
    figure, axes = _axes()
    axes.ecdf(values, color=ACCENT, linewidth=1.5)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel(unit, color=SOFT, fontsize=_TEXT_PX)
    return _plot(figure, f"{title} (share)")


def timeline(marks: Sequence[TimelineMark], lanes: Sequence[str], end_s: float, title: str) -> Plot:
    """A lane for each command, a mark for each answer, over the seconds of the recording."""
    height_px = len(lanes) * _LANE_PX + 30
    figure, axes = _axes(_TIMELINE_WIDTH_PX, height_px, is_framed=False)
    left = _LANE_NAMES_PX / _TIMELINE_WIDTH_PX
    axes.set_position((left, 26 / height_px, 0.985 - left, 1 - 30 / height_px))
    span_s = end_s or 1.0
    axes.hlines(range(len(lanes)), 0, 1, color=LINE, transform=axes.get_yaxis_transform())
    words: list[list[str]] = []
    for color in (GOOD, BAD, NEUTRAL):
        own = [mark for mark in marks if mark.color == color]
        if own:
            axes.scatter(
                [mark.at_s for mark in own],
                [mark.lane for mark in own],
                s=14**2,
                marker=_upright_mark(),
                color=color,
                zorder=3,
                clip_on=False,
            ).set_gid(f"marks{len(words)}")
            words.append([f"{mark.at_s:.2f} s: {mark.words}" for mark in own])
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_xlim(-0.006 * span_s, 1.006 * span_s)
    axes.set_xticks([0.0, span_s], ["0 s", f"{end_s:.4g} s"])
    axes.set_yticks(range(len(lanes)), [_shortened(name) for name in lanes])
    hints = {f"marks{index}": texts for index, texts in enumerate(words)}
    return _plot(figure, title, hints, is_wide=True)


def _upright_mark() -> Any:
    from matplotlib.path import Path

    return Path([(-0.28, -0.5), (0.28, -0.5), (0.28, 0.5), (-0.28, 0.5), (-0.28, -0.5)])


def _shortened(name: str) -> str:
    return name if len(name) <= _LANE_CHARS else name[: _LANE_CHARS - 1] + "\u2026"


def _axes(
    width_px: float = _WIDTH_PX, height_px: float = _HEIGHT_PX, *, is_framed: bool = True
) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    size = (width_px / _PX_PER_INCH, height_px / _PX_PER_INCH)
    figure = Figure(figsize=size, dpi=_PX_PER_INCH, layout="constrained" if is_framed else None)
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=6, labelsize=_TEXT_PX, labelcolor=SOFT)
    if is_framed:
        axes.grid(axis="y", color=LINE)
        axes.set_axisbelow(True)
        axes.locator_params(axis="y", nbins=4)
    return figure, axes


def _plot(
    figure: Figure,
    title: str,
    hints: Mapping[str, Sequence[str]] | None = None,
    *,
    is_wide: bool = False,
) -> Plot:
    """hints: what each mark of a group, by its id, says when the mouse is on it."""
    import matplotlib

    out = io.StringIO()
    # The title as salt: ids of one page differ between plots, and are the same in every run.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(
            out,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = out.getvalue()
    for group, texts in (hints or {}).items():
        svg = _with_hints(svg, group, texts)
    # Safe: matplotlib and `escape` have escaped all texts in it.
    return Plot(title, Markup(_for_page(svg, title)), is_wide)  # noqa: S704


def _with_hints(svg: str, group: str, texts: Sequence[str]) -> str:
    """The marks of a group, in their order, with a text each."""
    start = svg.index(f'<g id="{group}">')
    before, rest = svg[:start], svg[start:]
    remaining = iter(texts)

    def with_text(found: re.Match[str]) -> str:
        text = next(remaining, None)
        return found[0] if text is None else f"{found[1]}><title>{escape(text)}</title></use>"

    return before + re.sub(r"(<use [^>]*?)/>", with_text, rest, count=len(texts))


def _for_page(svg: str, title: str) -> str:
    """The svg element alone, in the page's colours and letters, as wide as its place."""
    svg = svg[svg.index("<svg") :].rstrip()
    box = re.search(r'viewBox="([^"]*)"', svg)
    head = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(title)}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # they would stand in the page once for each plot
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", svg)
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    for color, css in _CSS.items():
        svg = svg.replace(color, css)
    return svg
