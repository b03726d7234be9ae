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

"""Sentences that name objects and say where each is, or that it is not there.

Given words are read but not learned as output: "the green duck is" can be read in a scene without a
duck, and only "not here" is learned, so that reading a name makes the model look for the object,
while free descriptions stay truthful.
"""

from __future__ import annotations

import numpy as np

from training.embedded.language.references import KIND_WORDS, SEVERAL, reference
from training.embedded.language.samples import Objects, Text, TextSample, left_to_right, place
from training.embedded.language.spelling import misspelt

DESCRIBE = "Please give me a description of the image."  # the engine's own prompt
TYPOS_READ = 0.04  # share of names with a typo


def statement(objects: Objects, rng: np.random.Generator) -> TextSample:
    """One or several named objects, present or not, each said to be somewhere or not here.

    The names are given, the places are learned: so the model looks for an object as it reads its
    name.
    """
    text = Text()
    count = int(rng.integers(1, 4))
    for i in range(count):
        words, labels = reference(objects, rng, absent=0.3)
        is_plural = words.split()[-1] in SEVERAL
        is_kind = any(word in words.split() for word in KIND_WORDS)
        words = misspelt(words, rng, TYPOS_READ)
        if i + 1 < count and rng.random() < 0.4:  # a bare name, as phrases to ground are joined
            text.give(words, labels, ".").add(" ")
            continue
        # Without the verb the word after the name already tells place or absence, so that they must
        # be known when the last word of the name is read.
        if len(labels) > 1 or is_plural:
            text.give(words, labels, "").add(_distinguished(objects, labels, is_plural, is_kind))
            text.add(". " if i + 1 < count else ".")
            continue
        text.give(words, labels, "" if rng.random() < 0.6 else " is")
        if labels:
            text.add(f" {place(next(o for o in objects if o.label == labels[0]))}")
        else:
            text.add(" not here")
        text.add(". " if i + 1 < count else ".")
    return text.sample("statement", DESCRIBE)


def _distinguished(
    objects: Objects, labels: tuple[int, ...], is_plural: bool, is_kind: bool
) -> str:
    """What goes on after "the cubes" or, of several, "the cube": " are red and blue", " is red or
    blue", from left to right."""
    if not labels:
        return " are not here"
    meant = [o for o in left_to_right(objects) if o.label in labels]
    names = [o.color if is_kind else o.kind for o in meant]
    joint = " and " if is_plural else " or "
    listed = ", ".join(names[:-1]) + joint + names[-1] if len(names) > 1 else names[0]
    return f" {'are' if is_plural else 'is'} {listed}"
