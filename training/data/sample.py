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

"""What every data set gives: an image, an answer, its phrases, and the pixels each phrase means.

The training loop, the feature cache and the evaluation know only this file. A data set is an object
with a name, a length and samples by number (`DataSet`); what cannot be used is left out and named.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.rle import DataError, Rle

log = logging.getLogger(__name__)

# What the user asks before the answer that holds the phrases: the paper's words for every data set.
DESCRIBE = "Please give me a description of the image."


class BrokenSampleError(DataError):
    """One sample that cannot be used; the others can. Its `key` and `reason` are counted."""

    code = "BROKEN_SAMPLE"

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"sample {key}: {reason}")
        self.key, self.reason = key, reason


@dataclass(frozen=True)
class PhraseTruth:
    """Words of the answer and the pixels they mean.

    text_span: half-open range of characters in the sample's text. mask: empty where the phrase
    means nothing in the image (`is_absent`). is_thing and is_plural: as the data set says, None
    where it does not. ignored: pixels that count neither as right nor as wrong, None for no such.
    """

    text_span: tuple[int, int]
    mask: Rle
    is_thing: bool | None = None
    is_plural: bool | None = None
    is_absent: bool = False
    ignored: Rle | None = None


@dataclass(frozen=True)
class GroundingSample:
    """One image, one answer, and what its phrases mean.

    key: unique and the same in every run ("refcoco/unc/train/581857"); names cache files and broken
        samples.
    size_hw: of the image, and so of every mask, in pixels.
    text: the answer that is read; all expressions of an image joined, or a whole narrative.
    prompt: what is said to the language model before the answer.
    question: not empty where the words ask for reasoning and it is the *answer* that is to be
        grounded (ReasonSeg); `text` then holds the query's words, for reading them as a phrase.
    is_sentence: whether that query is a sentence ("long") or only a phrase ("short"); None where
        the data set does not say.
    """

    key: str
    image_path: Path
    size_hw: tuple[int, int]
    text: str
    phrases: tuple[PhraseTruth, ...]
    prompt: str = DESCRIBE
    question: str = ""
    is_sentence: bool | None = None

    def __post_init__(self) -> None:
        for phrase in self.phrases:
            first, stop = phrase.text_span
            if not 0 <= first < stop <= len(self.text):
                raise BrokenSampleError(
                    self.key, f"phrase {phrase.text_span} outside a text of {len(self.text)}"
                )
            if phrase.mask.size_hw != self.size_hw:
                raise BrokenSampleError(
                    self.key,
                    f"expected masks of the image's {self.size_hw}, got {phrase.mask.size_hw}",
                )

    def prompt_for(self, model_prompt: str) -> str:
        """What is said before the answer: the model's own words where the data set has only the
        usual ones. The original asks the same of every data set; a model may want other words."""
        return model_prompt if self.prompt == DESCRIBE else self.prompt

    def words_of(self, phrase: PhraseTruth) -> str:
        """The words of one phrase."""
        return self.text[slice(*phrase.text_span)]


@dataclass(frozen=True)
class Skipped:
    """A sample, or a phrase of one, that was left out, and why.

    missing_file: below the root, where that is why.
    """

    key: str
    reason: str
    missing_file: str = ""

    @classmethod
    def because_of(cls, key: str, error: DataError) -> Skipped:
        """From the error that was met."""
        return cls(key, str(error), getattr(error, "file", ""))


@runtime_checkable
class DataSet(Protocol):
    """A data set: everything a loop or an evaluation may ask of one.

    `skipped` grows: what is wrong in the annotations is known at once, a broken image file only
    when it is read (`read_sample`).
    """

    name: str
    split: str
    skipped: list[Skipped]

    def __len__(self) -> int:
        """How many samples there are, without those known to be broken."""
        ...

    def __getitem__(self, index: int) -> GroundingSample:
        """The same sample for the same index, always.

        Raises:
            BrokenSampleError: its files cannot be used.
        """
        ...


def load_rgb(sample: GroundingSample) -> NDArray[np.uint8]:
    """The image, uint8 [H, W, 3]; grey ones get three equal channels.

    Raises:
        BrokenSampleError: missing, corrupt, or of another size than the annotations say.
    """
    try:
        with Image.open(sample.image_path) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BrokenSampleError(sample.key, f"image {sample.image_path}: {error}") from error
    if rgb.shape[:2] != sample.size_hw:
        raise BrokenSampleError(
            sample.key,
            f"image {sample.image_path}: expected {sample.size_hw} (height, width) as annotated, "
            f"got {rgb.shape[:2]}",
        )
    return rgb


def read_sample(data: DataSet, index: int) -> tuple[GroundingSample, NDArray[np.uint8]] | None:
    """A sample with its image, or None for a broken one, which is then named in `data.skipped`."""
    try:
        sample = data[index]
        return sample, load_rgb(sample)
    except BrokenSampleError as error:
        if all(skipped.key != error.key for skipped in data.skipped):
            data.skipped.append(Skipped(error.key, error.reason))
            log.warning("%s: left out: %s", data.name, error)
        return None


def joined(
    expressions: Sequence[str],
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """All expressions of an image as one answer, each followed by a full stop, and their spans.

    ["man on left", "dog"] -> "man on left. dog.", ((0, 11), (13, 16)). A full stop at the end of an
    expression is not doubled.
    """
    text, spans = "", []
    for expression in expressions:
        words = " ".join(expression.split()).rstrip(" .")
        start = len(text) + bool(text)
        text += f"{' ' if text else ''}{words}."
        spans.append((start, start + len(words)))
    return text, tuple(spans)
