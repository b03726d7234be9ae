"""What can be said about a tabletop: questions with answers, descriptions, statements, phrases.

Everything the embedded language model ever learns from is text made here from the list of objects
(kind, colour, place), never from masks. A `Sample` is one turn: prompt, answer, and which words of
the answer are given. Given words are read but not learned as output: "the green duck is" can be
read in a scene without a duck, and only "not here" is learned, so that reading a name makes the
model look for the object, while free descriptions stay truthful.

Does not know about: pixels, tensors, tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from flmm_ros.tools.tabletop import COLORS, HEIGHT_PX, KINDS, WIDTH_PX, SceneObject

DESCRIBE = "Please give me a description of the image."
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
PLURALS = {
    "cube": "cubes",
    "ball": "balls",
    "cylinder": "cylinders",
    "mug": "mugs",
    "duck": "ducks",
    "ring": "rings",
    "bunny": "bunnies",
}
SYNONYMS = {
    "cube": ("block", "box"),
    "ball": ("sphere",),
    "cylinder": ("tube",),
    "mug": ("cup",),
    "duck": ("bird",),
    "ring": ("donut",),
    "bunny": ("rabbit",),
}
USES: dict[str, tuple[str, ...]] = {
    "mug": ("drink from", "pour tea into", "fill with water"),
    "ball": ("play soccer with", "throw and catch", "roll on the floor"),
    "cube": ("build a tower with", "stack", "throw as a die"),
    "duck": ("put in the bath", "let swim on the water"),
    "bunny": ("feed a carrot", "let hop in the garden"),
    "ring": ("put on a finger", "hang on a peg"),
    "cylinder": ("use as a pillar", "use as a rolling pin"),
}
USE_QUESTIONS = (
    "what can I {use}?",
    "which object can I {use}?",
    "give me something to {use}.",
    "I want something to {use}.",
    "find me something I can {use}.",
    "what could you {use}?",
)
NOTHING = "there is nothing like that here."
MARGIN_PX = 12.0  # places closer than this are not compared: a person could not tell either


@dataclass(frozen=True)
class Mention:
    """A phrase of the answer and the objects it means, by label; none when it is absent."""

    text_span: tuple[int, int]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """One turn. `given` are spans of characters of the answer that are read, not learned."""

    kind: str
    prompt: str
    answer: str
    given: tuple[tuple[int, int], ...] = ()
    mentions: tuple[Mention, ...] = ()


T = TypeVar("T")
Objects = Sequence[SceneObject]
Maker = Callable[[Objects, np.random.Generator], Sample | None]


class _Text:
    """Builds an answer piece by piece and remembers where its phrases stand."""

    def __init__(self) -> None:
        self.text = ""
        self.mentions: list[Mention] = []
        self.given: list[tuple[int, int]] = []

    def add(self, words: str) -> _Text:
        self.text += words
        return self

    def name(self, words: str, labels: Sequence[int]) -> _Text:
        start = len(self.text)
        self.text += words
        self.mentions.append(Mention((start, len(self.text)), tuple(labels)))
        return self

    def give(self, words: str, labels: Sequence[int], verb: str) -> _Text:
        """A name and what follows it, both read only."""
        start = len(self.text)
        self.name(words, labels).add(verb)
        self.given.append((start, len(self.text)))
        return self

    def sample(self, kind: str, prompt: str) -> Sample:
        return Sample(kind, prompt, self.text, tuple(self.given), tuple(self.mentions))


def draw(objects: Objects, rng: np.random.Generator) -> Sample:
    """One random turn about these objects."""
    names = list(MAKERS)
    weights = np.array([MAKERS[n][1] for n in names])
    while True:
        name = names[rng.choice(len(names), p=weights / weights.sum())]
        sample = MAKERS[name][0](objects, rng)
        if sample is not None:
            return sample


def describe(objects: Objects, rng: np.random.Generator) -> Sample:
    """All objects, from left to right."""
    prompt = _pick(
        rng, (DESCRIBE, DESCRIBE, "describe the image.", "what do you see?", "describe the scene.")
    )
    return _listing(_left_to_right(objects)).sample("description", prompt)


def color_of(objects: Objects, rng: np.random.Generator) -> Sample | None:
    """The colour of the only object of a kind."""
    alone = [o for o in objects if _count(objects, kind=o.kind) == 1]
    if not alone:
        return None
    o = _pick(rng, alone)
    word = _kind_word(o.kind, rng, 0.2)
    prompt = _pick(rng, (f"what color is the {word}?", f"which color does the {word} have?"))
    return _Text().name(f"the {o.kind}", [o.label]).add(f" is {o.color}.").sample("color", prompt)


def kind_of(objects: Objects, rng: np.random.Generator) -> Sample | None:
    """What the only object of a colour is."""
    alone = [o for o in objects if _count(objects, color=o.color) == 1]
    if not alone:
        return None
    o = _pick(rng, alone)
    thing = _pick(rng, ("object", "thing", "one"))
    prompt = _pick(rng, (f"what is the {o.color} {thing}?", f"what {thing} is {o.color}?"))
    return _Text().name(f"the {o.name}", [o.label]).add(".").sample("kind", prompt)


def is_there(objects: Objects, rng: np.random.Generator) -> Sample:
    """Whether an object is on the table; half the questions name one that is not."""
    color, kind, labels = _maybe_absent(objects, rng, absent=0.5)
    article = "an" if color == "orange" else "a"
    prompt = _pick(
        rng,
        (
            f"is there {article} {color} {_kind_word(kind, rng, 0.2)}?",
            f"do you see {article} {color} {_kind_word(kind, rng, 0.2)}?",
            f"can you see the {color} {_kind_word(kind, rng, 0.2)}?",
        ),
    )
    text = _Text()
    if labels:
        text.add("yes, there is ").name(f"{article} {color} {kind}", labels).add(".")
    else:
        text.add("no, there is ").name(f"no {color} {kind}", labels).add(".")
    return text.sample("yes_no", prompt)


def how_many(objects: Objects, rng: np.random.Generator) -> Sample:
    """How many objects, of a kind, of a colour, or in all."""
    choice = rng.random()
    if choice < 0.35:
        thing, number = _pick(rng, ("objects", "things")), len(objects)
    elif choice < 0.75:
        kind = _pick(rng, objects).kind if rng.random() < 0.75 else _pick(rng, KINDS)
        thing, number = PLURALS[kind], _count(objects, kind=kind)
    else:
        color = _pick(rng, objects).color if rng.random() < 0.75 else _pick(rng, list(COLORS))
        thing, number = f"{color} objects", _count(objects, color=color)
    prompt = _pick(
        rng,
        (f"how many {thing} are there?", f"how many {thing} do you see?", f"count the {thing}."),
    )
    return _Text().add(f"{NUMBERS[number]}.").sample("count", prompt)


def extreme(objects: Objects, rng: np.random.Generator) -> Sample | None:
    """Which object is leftmost, rightmost, nearest or farthest."""
    axis, sign, prompts = _EXTREMES[rng.integers(len(_EXTREMES))]
    ordered = sorted(objects, key=lambda o: sign * o.center_px[axis])
    if abs(ordered[0].center_px[axis] - ordered[1].center_px[axis]) < MARGIN_PX:
        return None
    o = ordered[0]
    return _Text().name(f"the {o.name}", [o.label]).add(".").sample("place", _pick(rng, prompts))


_EXTREMES: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 1, ("what is on the left?", "which object is on the far left?", "what is leftmost?")),
    (0, -1, ("what is on the right?", "which object is on the far right?", "what is rightmost?")),
    (1, -1, ("what is nearest?", "which object is closest to you?", "what is in front?")),
    (1, 1, ("what is farthest?", "which object is farthest from you?", "what is at the back?")),
)


def compare(objects: Objects, rng: np.random.Generator) -> Sample | None:
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
    text = _Text().add("yes, " if said == true else "no, ").name(f"the {a.name}", [a.label])
    text.add(f" is {true} ").name(f"the {b.name}", [b.label]).add(".")
    return text.sample("relation", prompt)


def use(objects: Objects, rng: np.random.Generator) -> Sample:
    """What an object is good for; all that fit, from left to right."""
    kind = _pick(rng, objects).kind if rng.random() < 0.8 else _pick(rng, KINDS)
    question = _pick(rng, USE_QUESTIONS).format(use=_pick(rng, USES[kind]))
    fitting = [o for o in _left_to_right(objects) if o.kind == kind]
    if not fitting:
        return _Text().add(NOTHING).sample("use", question)
    return _listing(fitting, "the").sample("use", question)


def where(objects: Objects, rng: np.random.Generator) -> Sample:
    """Where an object is, as an answer."""
    color, kind, labels = _maybe_absent(objects, rng, absent=0.25)
    prompt = _pick(rng, ("where is the {0}?", "where do you see the {0}?")).format(
        f"{color} {_kind_word(kind, rng, 0.2)}"
    )
    if not labels:
        text = _Text().add("there is ").name(f"no {color} {kind}", []).add(" here.")
        return text.sample("where", prompt)
    place = _place(next(o for o in objects if o.label == labels[0]))
    return _Text().name(f"the {color} {kind}", labels).add(f" is {place}.").sample("where", prompt)


def statement(objects: Objects, rng: np.random.Generator) -> Sample:
    """One or several named objects, present or not, each said to be somewhere or not here.

    The names are given, the places are learned: so the model looks for an object as it reads its
    name.
    """
    text = _Text()
    count = int(rng.integers(1, 4))
    for i in range(count):
        words, labels = reference(objects, rng, absent=0.3)
        if i + 1 < count and rng.random() < 0.4:  # a bare name, as phrases to ground are joined
            text.give(words, labels, ".").add(" ")
            continue
        # Without the verb the word after the name already tells place or absence, so that they must
        # be known when the last word of the name is read.
        text.give(words, labels, "" if rng.random() < 0.6 else " is")
        if labels:
            text.add(f" {_place(next(o for o in objects if o.label == labels[0]))}")
        else:
            text.add(" not here")
        text.add(". " if i + 1 < count else ".")
    return text.sample("statement", DESCRIBE)


def reference(
    objects: Objects, rng: np.random.Generator, absent: float
) -> tuple[str, tuple[int, ...]]:
    """Words for one object ("the red mug", "the mug", "the red thing") and its label; or for
    none."""
    if rng.random() >= absent:
        o = _pick(rng, objects)
        choice = rng.random()
        if choice < 0.12 and _count(objects, kind=o.kind) == 1:
            return f"the {_kind_word(o.kind, rng, 0.3)}", (o.label,)
        if choice < 0.24 and _count(objects, color=o.color) == 1:
            return f"the {o.color} {_pick(rng, ('object', 'thing', 'one'))}", (o.label,)
        article = _pick(rng, ("the", "the", "the", "a" if o.color != "orange" else "an"))
        return f"{article} {o.color} {_kind_word(o.kind, rng, 0.2)}", (o.label,)
    color, kind, _ = _maybe_absent(objects, rng, absent=1.0)
    return f"the {color} {_kind_word(kind, rng, 0.2)}", ()


# name -> (maker, share of the turns)
MAKERS: dict[str, tuple[Maker, float]] = {
    "statement": (statement, 0.26),
    "description": (describe, 0.09),
    "color": (color_of, 0.05),
    "kind": (kind_of, 0.04),
    "yes_no": (is_there, 0.17),
    "count": (how_many, 0.08),
    "place": (extreme, 0.09),
    "relation": (compare, 0.09),
    "use": (use, 0.11),
    "where": (where, 0.04),
}
QUESTION_KINDS = ("color", "kind", "yes_no", "count", "place", "use")
FURTHER_KINDS = ("relation", "description")  # examined too, but reported apart


def words_known() -> list[str]:
    """Every word the texts can hold, in lower case; the embedded tokenizer's vocabulary."""
    known: set[str] = set(COLORS) | set(KINDS) | set(PLURALS.values()) | set(NUMBERS)
    texts = [DESCRIBE, NOTHING, *USE_QUESTIONS, *(p for e in _EXTREMES for p in e[2])]
    texts += [u for uses in USES.values() for u in uses]
    texts += [s for synonyms in SYNONYMS.values() for s in synonyms]
    rng = np.random.default_rng(0)
    some = [
        SceneObject(kind, color, i + 1, (0, 0, 0), (rng.uniform(0, 320), rng.uniform(0, 240)), 99)
        for i, (kind, color) in enumerate(zip(KINDS[:6], COLORS, strict=False))
    ]
    for _ in range(4000):
        sample = draw(some, rng)
        texts += [sample.prompt, sample.answer]
    for text in texts:
        for mark in ".,?:{}":
            text = text.replace(mark, " ")
        known.update(text.lower().split())
    return sorted(known)


def _place(o: SceneObject) -> str:
    """Where an object is, in words: five columns, four rows."""
    x, y = o.center_px[0] / WIDTH_PX, o.center_px[1] / HEIGHT_PX
    column = ("on the far left", "on the left", "in the middle", "on the right", "on the far right")
    row = ("at the far back", "at the back", "near the front", "at the very front")
    return f"{column[min(int(x * 5), 4)]} {row[min(int(y * 4), 3)]}"


def _listing(objects: Objects, article: str = "a") -> _Text:
    """ "a red mug, an orange cube and a blue ball." """
    text = _Text()
    for i, o in enumerate(objects):
        if i:
            text.add(" and " if i + 1 == len(objects) else ", ")
        first = "an" if article == "a" and o.color == "orange" else article
        text.name(f"{first} {o.name}", [o.label])
    return text.add(".")


def _maybe_absent(
    objects: Objects, rng: np.random.Generator, absent: float
) -> tuple[str, str, tuple[int, ...]]:
    """Colour, kind and label of an object of the scene, or of one like it that is not there."""
    if rng.random() >= absent:
        o = _pick(rng, objects)
        return o.color, o.kind, (o.label,)
    there = {(o.color, o.kind) for o in objects}
    while True:
        o, choice = _pick(rng, objects), rng.random()
        color = o.color if choice < 0.4 else _pick(rng, list(COLORS))
        kind = o.kind if 0.4 <= choice < 0.8 else _pick(rng, KINDS)
        if (color, kind) not in there:
            return color, kind, ()


def _two(objects: Objects, rng: np.random.Generator) -> tuple[SceneObject, SceneObject]:
    first, second = rng.choice(len(objects), 2, replace=False)
    return objects[first], objects[second]


def _left_to_right(objects: Objects) -> list[SceneObject]:
    return sorted(objects, key=lambda o: o.center_px[0])


def _count(objects: Objects, *, kind: str | None = None, color: str | None = None) -> int:
    return sum((kind in (None, o.kind)) and (color in (None, o.color)) for o in objects)


def _kind_word(kind: str, rng: np.random.Generator, synonym: float) -> str:
    return _pick(rng, SYNONYMS[kind]) if rng.random() < synonym else kind


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
