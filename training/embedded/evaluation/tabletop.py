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

"""How well a model points and answers on tabletop scenes it never saw, through the engine's facade.

Every object of a scene is asked for by "the <colour> <kind>", together with as many absent phrases
(masks, presence, calibration, false alarms) and names nobody taught it, every kind of which several
lie there by "the <kind>" (ambiguity), some things by their place or size ("the mug left of the blue
cube"). What it says is evaluated in conversation.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.progress import track

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import UnknownWordError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.masks.mask import iou
from flmm_ros.engine.scene import Scene
from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS, KINDS, Tabletop, TabletopScene
from training.embedded.evaluation.conversation import (
    evaluate_answers,
    evaluate_conversation,
    evaluate_phrase_finding,
)
from training.embedded.evaluation.results import AmbiguousPhrase, ComparativePhrase, TabletopResults
from training.embedded.language.neighbours import related_phrase
from training.embedded.language.samples import pick
from training.embedded.language.spelling import misspelt
from training.embedded.language.superlatives import superlative
from training.embedded.language.vocabulary import UNTRAINED_WORDS

MATCH_IOU = 0.5  # a candidate above it lies on the thing


def evaluate_scenes(
    grounder: Grounder,
    first: int,
    stop: int,
    *,
    with_answers: bool = True,
    is_crowded: bool = False,
) -> TabletopResults:
    """Evaluates the scenes of seeds first..stop-1, the plain or the crowded ones."""
    notes = TabletopResults()
    with Tabletop() as table:
        for seed in track(range(first, stop), description="scenes"):
            truth = table.render_crowd(seed) if is_crowded else table.render(seed)
            scene = grounder.open(truth.rgb)
            evaluate_names(notes, scene, truth, ALL_KINDS if is_crowded else KINDS)
            evaluate_untrained_words(notes, scene, truth)
            evaluate_ambiguous(notes, scene, truth)
            evaluate_comparatives(notes, scene, truth)
            if with_answers:
                evaluate_answers(notes, scene, truth)
                evaluate_conversation(notes, scene, truth)
                evaluate_phrase_finding(notes, grounder, truth)
    return notes


def absent_names(
    truth: TabletopScene,
    count: int,
    rng: np.random.Generator,
    all_kinds: Sequence[str] = KINDS,
) -> list[str]:
    """Names of things that are not in the scene; most share a colour or a kind with one that is."""
    there = {o.name for o in truth.objects}
    names: list[str] = []
    while len(names) < count:
        o, choice = truth.objects[rng.integers(len(truth.objects))], rng.random()
        color = o.color if choice < 0.4 else str(rng.choice(list(COLORS)))
        kind = o.kind if 0.4 <= choice < 0.8 else str(rng.choice(list(all_kinds)))
        if f"{color} {kind}" not in there | set(names):
            names.append(f"{color} {kind}")
    return names


def evaluate_names(
    notes: TabletopResults, scene: Scene, truth: TabletopScene, all_kinds: Sequence[str] = KINDS
) -> None:
    """Present and absent things by their full names."""
    rng = np.random.default_rng([truth.seed, 1])
    names = [o.name for o in truth.objects]
    names += absent_names(truth, len(names), rng, all_kinds)
    rng.shuffle(names)
    # four at a time: a robot's sentence does not name a dozen things
    for start in range(0, len(names), 4):
        group = names[start : start + 4]
        for name, found in zip(group, scene.ground([f"the {n}" for n in group]), strict=True):
            obj = truth.find(name)
            notes.is_absent.append(obj is None)
            notes.said_absent.append(not found.is_present)
            notes.scores.append(found.score)
            if obj is None:
                notes.right.append(False)
                continue
            mask = truth.mask(obj)
            notes.right.append(notes.masks.add(found.mask, mask) > 0.5)
            notes.attention_points.append(bool(mask.flat[int(found.heat.argmax())]))
            notes.false_alarms.append(found.is_ambiguous)


def evaluate_untrained_words(notes: TabletopResults, scene: Scene, truth: TabletopScene) -> None:
    """A thing by a name that no training text has, and one that is there with a
    typo in its name."""
    rng = np.random.default_rng([truth.seed, 6])
    word, color = pick(rng, UNTRAINED_WORDS), pick(rng, truth.objects).color
    meant = pick(rng, truth.objects)
    phrases = [f"the {word}", f"the {color} {word}", f"the {misspelt(meant.name, rng, 1.0)}"]
    try:
        found = scene.ground(phrases)
    except UnknownWordError:  # a model of whole words
        notes.unheard += [False, False]
        notes.misspelt.append(0.0)
        return
    notes.unheard += [not grounding.is_present for grounding in found[:2]]
    notes.misspelt.append(iou(found[2].mask, truth.mask(meant)))


def evaluate_ambiguous(notes: TabletopResults, scene: Scene, truth: TabletopScene) -> None:
    """ "the <kind>" where several of a kind lie."""
    kinds = [o.kind for o in truth.objects]
    crowds = [kind for kind in ALL_KINDS if kinds.count(kind) > 1]
    for kind, found in zip(crowds, scene.ground([f"the {k}" for k in crowds]), strict=True):
        notes.crowds.append(ambiguous_phrase(found, truth, kind))


def evaluate_comparatives(notes: TabletopResults, scene: Scene, truth: TabletopScene) -> None:
    """Things distinguished by their place or size, up to two of each sort."""
    rng = np.random.default_rng([truth.seed, 5])
    for sort, draw in (("relation", related_phrase), ("superlative", superlative)):
        drawn = dict(filter(None, (draw(truth.objects, rng) for _ in range(4))))
        chosen = list(drawn.items())[:2]
        found = scene.ground([words for words, _ in chosen])
        for (_, labels), grounding in zip(chosen, found, strict=True):
            meant = next(o for o in truth.objects if o.label in labels)
            mask = truth.mask(meant)
            alike = sum(o.kind == meant.kind for o in truth.objects)
            notes.compared.append(ComparativePhrase(sort, iou(grounding.mask, mask), alike > 1))


def ambiguous_phrase(found: Grounding, truth: TabletopScene, kind: str) -> AmbiguousPhrase:
    """A grounding of "the <kind>" against all things of that kind."""
    masks = [truth.mask(o) for o in truth.objects if o.kind == kind]
    matched = sum(any(iou(c.mask, m) > MATCH_IOU for c in found.candidates) for m in masks)
    return AmbiguousPhrase(len(masks), len(found.candidates), matched)
