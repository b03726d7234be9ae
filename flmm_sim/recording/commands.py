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

"""What is asked about a recorded scene, and the right answers, as a scenario has them."""

from __future__ import annotations

from typing import Any

from flmm_sim.tabletop.tabletop import COLORS, KINDS, TabletopScene

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")


def commands_for(
    scene: TabletopScene, at_s: float, until_s: float, every_s: float
) -> list[dict[str, Any]]:
    """Commands about a scene that is seen from at_s to until_s, each with what is expected.

    The largest and the smallest thing, one that is not there though its colour and its kind are,
    how many things there are, and where it is clear, the colour of one of its kind.
    """
    by_size = sorted(scene.objects, key=lambda o: o.visible_px)
    largest, smallest = by_size[-1].name, by_size[0].name
    found: list[tuple[str, dict[str, Any]]] = [
        (f"Pick up the {largest}.", {"objects": [largest]}),
        (f"Point at the {smallest}.", {"objects": [smallest]}),
        (f"Pick up the {absent_name(scene)}.", {"objects": []}),
        (
            "How many objects are there?",
            {"answer": [_NUMBERS[len(scene.objects)]], "answer_without": _others(scene)},
        ),
    ]
    kinds = [o.kind for o in scene.objects]
    alone = next((o for o in scene.objects if kinds.count(o.kind) == 1), None)
    if alone is not None:
        other = [color for color in COLORS if color != alone.color]
        expect = {"answer": [alone.color], "answer_without": other}
        found.append((f"What color is the {alone.kind}?", expect))
    when = {"at_s": round(at_s, 6), "until_s": round(until_s, 6), "every_s": every_s}
    return [{"say": text, **when, "expect": expect} for text, expect in found]


def absent_name(scene: TabletopScene) -> str:
    """A thing that is not there, of a colour and a kind that are where possible."""
    colors = [c for c in COLORS if any(o.color == c for o in scene.objects)] + list(COLORS)
    kinds = [k for k in KINDS if any(o.kind == k for o in scene.objects)] + list(KINDS)
    names = (f"{color} {kind}" for kind in kinds for color in colors)
    return next(name for name in names if scene.find(name) is None)


def _others(scene: TabletopScene) -> list[str]:
    return [number for n, number in enumerate(_NUMBERS) if n != len(scene.objects)]
