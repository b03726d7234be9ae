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

"""One turn of a conversation as text: prompt, answer, its phrases and the objects they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX, SceneObject

MARGIN_PX = 12.0  # places closer than this are not compared: a person could not tell either


@dataclass(frozen=True)
class Mention:
    """A phrase of the answer and the objects it means, by label; none when it is absent."""

    text_span: tuple[int, int]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class TextSample:
    """One turn. `given` are spans of characters of the answer that are read, not learned; `before`
    the turns of the same conversation that came first."""

    kind: str
    prompt: str
    answer: str
    given: tuple[tuple[int, int], ...] = ()
    mentions: tuple[Mention, ...] = ()
    before: tuple[TextSample, ...] = ()


T = TypeVar("T")
Objects = Sequence[SceneObject]
Maker = Callable[[Objects, np.random.Generator], TextSample | None]


class Text:
    """Builds an answer piece by piece and remembers where its phrases stand."""

    def __init__(self) -> None:
        self.text = ""
        self.mentions: list[Mention] = []
        self.given: list[tuple[int, int]] = []

    def add(self, words: str) -> Text:
        """Goes on with words that are learned."""
        self.text += words
        return self

    def name(self, words: str, labels: Sequence[int]) -> Text:
        """Goes on with words that name objects."""
        start = len(self.text)
        self.text += words
        self.mentions.append(Mention((start, len(self.text)), tuple(labels)))
        return self

    def give(self, words: str, labels: Sequence[int], verb: str) -> Text:
        """A name and what follows it, both read only."""
        start = len(self.text)
        self.name(words, labels).add(verb)
        self.given.append((start, len(self.text)))
        return self

    def sample(self, kind: str, prompt: str) -> TextSample:
        """The text so far as the answer to a prompt."""
        return TextSample(kind, prompt, self.text, tuple(self.given), tuple(self.mentions))


def place(o: SceneObject) -> str:
    """Where an object is, in words: five columns, four rows."""
    x, y = o.center_px[0] / WIDTH_PX, o.center_px[1] / HEIGHT_PX
    column = ("on the far left", "on the left", "in the middle", "on the right", "on the far right")
    row = ("at the far back", "at the back", "near the front", "at the very front")
    return f"{column[min(int(x * 5), 4)]} {row[min(int(y * 4), 3)]}"


def article(words: str) -> str:
    """ "a" or "an", by the first letter."""
    return "an" if words[0] in "aeiou" else "a"


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, drawn at random."""
    return options[int(rng.integers(len(options)))]


def left_to_right(objects: Objects) -> list[SceneObject]:
    """The objects in the order in which they are listed."""
    return sorted(objects, key=lambda o: o.center_px[0])
