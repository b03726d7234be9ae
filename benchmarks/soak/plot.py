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

"""The plot of a soak: commands by result, memory and cancel latencies over time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.soak.event_log import OK
from benchmarks.soak.result import MAX_CANCEL_MS, SoakResult
from flmm_ros.report.colors import BAD, NEUTRAL, OURS, REFUSED

BIN_S = 5.0


def plot(result: SoakResult, path: Path) -> None:
    """Commands by result, memory, and cancel latencies, with every disturbance as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained", dpi=110)
    commands, memory, cancels = figure.subplots(3, 1, height_ratios=(3, 2, 1.5))
    _plot_commands(commands, result)
    _plot_memory(memory, result)
    _plot_cancels(cancels, result)
    for axes in (commands, memory):
        for event in result.events:
            color = OURS if event.is_fine else BAD
            axes.axvline(event.at_s - result.start_s, color=color, lw=0.8, ls=":")
        axes.set_xlim(0, 60 * result.minutes)
    for axes in (commands, memory, cancels):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _plot_commands(axes: Any, result: SoakResult) -> None:
    bins: dict[str, Counter[int]] = {"answered": Counter(), "refused": Counter(), "lost": Counter()}
    for sent_s, what in result.count.timeline:
        name = "answered" if what == OK else "refused" if what else "lost"
        bins[name][int((sent_s - result.start_s) // BIN_S)] += 1
    last = int(60 * result.minutes // BIN_S) + 1
    below = [0] * last
    for (name, counts), color in zip(bins.items(), (OURS, REFUSED, BAD), strict=True):
        heights = [counts[i] for i in range(last)]
        edges = [BIN_S * i for i in range(last)]
        axes.bar(edges, heights, BIN_S * 0.9, below, align="edge", color=color, label=name)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    axes.set_title(f"commands in {BIN_S:g} s, by when they were sent", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    top = 1.5 * max([1, *below])  # room for the names
    axes.set_ylim(0, top)
    for event in result.events:
        at_s = event.at_s - result.start_s
        axes.text(at_s, top, f" {event.name}", rotation=90, va="top", fontsize=6, color=NEUTRAL)


def _plot_memory(axes: Any, result: SoakResult) -> None:
    for life in sorted({s.life for s in result.samples}):
        of = [s for s in result.samples if s.life == life]
        axes.plot([s.at_s - result.start_s for s in of], [s.rss_mib for s in of], color=OURS)
    axes.set_ylim(bottom=0)
    axes.set_title("resident memory of the node, MiB; seconds", loc="left", fontsize=10)


def _plot_cancels(axes: Any, result: SoakResult) -> None:
    if result.count.cancel_ms:
        axes.hist(result.count.cancel_ms, bins=40, color=OURS)
    axes.axvline(MAX_CANCEL_MS, color=BAD, lw=1)
    axes.set_title("cancels: ms from request to the goal's end", loc="left", fontsize=10)
