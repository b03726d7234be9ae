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

"""Plots of an evaluation; matplotlib is imported only when one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flmm_ros.report.colors import NEUTRAL, OURS
from training.evaluation.metrics import ScoreBin, calibration_error


def draw_reliability(bins: Sequence[ScoreBin], path: Path) -> None:
    """The reliability diagram of a score, as PNG: how often it is right where it says s.

    On the dashed line a score means what it says; the lower panel shows how many phrases had it.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    figure = Figure(figsize=(4.0, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    at = [b.score for b in bins]
    upper.plot([0, 1], [0, 1], "--", color=NEUTRAL, linewidth=1)
    upper.plot(at, [b.right for b in bins], "o-", color=OURS, markersize=4)
    upper.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), ylabel="share with IoU > 0.5")
    upper.set_title(f"expected calibration error {calibration_error(bins):.3f}", fontsize=10)
    lower.bar(at, [b.count for b in bins], width=0.06, color=OURS)
    lower.set(xlabel="score", ylabel="phrases")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
