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

"""The ablation as a table, a plot, and a part of docs/training.md between two marks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flmm_ros.engine.errors import ConfigError
from training.ablation.runs import VariantResult
from training.ablation.variants import COMPLETE

BEGIN, END = "<!-- ablation: begin -->", "<!-- ablation: end -->"
_GROUPS = {"prompts": "tab:blue", "merge": "tab:orange", "layers": "tab:green"}


def markdown(results: Sequence[VariantResult], facts: str) -> str:
    """A Markdown table; `facts` says what it was made with."""
    lines = [
        "| variant | cIoU | mIoU | P@0.5 | P@0.9 | absent F1 | trained weights |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        cells = (r.cIoU, r.mIoU, r.precision_at_05, r.precision_at_09, r.absent_f1)
        numbers = " | ".join(f"{value:.3f}" for value in cells)
        lines.append(f"| {r.variant} | {numbers} | {r.weights / 1e6:.2f} M |")
    return "\n".join([*lines, "", facts, ""])


def draw(results: Sequence[VariantResult], path: Path) -> None:
    """A bar a variant: cIoU and P@0.5, as PNG.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: it would look for a display
    except ImportError as error:
        raise ConfigError(
            "the plot: expected matplotlib, got none; pip install matplotlib, or leave it out with "
            "--no-plot"
        ) from error
    figure = Figure(figsize=(7.2, 0.42 * len(results) + 1.2), layout="constrained")
    axes = figure.subplots()
    rows = range(len(results))[::-1]
    for row, r in zip(rows, results, strict=True):
        color = _GROUPS.get(r.group, "tab:gray")
        axes.barh(row, r.cIoU, height=0.62, color=color)
        axes.plot([r.precision_at_05] * 2, [row - 0.31, row + 0.31], color="black", linewidth=2)
        numbers = f"{r.cIoU:.3f}   {r.precision_at_05:.3f}"
        axes.text(1.02, row, numbers, va="center", fontsize=9, clip_on=False)
    complete = [r.cIoU for r in results if r.variant == COMPLETE.name]
    if complete:
        axes.axvline(complete[0], color="0.5", linestyle="--", linewidth=1)
    axes.set_yticks(list(rows), [r.variant for r in results])
    axes.text(1.02, len(results) - 0.35, "cIoU    P@0.5", va="center", fontsize=9)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(results) - 0.2))
    axes.set_xlabel("cIoU (bar) and P@0.5 (black mark) on unseen scenes")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def write_json(results: Sequence[VariantResult], about: Mapping[str, Any], path: Path) -> None:
    """Everything as JSON; scores are shares of one."""
    content = {**about, "results": [asdict(r) for r in results]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def fill_in(document: Path, table: str, picture: str = "") -> None:
    """Puts a table, below a picture of this file name, between the marks of a Markdown document.

    Raises:
        ConfigError: no document, or not exactly one pair of marks in it.
    """
    if not document.exists():
        raise ConfigError(f"{document}: expected a Markdown document, got nothing there")
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after:
        raise ConfigError(
            f"{document}: expected one line {BEGIN!r} and one {END!r} after it; put them where the "
            "table goes"
        )
    shown = f"![cIoU and P@0.5 of every variant]({picture})\n\n" if picture else ""
    document.write_text(f"{before}{BEGIN}\n\n{shown}{table}\n{END}{after}", encoding="utf-8")
