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

"""Questions about neighbours, and conversations in which one object leads to the next.

"what is left of the red mug?", "the mug left of the blue cube", and after "what can I drink from?"
a second question about "it". Left, right, in front and behind are those of the picture.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from flmm_sim.tabletop.tabletop import ALL_KINDS, SceneObject
from training.embedded.language.samples import (
    MARGIN_PX,
    Objects,
    Text,
    TextSample,
    article,
    pick,
    place,
)

# words -> (axis, sign): the thing meant lies on this side of the other one
SIDES: dict[str, tuple[int, int]] = {
    "left of": (0, -1),
    "right of": (0, 1),
    "behind": (1, -1),
    "in front of": (1, 1),
}
NEXT_TO = "next to"
FollowUp = tuple[TextSample, SceneObject | None]  # and what "it" is from then on


def neighbour(
    objects: Objects, anchor: SceneObject, side: str, of: Sequence[SceneObject] | None = None
) -> SceneObject | None:
    """The nearest of `of` (default: all) on one side of the anchor, if it is clear which."""
    others = [o for o in (of or objects) if o.label != anchor.label]
    if side != NEXT_TO:
        axis, sign = SIDES[side]
        others = [
            o for o in others if sign * (o.center_px[axis] - anchor.center_px[axis]) > MARGIN_PX
        ]
    ordered = sorted(others, key=lambda o: _distance(o, anchor))
    if not ordered:
        return None
    if len(ordered) > 1 and _distance(ordered[1], anchor) - _distance(ordered[0], anchor) < (
        MARGIN_PX
    ):
        return None
    return ordered[0]


def is_clear(objects: Objects, anchor: SceneObject, side: str) -> bool:
    """Whether a person could say what is there: no thing lies just at the border of the side."""
    if side == NEXT_TO:
        return True
    axis, _ = SIDES[side]
    return all(
        o.label == anchor.label or abs(o.center_px[axis] - anchor.center_px[axis]) > MARGIN_PX
        for o in objects
    )


def neighbour_question(objects: Objects, rng: np.random.Generator) -> TextSample | None:
    """What is left of, right of, behind, in front of or next to an object."""
    anchor, side = pick(rng, objects), pick(rng, (*SIDES, NEXT_TO))
    prompt = pick(
        rng,
        (
            f"what is {side} the {anchor.name}?",
            f"which object is {side} the {anchor.name}?",
            f"which one is {side} the {anchor.name}?",
            f"what lies {side} the {anchor.name}?",
            f"tell me what is {side} the {anchor.name}.",
        ),
    )
    return _neighbour_answer(objects, anchor, side, prompt, "beside")


def related_phrase(
    objects: Objects, rng: np.random.Generator
) -> tuple[str, tuple[int, ...]] | None:
    """ "the mug left of the blue cube" and the label it means, where exactly one fits.

    In half of the draws the scene has a second one of that kind, if it has any: then the kind alone
    does not tell which one is meant.
    """
    anchor, side = pick(rng, objects), pick(rng, tuple(SIDES))
    if not is_clear(objects, anchor, side):
        return None
    axis, sign = SIDES[side]
    fitting = [o for o in objects if sign * (o.center_px[axis] - anchor.center_px[axis]) > 0]
    kinds = [o.kind for o in fitting]
    alone = [o for o in fitting if kinds.count(o.kind) == 1]
    if len(fitting) == 1 and rng.random() < 0.4:
        return f"the {pick(rng, ('object', 'thing'))} {side} the {anchor.name}", (fitting[0].label,)
    everywhere = [o.kind for o in objects if o is not anchor]
    contested = [o for o in alone if everywhere.count(o.kind) > 1]
    if contested and rng.random() < 0.5:
        alone = contested
    if not alone:
        return None
    o = pick(rng, alone)
    return f"the {o.kind} {side} the {anchor.name}", (o.label,)


def converse(
    objects: Objects, rng: np.random.Generator, openings: Sequence[Callable[..., TextSample | None]]
) -> TextSample | None:
    """Two or three turns: an opening that names one object, then questions about "it"."""
    opening = pick(rng, openings)(objects, rng)
    if opening is None:
        return None
    named = {label for m in opening.mentions for label in m.labels}
    if len(named) != 1:
        return None
    it: SceneObject | None = next(o for o in objects if o.label in named)
    turns = [opening]
    for _ in range(int(rng.integers(1, 3))):
        if it is None:
            break
        asked = pick(rng, _FOLLOW_UPS)(objects, rng, it)
        if asked is None:
            break
        turns.append(asked[0])
        it = asked[1]
    if len(turns) == 1:
        return None
    return dataclasses.replace(turns[-1], before=tuple(turns[:-1]))


def _color(objects: Objects, rng: np.random.Generator, it: SceneObject) -> FollowUp:
    prompt = pick(rng, ("what color is it?", "which color does it have?"))
    return Text().add(f"it is {it.color}.").sample("dialogue", prompt), it


def _kind(objects: Objects, rng: np.random.Generator, it: SceneObject) -> FollowUp:
    asked = it.kind if rng.random() < 0.5 else pick(rng, ALL_KINDS)
    answer = "yes" if asked == it.kind else "no"
    text = Text().add(f"{answer}, it is ").name(f"{article(it.kind)} {it.kind}", [it.label])
    return text.add(".").sample("dialogue", f"is it {article(asked)} {asked}?"), it


def _where(objects: Objects, rng: np.random.Generator, it: SceneObject) -> FollowUp:
    return Text().add(f"it is {place(it)}.").sample("dialogue", "where is it?"), it


def _beside(objects: Objects, rng: np.random.Generator, it: SceneObject) -> FollowUp | None:
    side = pick(rng, (*SIDES, NEXT_TO))
    prompt = pick(rng, (f"which one is {side} it?", f"what is {side} it?"))
    sample = _neighbour_answer(objects, it, side, prompt, "dialogue")
    if sample is None:
        return None
    labels = {label for m in sample.mentions for label in m.labels}
    return sample, next((o for o in objects if o.label in labels), None)


_FOLLOW_UPS = (_color, _kind, _where, _beside, _beside, _beside)


def _neighbour_answer(
    objects: Objects, anchor: SceneObject, side: str, prompt: str, kind: str
) -> TextSample | None:
    if not is_clear(objects, anchor, side):
        return None
    found = neighbour(objects, anchor, side)
    if found is not None:
        return Text().name(f"the {found.name}", [found.label]).add(".").sample(kind, prompt)
    if side == NEXT_TO or any(_is_on(o, anchor, side) for o in objects):
        return None  # two equally near
    return Text().add("nothing.").sample(kind, prompt)


def _is_on(o: SceneObject, anchor: SceneObject, side: str) -> bool:
    axis, sign = SIDES[side]
    return sign * (o.center_px[axis] - anchor.center_px[axis]) > 0


def _distance(a: SceneObject, b: SceneObject) -> float:
    return math.dist(a.center_px, b.center_px)
