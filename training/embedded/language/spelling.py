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

"""Typos, and made-up words."""

from __future__ import annotations

import re

import numpy as np

from training.embedded.language.samples import pick

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ONSETS = (
    "b", "bl", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gl", "h", "j", "k", "kn", "l", "m", "n",
    "p", "pl", "qu", "r", "s", "sh", "sl", "sn", "st", "t", "th", "tr", "v", "w", "y", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "oo", "ou")
_CODAS = (
    "",
    "b",
    "ck",
    "d",
    "ff",
    "g",
    "k",
    "l",
    "m",
    "n",
    "nt",
    "p",
    "r",
    "rk",
    "s",
    "t",
    "x",
    "zz",
)


def misspelt(text: str, rng: np.random.Generator, share: float) -> str:
    """With probability `share` one word of the text with one slip: a letter doubled, left out,
    swapped with the next or another one. Of words with three letters none is lost."""
    if rng.random() >= share:
        return text
    words = [match.span() for match in re.finditer(r"[a-z]{3,}", text)]
    if not words:
        return text
    start, stop = pick(rng, words)
    at = int(rng.integers(start + 1, stop))
    slip = int(rng.integers(1 if stop - start < 4 else 4))
    middle = (
        text[at] * 2,
        "",
        text[at : at + 2][::-1] if at + 1 < stop else "",
        _LETTERS[int(rng.integers(26))],
    )[slip]
    return text[:at] + middle + text[at + (2 if slip == 2 and at + 1 < stop else 1) :]


def made_up(rng: np.random.Generator) -> str:
    """A word of one to three syllables that means nothing."""
    syllables = int(rng.integers(1, 4))
    return "".join(pick(rng, _ONSETS) + pick(rng, _VOWELS) for _ in range(syllables)) + pick(
        rng, _CODAS
    )
