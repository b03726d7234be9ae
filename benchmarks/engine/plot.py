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

"""Draws a benchmark's JSON: seconds of commands beside the baseline's, stages, and memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.engine.rows import STAGES
from flmm_ros.report.colors import BASELINE, NEUTRAL, OURS

TITLES = {"llava": "LLaVA-1.5 shape", "llava_next": "LLaVA-NeXT shape"}


def plot(content: Mapping[str, Any], path: Path) -> None:
    """Writes a PNG: a row for each model, with commands, stages and memory side by side."""
    from matplotlib.figure import Figure

    models = content["models"]
    figure = Figure(figsize=(12, 3.4 * len(models)), layout="constrained", dpi=110)
    grid = figure.subplots(len(models), 3, squeeze=False)
    for axes, (name, model) in zip(grid, models.items(), strict=True):
        values = {(r["section"], r["name"]): r["value"] for r in model["rows"]}
        _commands(axes[0], values)
        _stages(axes[1], values)
        _memory(axes[2], values)
        axes[0].set_ylabel(TITLES.get(name, name), fontweight="bold")
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.15)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _bars(axes: Any, bars: Mapping[str, tuple[float, str]], unit: str) -> None:
    drawn = axes.bar(list(bars), [v for v, _ in bars.values()], color=[c for _, c in bars.values()])
    axes.bar_label(drawn, fmt="{:,.3g}", fontsize=8)
    axes.set_title(unit, fontsize=10, loc="left")
    axes.tick_params(axis="x", labelsize=8)


def _commands(axes: Any, values: Mapping[tuple[str, str], float]) -> None:
    bars = {}
    for what, short in (("question", "question"), ("1 phrase", "phrase")):
        section = f"commands: {what}"
        bars[f"{short}\nbaseline"] = (values[section, "baseline"], BASELINE)
        bars[f"{short}\nfirst"] = (values[section, "first"], OURS)
        bars[f"{short}\nagain"] = (values[section, "again on that image"], OURS)
    _bars(axes, bars, "one command, seconds")


def _stages(axes: Any, values: Mapping[tuple[str, str], float]) -> None:
    section = "a question on a new image"
    bars = {stage: (values[section, stage] / 1e3, OURS) for stage in STAGES}
    _bars(axes, bars, "a question on a new image, seconds")


def _memory(axes: Any, values: Mapping[tuple[str, str], float]) -> None:
    section = "peak memory above the loaded model, 1 phrase"
    bars = {
        "baseline": (values[section, "baseline"], BASELINE),
        "engine": (values[section, "engine"], OURS),
        "plain SDPA\nwith cache": (values[section, "plain SDPA with cache"], NEUTRAL),
    }
    _bars(axes, bars, "peak memory above the loaded model, MiB")
