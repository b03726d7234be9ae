"""Plots as SVG inside a page: bars, curves and a timeline, in the colours of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

GOOD, BAD, NEUTRAL, LINE = "var(--good)", "var(--bad)", "var(--soft)", "#5b8def"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 190, 46, 26


@dataclass(frozen=True)
class TimelineMark:
    """One thing on a timeline: when, in which lane, how good (a CSS colour), what it says."""

    at_s: float
    lane: int
    color: str
    words: str


def histogram(values: Sequence[float], title: str, bins: int = 20) -> str:
    """How often values between 0 and 1 occur."""
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, int(value * bins)))] += 1
    top = max(counts, default=0) or 1
    width = (_WIDTH - _LEFT) / bins
    bars = "".join(
        f'<rect x="{_LEFT + i * width + 1:.1f}" y="{_y(n / top):.1f}" width="{width - 2:.1f}" '
        f'height="{_y(0) - _y(n / top):.1f}" fill="{LINE}"><title>{i / bins:.2f} to '
        f"{(i + 1) / bins:.2f}: {n}</title></rect>"
        for i, n in enumerate(counts)
    )
    labels = "".join(
        _label(_LEFT + (_WIDTH - _LEFT) * t, f"{t:g}", "end" if t == 1 else "middle")
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    return _plot(title, _scale(top) + bars + labels)


def bars(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str, unit: str) -> str:
    """Groups of bars from left to right, such as p50, p90, p99 of each stage."""
    top = max((value for _, values in rows for _, value in values), default=0.0) or 1.0
    height, gap = 15, 9
    pieces, y = [], 4
    shades = (1.0, 0.65, 0.4)
    for name, values in rows:
        first = y
        for index, (label, value) in enumerate(values):
            width = max(1.0, (_WIDTH - 220) * value / top)
            pieces.append(
                f'<rect x="110" y="{y}" width="{width:.1f}" height="{height - 3}" fill="{LINE}" '
                f'opacity="{shades[index % 3]}"/>'
                f'<text x="{114 + width:.1f}" y="{y + 10}">{escape(label)} {value:.4g} '
                f"{escape(unit)}</text>"
            )
            y += height
        pieces.append(f'<text x="104" y="{first + 10}" text-anchor="end">{escape(name)}</text>')
        y += gap
    return _plot(title, "".join(pieces), height=max(y, 20))


def curve(points: Sequence[tuple[float, float]], title: str, x_unit: str, y_unit: str) -> str:
    """A line through points, its lowest value 0."""
    if not points:
        return ""
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    top = max(y for _, y in points) or 1.0
    span = (x_high - x_low) or 1.0

    def place(x: float, y: float) -> str:
        return f"{_LEFT + (_WIDTH - _LEFT - 8) * (x - x_low) / span:.1f},{_y(y / top):.1f}"

    line = " ".join(place(x, y) for x, y in points)
    dots = "".join(
        '<circle cx="{}" cy="{}" r="2" fill="{}"/>'.format(*place(x, y).split(","), LINE)
        for x, y in points
    )
    ends = _label(_LEFT, f"{x_low:.4g} {x_unit}", "start")
    ends += _label(_WIDTH - 4, f"{x_high:.4g} {x_unit}", "end")
    body = f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="1.5"/>{dots}'
    return _plot(f"{title} ({y_unit})", _scale(top) + body + ends)


def cumulative(values: Sequence[float], title: str, unit: str) -> str:
    """The share of values that are not above x."""
    ordered = sorted(values)
    points = [(value, (i + 1) / len(ordered)) for i, value in enumerate(ordered)]
    return curve(points, title, unit, "share")


def timeline(marks: Sequence[TimelineMark], lanes: Sequence[str], end_s: float, title: str) -> str:
    """A lane for each command, a mark for each answer, over the seconds of the recording."""
    left, width, height = 300, 1060, 20
    span = end_s or 1.0
    pieces = []
    for lane, name in enumerate(lanes):
        y = lane * height + 4
        shown = name if len(name) <= 44 else name[:43] + "\u2026"
        pieces.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(shown)}'
            f"<title>{escape(name)}</title></text>"
            f'<line x1="{left}" y1="{y + 8}" x2="{width}" y2="{y + 8}" stroke="var(--line)"/>'
        )
    for mark in marks:
        x = left + (width - left - 12) * mark.at_s / span
        pieces.append(
            f'<rect x="{x:.1f}" y="{mark.lane * height + 5}" width="8" height="14" rx="2" '
            f'fill="{mark.color}"><title>{mark.at_s:.2f} s: {escape(mark.words)}</title></rect>'
        )
    bottom = len(lanes) * height + 18
    pieces.append(f'<text x="{left}" y="{bottom}">0 s</text>')
    pieces.append(f'<text x="{width}" y="{bottom}" text-anchor="end">{end_s:.4g} s</text>')
    return _plot(title, "".join(pieces), width=width + 4, height=bottom + 8)


def _y(share: float) -> float:
    """From 0..1 to the plot's height."""
    return 6 + (_HEIGHT - _BOTTOM - 6) * (1 - share)


def _scale(top: float) -> str:
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        lines.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:.3g}</text>'
        )
    return "".join(lines)


def _label(x: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{escape(words)}</text>'


def _plot(title: str, body: str, width: int = _WIDTH, height: int = _HEIGHT) -> str:
    return (
        f'<figure class="plot"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{body}</svg></figure>"
    )
