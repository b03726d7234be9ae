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

"""What the demo asks, scene by scene, and what a right answer would be.

The commands are built from the truth of each scene, so they stay right if the world changes: "the
red mug" is asked for because there is one, and the absent object because there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from examples.demo.truth import objects_meant, words_of
from flmm_sim.tabletop.tabletop import COLORS, KINDS, SceneObject, TabletopScene

# Never used to train or to examine the embedded model.
SEEDS: tuple[int, ...] = (2_000_028, 2_000_031, 2_000_018, 2_000_010)
GOOD_IOU = 0.5  # a mask below this is not on the object

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
# Words that exclude each other as an answer: one that says "red or blue" has not answered.
_CHOICES: tuple[frozenset[str], ...] = tuple(
    frozenset(words) for words in (COLORS, KINDS, _NUMBERS, ("yes", "no"))
)


@dataclass(frozen=True)
class ExpectedAnswer:
    """A right answer: the words it holds, the objects it points at (by label), or the refusal.

    words: all of them stand in the answer, and no other colour, kind, number or yes/no in their
    place. labels: exactly these are pointed at; None = anything. refusal: name of the error code.
    is_ambiguous: it has to say that several things are meant equally, and point at each.
    """

    words: tuple[str, ...] = ()
    labels: frozenset[int] | None = None
    refusal: str = "OK"
    is_ambiguous: bool = False


@dataclass(frozen=True)
class DemoCommand:
    """One command. `by_topic`: sent on the `command` topic and not as an action goal. `chat_id`:
    the conversation it belongs to."""

    title: str
    seed: int
    command: str
    expected: ExpectedAnswer
    by_topic: bool = False
    chat_id: str = ""


@dataclass(frozen=True)
class JudgedObject:
    """One object of an answer, as far as judging needs it. iou: against the truth of its phrase."""

    phrase: str
    is_present: bool
    iou: float
    is_ambiguous: bool = False


def commands_for(scene: TabletopScene) -> tuple[DemoCommand, ...]:
    """The commands of one scene of the scenario.

    Raises:
        ValueError: the scene is not one of the scenario's.
    """
    if scene.seed not in SEEDS:
        raise ValueError(f"demo scenario: expected a scene out of {SEEDS}, got seed {scene.seed}")
    return _MAKERS[SEEDS.index(scene.seed)](scene)


def judge_answer(
    asked: DemoCommand,
    scene: TabletopScene,
    *,
    error_code: str,
    answer: str,
    objects: Sequence[JudgedObject],
) -> str:
    """What is wrong with an answer in a few words; empty where it is right."""
    expected = asked.expected
    if error_code != expected.refusal:
        return f"expected {expected.refusal}, got {error_code}"
    if not _says(answer, expected.words):
        return f"expected {' '.join(expected.words)!r} in the answer"
    present = [o for o in objects if o.is_present]
    if expected.is_ambiguous != any(o.is_ambiguous for o in present):
        return "expected it to ask which one" if expected.is_ambiguous else "it is not ambiguous"
    if expected.is_ambiguous and len(present) != len(expected.labels or ()):
        return f"expected {len(expected.labels or ())} candidates, got {len(present)}"
    if expected.labels is not None:
        pointed = {t.label for o in present for t in objects_meant(o.phrase, scene)}
        nowhere = [o.phrase for o in present if not objects_meant(o.phrase, scene)]
        if nowhere:
            return f"there is no such thing: {', '.join(nowhere)}"
        if pointed != expected.labels:
            names = [o.name for o in scene.objects if o.label in expected.labels]
            return f"expected {', '.join(names) or 'nothing'}"
    poor = [o.phrase for o in present if o.iou < GOOD_IOU]
    return f"mask not on {', '.join(poor)}" if poor else ""


def _says(answer: str, words: tuple[str, ...]) -> bool:
    """Whether the answer holds all the words, and no other choice in their place."""
    said, wanted = set(words_of(answer)), set(words)
    choices = [group for group in _CHOICES if group & wanted]
    return wanted <= said and all(said & group <= wanted for group in choices)


def _first_scene(scene: TabletopScene) -> tuple[DemoCommand, ...]:
    *_, colored, target = _alone(scene, "kind")
    return (
        DemoCommand(
            "describe the scene",
            scene.seed,
            "Please give me a description of the image.",
            ExpectedAnswer(labels=frozenset(o.label for o in scene.objects)),
        ),
        _point(scene, target, "Pick up the {}."),
        DemoCommand(
            "ask for a colour",
            scene.seed,
            f"What color is the {colored.kind}?",
            ExpectedAnswer(words=(colored.color,)),
        ),
        DemoCommand(
            "point at what is not there",
            scene.seed,
            f"Pick up the {_absent(scene)}.",
            ExpectedAnswer(labels=frozenset()),
        ),
    )


def _second_scene(scene: TabletopScene) -> tuple[DemoCommand, ...]:
    mugs = frozenset(o.label for o in scene.objects if o.kind == "mug")
    first, second = (o for o in scene.objects if o.kind != "mug")
    return (
        DemoCommand(
            "ask by use", scene.seed, "What can I drink from?", ExpectedAnswer(labels=mugs)
        ),
        DemoCommand(
            "one phrase, several things",
            scene.seed,
            "Pick up the mug.",
            ExpectedAnswer(labels=mugs, is_ambiguous=True),
        ),
        DemoCommand(
            "two objects in one command",
            scene.seed,
            f"Put the {first.name} next to the {second.name}.",
            ExpectedAnswer(labels=frozenset({first.label, second.label})),
        ),
        DemoCommand(
            "count",
            scene.seed,
            "How many objects are there?",
            ExpectedAnswer(words=(_NUMBERS[len(scene.objects)],)),
        ),
        DemoCommand(
            "a name nobody taught it",
            scene.seed,
            "Pick up the zebra.",
            ExpectedAnswer(labels=frozenset()),
        ),
        DemoCommand(
            "a word in a script it does not read",
            scene.seed,
            "Pick up the \u043a\u0440\u0443\u0436\u043a\u0430.",
            ExpectedAnswer(refusal="UNKNOWN_WORD"),
        ),
    )


def _third_scene(scene: TabletopScene) -> tuple[DemoCommand, ...]:
    by_column = sorted(scene.objects, key=lambda o: o.center_px[0])
    left, right = by_column[0], by_column[-1]
    return (
        DemoCommand(
            "ask for a relation",
            scene.seed,
            f"Is the {left.name} right of the {right.name}?",
            ExpectedAnswer(words=("no",)),
        ),
        DemoCommand(
            "ask for a place",
            scene.seed,
            "What is on the left?",
            ExpectedAnswer(words=tuple(left.name.split()), labels=frozenset({left.label})),
            chat_id="the left one",
        ),
        DemoCommand(
            "ask on, about the same thing",
            scene.seed,
            "What color is it?",
            ExpectedAnswer(words=(left.color,)),
            chat_id="the left one",
        ),
        DemoCommand(
            "a need instead of a name",
            scene.seed,
            "Give me something to drink from.",
            ExpectedAnswer(labels=frozenset(o.label for o in scene.objects if o.kind == "mug")),
        ),
        _point(scene, right, "Point at the {}.", by_topic=True),
    )


def _fourth_scene(scene: TabletopScene) -> tuple[DemoCommand, ...]:
    absent = _absent(scene)
    article = "an" if absent.startswith("orange") else "a"
    target = _alone(scene, "color")[-1]
    return (
        DemoCommand(
            "yes or no",
            scene.seed,
            f"Is there {article} {absent}?",
            ExpectedAnswer(words=("no",)),
        ),
        DemoCommand(
            "ask what something is",
            scene.seed,
            f"What is the {target.color} object?",
            ExpectedAnswer(words=(target.kind,), labels=frozenset({target.label})),
        ),
        _point(scene, _smallest(scene), "Grasp the {}."),
        DemoCommand(
            "a blank command",
            scene.seed,
            "   ",
            ExpectedAnswer(refusal="EMPTY_COMMAND"),
            by_topic=True,
        ),
    )


_MAKERS: tuple[Callable[[TabletopScene], tuple[DemoCommand, ...]], ...] = (
    _first_scene,
    _second_scene,
    _third_scene,
    _fourth_scene,
)


def _point(
    scene: TabletopScene, target: SceneObject, sentence: str, *, by_topic: bool = False
) -> DemoCommand:
    title = "point at an object" + (" (by topic)" if by_topic else "")
    return DemoCommand(
        title,
        scene.seed,
        sentence.format(target.name),
        ExpectedAnswer(labels=frozenset({target.label})),
        by_topic,
    )


def _smallest(scene: TabletopScene) -> SceneObject:
    return min(scene.objects, key=lambda o: o.visible_px)


def _alone(scene: TabletopScene, attribute: str) -> tuple[SceneObject, ...]:
    """The objects whose kind (or color) no other shares."""
    values = [getattr(o, attribute) for o in scene.objects]
    return tuple(o for o in scene.objects if values.count(getattr(o, attribute)) == 1)


def _absent(scene: TabletopScene) -> str:
    """A name whose colour and kind are both in the scene, but never together: the hard case."""
    colors = [c for c in COLORS if any(o.color == c for o in scene.objects)]
    kinds = [k for k in KINDS if any(o.kind == k for o in scene.objects)]
    return next(
        f"{color} {kind}"
        for kind in reversed(kinds)
        for color in reversed(colors)
        if scene.find(f"{color} {kind}") is None
    )
