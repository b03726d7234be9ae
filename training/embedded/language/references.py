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

"""Words for objects of a scene: "the red mug", "the cubes", "the mug left of the blue ball"."""

from __future__ import annotations

import numpy as np

from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS
from training.embedded.language.neighbours import related_phrase
from training.embedded.language.samples import Objects, article, pick
from training.embedded.language.spelling import made_up
from training.embedded.language.superlatives import superlative
from training.embedded.language.vocabulary import PLURALS, STRANGE, STRANGE_COLORS, SYNONYMS

STRANGE_SHARE, STRANGE_COLOR_SHARE = 0.2, 0.06  # of absent phrases: "the banana", "the pink mug"
SEVERAL = frozenset([*PLURALS.values(), "objects", "things"])
KIND_WORDS = frozenset([*ALL_KINDS, *PLURALS.values(), *(w for s in SYNONYMS.values() for w in s)])


def several(
    objects: Objects, rng: np.random.Generator, by_kind: float = 0.7
) -> tuple[str, tuple[int, ...]]:
    """Words for all things of a kind or a colour: "the cubes", "all the red things", and "the cube"
    where several are meant equally. by_kind: share of kinds."""
    kinds = [o.kind for o in objects]
    crowded = [o for o in objects if kinds.count(o.kind) > 1]
    o = pick(rng, crowded if crowded and rng.random() < 0.5 else objects)
    if rng.random() < by_kind:
        crowd = [x for x in objects if x.kind == o.kind]
        singular, plural = kind_word(o.kind, rng, 0.15), PLURALS[o.kind]
    else:
        crowd = [x for x in objects if x.color == o.color]
        thing = pick(rng, ("object", "thing"))
        singular, plural = f"{o.color} {thing}", f"{o.color} {thing}s"
    labels = tuple(x.label for x in crowd)
    if len(crowd) > 1 and rng.random() < 0.5:
        return f"the {singular}", labels
    return f"{pick(rng, ('the', 'the', 'all the', 'all'))} {plural}", labels


def reference(
    objects: Objects, rng: np.random.Generator, absent: float
) -> tuple[str, tuple[int, ...]]:
    """Words for things of the scene and their labels, or for none: of every sort."""
    choice = rng.random()
    if choice < 0.15:
        return several(objects, rng)
    if choice < 0.5:
        compared = (related_phrase if choice < 0.35 else superlative)(objects, rng)
        if compared is not None:
            return compared
    return single(objects, rng, absent)


def single(
    objects: Objects, rng: np.random.Generator, absent: float
) -> tuple[str, tuple[int, ...]]:
    """Words for one object ("the red mug", "the mug", "the red thing") and its label; or for
    none."""
    if rng.random() >= absent:
        o = pick(rng, objects)
        choice = rng.random()
        if choice < 0.12 and count_of(objects, kind=o.kind) == 1:
            return f"the {kind_word(o.kind, rng, 0.3)}", (o.label,)
        if choice < 0.24 and count_of(objects, color=o.color) == 1:
            return f"the {o.color} {pick(rng, ('object', 'thing', 'one'))}", (o.label,)
        first = pick(rng, ("the", "the", "the", article(o.color)))
        return f"{first} {o.color} {kind_word(o.kind, rng, 0.2)}", (o.label,)
    choice = rng.random()
    if choice < STRANGE_SHARE:
        return f"the {strange(objects, rng)}", ()
    if choice < STRANGE_SHARE + STRANGE_COLOR_SHARE:
        return f"the {pick(rng, STRANGE_COLORS)} {kind_word(pick(rng, ALL_KINDS), rng, 0.2)}", ()
    missing = [kind for kind in ALL_KINDS if not count_of(objects, kind=kind)]
    if missing and rng.random() < 0.15:
        return f"the {kind_word(pick(rng, missing), rng, 0.3)}", ()
    color, kind, _ = maybe_absent(objects, rng, absent=1.0)
    return f"the {color} {kind_word(kind, rng, 0.2)}", ()


def strange(objects: Objects, rng: np.random.Generator) -> str:
    """What no table has: "banana", "red banana", a word that means nothing."""
    word = made_up(rng) if rng.random() < 0.4 else pick(rng, STRANGE)
    return f"{pick(rng, objects).color} {word}" if rng.random() < 0.4 else word


def maybe_absent(
    objects: Objects, rng: np.random.Generator, absent: float
) -> tuple[str, str, tuple[int, ...]]:
    """Colour, kind and label of an object of the scene, or of one like it that is not there."""
    if rng.random() >= absent:
        o = pick(rng, objects)
        return o.color, o.kind, (o.label,)
    there = {(o.color, o.kind) for o in objects}
    while True:
        o, choice = pick(rng, objects), rng.random()
        color = o.color if choice < 0.4 else pick(rng, list(COLORS))
        kind = o.kind if 0.4 <= choice < 0.8 else pick(rng, ALL_KINDS)
        if (color, kind) not in there:
            return color, kind, ()


def count_of(objects: Objects, *, kind: str | None = None, color: str | None = None) -> int:
    """How many objects are of a kind, of a colour, or both."""
    return sum((kind in (None, o.kind)) and (color in (None, o.color)) for o in objects)


def kind_word(kind: str, rng: np.random.Generator, synonym: float) -> str:
    """The kind's own word, or with probability `synonym` another one for it."""
    return pick(rng, SYNONYMS[kind]) if rng.random() < synonym else kind
