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

"""What can be said about a tabletop: questions with answers, descriptions, commands, and how often.

Everything the embedded language model ever learns from is text made here and in the files it calls
from the list of objects (kind, colour, place), never from masks. A `TextSample` is one turn:
prompt, answer, and which words of the answer are given.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS, SceneObject
from training.embedded.language.neighbours import converse, neighbour_question
from training.embedded.language.references import (
    count_of,
    kind_word,
    maybe_absent,
    strange,
)
from training.embedded.language.samples import (
    MARGIN_PX,
    Maker,
    Objects,
    Text,
    TextSample,
    article,
    left_to_right,
    pick,
    place,
)
from training.embedded.language.spelling import misspelt
from training.embedded.language.statements import DESCRIBE, statement
from training.embedded.language.vocabulary import NUMBERS, PLURALS, STRANGE, STRANGE_USES, USES

DESCRIPTIONS = (
    "describe the image.", "what do you see?", "describe the scene.", "what is on the table?",
    "list the objects.", "which objects are there?", "tell me what you see.", "what is there?",
    "what is in the image?", "name everything you see.",
)  # fmt: skip
USE_QUESTIONS = (
    "what can I {use}?",
    "which object can I {use}?",
    "give me something to {use}.",
    "I want something to {use}.",
    "I need something to {use}.",
    "find me something I can {use}.",
    "hand me something to {use}.",
    "is there something I can {use}?",
    "what could you {use}?",
    "which one could I {use}?",
)
COMMANDS = (
    "pick up the {0}.", "grab the {0}.", "give me the {0}.", "point at the {0}.", "take the {0}.",
    "show me the {0}.", "find the {0}.", "bring me the {0}.", "I need the {0}.", "the {0}, please.",
    "can you hand me the {0}?", "please pick up the {0}.", "move the {0}.", "look at the {0}.",
    "could you point to the {0}?", "I would like the {0}.",
)  # fmt: skip
NOTHING = "there is nothing like that here."
STRANGE_SHARE = 0.08  # of questions about one thing: it is one that no table has
TYPOS = 0.06  # share of prompts with a typo


def draw(objects: Objects, rng: np.random.Generator) -> TextSample:
    """One random turn about these objects."""
    names = list(MAKERS)
    weights = np.array([MAKERS[n][1] for n in names])
    while True:
        name = names[rng.choice(len(names), p=weights / weights.sum())]
        sample = MAKERS[name][0](objects, rng)
        if sample is None:
            continue
        if sample.kind == "statement":  # its prompt is the engine's own
            return sample
        return dataclasses.replace(sample, prompt=misspelt(sample.prompt, rng, TYPOS))


def describe(objects: Objects, rng: np.random.Generator) -> TextSample:
    """All objects, from left to right."""
    prompt = DESCRIBE if rng.random() < 0.3 else pick(rng, DESCRIPTIONS)
    return _listing(left_to_right(objects)).sample("description", prompt)


def color_of(objects: Objects, rng: np.random.Generator) -> TextSample | None:
    """The colour of the only object of a kind."""
    alone = [o for o in objects if count_of(objects, kind=o.kind) == 1]
    if not alone:
        return None
    o = pick(rng, alone)
    word = kind_word(o.kind, rng, 0.2)
    prompt = pick(
        rng,
        (
            f"what color is the {word}?",
            f"which color does the {word} have?",
            f"what is the color of the {word}?",
            f"tell me the color of the {word}.",
        ),
    )
    return Text().name(f"the {o.kind}", [o.label]).add(f" is {o.color}.").sample("color", prompt)


def kind_of(objects: Objects, rng: np.random.Generator) -> TextSample | None:
    """What the only object of a colour is."""
    alone = [o for o in objects if count_of(objects, color=o.color) == 1]
    if not alone:
        return None
    o = pick(rng, alone)
    thing = pick(rng, ("object", "thing", "one"))
    prompt = pick(
        rng,
        (
            f"what is the {o.color} {thing}?",
            f"what {thing} is {o.color}?",
            f"which {thing} is {o.color}?",
            f"tell me what the {o.color} {thing} is.",
        ),
    )
    return Text().name(f"the {o.name}", [o.label]).add(".").sample("kind", prompt)


def is_there(objects: Objects, rng: np.random.Generator) -> TextSample:
    """Whether an object is on the table; half the questions name one that is not."""
    color, kind, labels = maybe_absent(objects, rng, absent=0.5)
    name = f"{color} {kind_word(kind, rng, 0.2)}"
    is_strange = rng.random() < STRANGE_SHARE
    if is_strange:
        name, labels = strange(objects, rng), ()
    prompt = pick(
        rng,
        (
            f"is there {article(name)} {name}?",
            f"do you see {article(name)} {name}?",
            f"can you see the {name}?",
            f"is the {name} here?",
            f"is there {article(name)} {name} on the table?",
        ),
    )
    text = Text()
    if labels:
        text.add("yes, there is ").name(f"{article(color)} {color} {kind}", labels).add(".")
    elif is_strange:
        text.add("no, ").add(NOTHING)
    else:
        text.add("no, there is ").name(f"no {color} {kind}", labels).add(".")
    return text.sample("yes_no", prompt)


def how_many(objects: Objects, rng: np.random.Generator) -> TextSample:
    """How many objects, of a kind, of a colour, or in all."""
    choice = rng.random()
    if choice < 0.35:
        thing, number = pick(rng, ("objects", "things")), len(objects)
    elif choice < 0.4:
        thing, number = f"{pick(rng, STRANGE)}s", 0
    elif choice < 0.75:
        kind = pick(rng, objects).kind if rng.random() < 0.75 else pick(rng, ALL_KINDS)
        thing, number = PLURALS[kind], count_of(objects, kind=kind)
    else:
        color = pick(rng, objects).color if rng.random() < 0.75 else pick(rng, list(COLORS))
        thing, number = f"{color} objects", count_of(objects, color=color)
    prompt = pick(
        rng,
        (
            f"how many {thing} are there?",
            f"how many {thing} do you see?",
            f"count the {thing}.",
            f"tell me how many {thing} there are.",
            f"how many {thing} are on the table?",
        ),
    )
    return Text().add(f"{NUMBERS[number]}.").sample("count", prompt)


def extreme(objects: Objects, rng: np.random.Generator) -> TextSample | None:
    """Which object is leftmost, rightmost, nearest or farthest."""
    axis, sign, prompts = _EXTREMES[rng.integers(len(_EXTREMES))]
    ordered = sorted(objects, key=lambda o: sign * o.center_px[axis])
    if abs(ordered[0].center_px[axis] - ordered[1].center_px[axis]) < MARGIN_PX:
        return None
    o = ordered[0]
    return Text().name(f"the {o.name}", [o.label]).add(".").sample("place", pick(rng, prompts))


_EXTREMES: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 1, ("what is on the left?", "which object is on the far left?", "what is leftmost?",
            "which object is farthest to the left?")),
    (0, -1, ("what is on the right?", "which object is on the far right?", "what is rightmost?",
             "which object is farthest to the right?")),
    (1, -1, ("what is nearest?", "which object is closest to you?", "what is in front?",
             "which object is nearest to you?")),
    (1, 1, ("what is farthest?", "which object is farthest from you?", "what is at the back?",
            "which object is farthest away?")),
)  # fmt: skip


def compare(objects: Objects, rng: np.random.Generator) -> TextSample | None:
    """Whether one object is left or right of, before or behind another."""
    a, b = _two(objects, rng)
    axis = int(rng.integers(2))
    apart = a.center_px[axis] - b.center_px[axis]
    if abs(apart) < MARGIN_PX:
        return None
    true = (
        ("left of" if apart < 0 else "right of")
        if axis == 0
        else ("behind" if apart < 0 else "in front of")
    )
    opposite = {
        "left of": "right of",
        "right of": "left of",
        "behind": "in front of",
        "in front of": "behind",
    }
    said = true if rng.random() < 0.5 else opposite[true]
    prompt = f"is the {a.name} {said} the {b.name}?"
    text = Text().add("yes, " if said == true else "no, ").name(f"the {a.name}", [a.label])
    text.add(f" is {true} ").name(f"the {b.name}", [b.label]).add(".")
    return text.sample("relation", prompt)


def use(objects: Objects, rng: np.random.Generator) -> TextSample:
    """What an object is good for; all that fit, from left to right."""
    kind = pick(rng, objects).kind if rng.random() < 0.8 else pick(rng, ALL_KINDS)
    question = pick(rng, USE_QUESTIONS)
    if rng.random() < STRANGE_SHARE:
        return Text().add(NOTHING).sample("use", question.format(use=pick(rng, STRANGE_USES)))
    question = question.format(use=pick(rng, USES[kind]))
    fitting = [o for o in left_to_right(objects) if o.kind == kind]
    if not fitting:
        return Text().add(NOTHING).sample("use", question)
    return _listing(fitting, "the").sample("use", question)


def where(objects: Objects, rng: np.random.Generator) -> TextSample:
    """Where an object is, as an answer."""
    color, kind, labels = maybe_absent(objects, rng, absent=0.25)
    asked = pick(
        rng, ("where is the {0}?", "where do you see the {0}?", "tell me where the {0} is.")
    )
    if rng.random() < STRANGE_SHARE:
        return Text().add(NOTHING).sample("where", asked.format(strange(objects, rng)))
    prompt = asked.format(f"{color} {kind_word(kind, rng, 0.2)}")
    if not labels:
        text = Text().add("there is ").name(f"no {color} {kind}", []).add(" here.")
        return text.sample("where", prompt)
    at = place(next(o for o in objects if o.label == labels[0]))
    return Text().name(f"the {color} {kind}", labels).add(f" is {at}.").sample("where", prompt)


def command(objects: Objects, rng: np.random.Generator) -> TextSample:
    """What is to be done with a thing: the answer names it, or says that it is not there."""
    color, kind, labels = maybe_absent(objects, rng, absent=0.3)
    asked = pick(rng, COMMANDS)
    if rng.random() < STRANGE_SHARE:
        return Text().add(NOTHING).sample("command", asked.format(strange(objects, rng)))
    prompt = asked.format(f"{color} {kind_word(kind, rng, 0.2)}")
    if not labels:
        text = Text().add("there is ").name(f"no {color} {kind}", []).add(" here.")
        return text.sample("command", prompt)
    return Text().name(f"the {color} {kind}", labels).add(".").sample("command", prompt)


def dialogue(objects: Objects, rng: np.random.Generator) -> TextSample | None:
    """A conversation of two or three turns."""
    return converse(objects, rng, (use, extreme, kind_of, where, is_there, neighbour_question))


# name -> (maker, share of the turns)
MAKERS: dict[str, tuple[Maker, float]] = {
    "statement": (statement, 0.36),
    "description": (describe, 0.07),
    "color": (color_of, 0.03),
    "kind": (kind_of, 0.03),
    "yes_no": (is_there, 0.12),
    "count": (how_many, 0.11),
    "place": (extreme, 0.07),
    "relation": (compare, 0.09),
    "use": (use, 0.12),
    "where": (where, 0.04),
    "command": (command, 0.04),
    "beside": (neighbour_question, 0.11),
    "dialogue": (dialogue, 0.12),
}
QUESTION_KINDS = ("color", "kind", "yes_no", "count", "place", "use")
FURTHER_KINDS = (
    "relation",
    "description",
    "beside",
    "dialogue",
    "command",
)  # evaluated too, but reported separately


def _listing(objects: Objects, determiner: str = "") -> Text:
    """Every object in one list: "a red mug, an orange cube and a blue ball"."""
    text = Text()
    for i, o in enumerate(objects):
        if i:
            text.add(" and " if i + 1 == len(objects) else ", ")
        first = determiner or article(o.name)
        text.name(f"{first} {o.name}", [o.label])
    return text.add(".")


def _two(objects: Objects, rng: np.random.Generator) -> tuple[SceneObject, SceneObject]:
    first, second = rng.choice(len(objects), 2, replace=False)
    return objects[first], objects[second]
