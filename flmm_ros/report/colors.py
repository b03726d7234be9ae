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

"""Colours of pages and plots: those that mean something have one place."""

from __future__ import annotations

STAGE_COLORS: dict[str, str] = {
    "encode": "#7a8ba0",
    "generate": "#5b8def",
    "read": "#e0a030",
    "decode": "#3aa987",
    "see": "#d0698f",
    "refine": "#b07cd8",
    "locate": "#d9785f",
}
OTHER_COLOR = "#9a9a9a"

# Of plots that stand in documents, on white.
OURS, BASELINE, BAD, REFUSED, NEUTRAL = "#1b7f79", "#c8553d", "#c8553d", "#e0a458", "#8d99ae"


def css_color(color: tuple[int, int, int]) -> str:
    """RGB 0..255 as CSS writes it."""
    return "rgb({},{},{})".format(*color)


def plate_style(color: tuple[int, int, int]) -> str:
    """CSS of a plate with readable words on it: white ones where black would be too close."""
    red, green, blue = ((value / 255) ** 2.2 for value in color)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return f"background:{css_color(color)};color:{'#000' if luminance > 0.18 else '#fff'}"
