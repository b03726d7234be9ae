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

"""Reads and grounds samples of a data set as the engine does for a robot, and counts pixels.

Every phrase counts with its whole mask at full image resolution: what the node makes of an
ambiguous phrase is a matter of conversation and no part of a benchmark. Words the model refuses
count as a wrong, empty mask and are named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.answer import Grounding, Intent, Phrase
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.lmm.tokens import Suffix, branched
from flmm_ros.engine.masks.mask import tight_box
from flmm_ros.engine.masks.results import groundings_from
from flmm_ros.engine.scene import Scene
from training.data.sample import GroundingSample
from training.evaluation.cases import Case, shared_pixels

READINGS = ("auto", "joined", "apart")


@dataclass(frozen=True)
class PhraseResult:
    """What a model made of one phrase; `refused` says why it would not read it. answer: what it
    said, where it was asked."""

    grounding: Grounding
    refused: str = ""
    answer: str = ""


@dataclass(frozen=True)
class SampleReader:
    """How a model is asked about a sample.

    joined: all phrases in the text they stand in. apart: each as the only answer to the prompt.
        auto: what the model's file says.
    answers: questions are answered first and the answer's phrases are the mask; else their words
        are read like any phrase.
    """

    grounder: Grounder
    reading: str = "auto"
    answers: bool = True

    @property
    def is_joined(self) -> bool:
        """Whether phrases are read in their text."""
        chosen = self.grounder.model.reading if self.reading == "auto" else self.reading
        return chosen == "joined"

    def ground(self, sample: GroundingSample, rgb: NDArray[np.uint8]) -> list[PhraseResult]:
        """One result a phrase of the sample. rgb: its image, uint8 [H, W, 3]."""
        scene = self.grounder.open(rgb)
        if sample.question and self.answers:
            found = self._answer(scene, sample)
            return [found for _ in sample.phrases]
        phrases = [Phrase(sample.words_of(p), p.text_span) for p in sample.phrases]
        groups = [phrases] if self.is_joined else [[phrase] for phrase in phrases]
        try:
            return self._read(scene, sample, groups)
        except PromptError:
            return [one for group in groups for one in self._read_or_refuse(scene, sample, group)]

    def _read_or_refuse(
        self, scene: Scene, sample: GroundingSample, group: list[Phrase]
    ) -> list[PhraseResult]:
        try:
            return self._read(scene, sample, [group])
        except PromptError as error:
            return [
                PhraseResult(_nothing(phrase.text, sample.size_hw), str(error)) for phrase in group
            ]

    def _read(
        self, scene: Scene, sample: GroundingSample, groups: Sequence[list[Phrase]]
    ) -> list[PhraseResult]:
        """Phrases of each group in one text, all groups in one forward.

        Raises:
            PromptError: a text cannot be read.
        """
        trace = scene.trace(branched([self._suffix(sample, group) for group in groups]))
        grounder = self.grounder
        found = groundings_from(
            [phrase for group in groups for phrase in group],
            trace.refined_logits,
            trace.heat,
            trace.iou if grounder.model.score == "iou_head" else None,
            mask_threshold=grounder.config.mask_threshold,
            score_threshold=grounder.score_threshold,
        )
        return [PhraseResult(grounding) for grounding in found]

    def _suffix(self, sample: GroundingSample, group: list[Phrase]) -> Suffix:
        tokens = self.grounder.lmm.text()
        prompt = sample.prompt_for(self.grounder.model.prompt)
        if self.is_joined:
            return tokens.reading(prompt, sample.text, [p.text_span for p in group])
        (phrase,) = group
        return tokens.reading(prompt, phrase.text, [(0, len(phrase.text))])

    def _answer(self, scene: Scene, sample: GroundingSample) -> PhraseResult:
        """The model answers the question; everything its answer points at is the mask."""
        try:
            answer = scene.ask(sample.question, Intent.ANSWER_AND_GROUND)
        except PromptError as error:
            return PhraseResult(_nothing(sample.question, sample.size_hw), str(error))
        present = [g for g in answer.objects if g.is_present]
        if not present:
            return PhraseResult(_nothing(sample.question, sample.size_hw), answer=answer.text)
        best = max(present, key=lambda g: g.score)
        mask = np.any([g.mask for g in present], axis=0)
        soft = np.max([g.soft_mask for g in present], axis=0)
        whole = dataclasses.replace(
            best,
            phrase=", ".join(dict.fromkeys(g.phrase for g in present)),
            mask=mask,
            soft_mask=soft,
            box_xyxy_px=tight_box(mask),
            candidates=(),
            is_ambiguous=False,
        )
        return PhraseResult(whole, answer=answer.text)


def cases_of(index: int, sample: GroundingSample, found: Sequence[PhraseResult]) -> list[Case]:
    """The results for sample number `index` against its truth."""
    cases = []
    for number, (phrase, one) in enumerate(zip(sample.phrases, found, strict=True)):
        ignored = phrase.ignored.decode() if phrase.ignored is not None else None
        both, either = shared_pixels(one.grounding.mask, phrase.mask.decode(), ignored)
        cases.append(
            Case(
                index=index,
                number=number,
                key=sample.key,
                words=sample.question or sample.words_of(phrase),
                intersection_px=both,
                union_px=either,
                score=one.grounding.score,
                said_absent=not phrase.is_absent if one.refused else not one.grounding.is_present,
                is_absent=phrase.is_absent,
                is_thing=phrase.is_thing,
                is_plural=phrase.is_plural,
                is_sentence=sample.is_sentence,
                refused=one.refused,
            )
        )
    return cases


def _nothing(words: str, size_hw: tuple[int, int]) -> Grounding:
    blank = np.zeros(size_hw, np.float32)
    return Grounding(words, blank > 0, blank, blank, 0.0, (0, 0, 0, 0), is_present=False)
