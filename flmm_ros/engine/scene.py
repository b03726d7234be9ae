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

"""The story, top to bottom: a command is asked about an image, an answer and masks come out.

Only this file calls the others, in the order of the paper's figure: encode the image, (generate,)
read the phrase tokens, decode their attention, refine with SAM.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.answer import REQUESTED_INTENTS, Answer, Grounding, Intent, Phrase
from flmm_ros.engine.chat import Chat
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.heads.phrase_selector import selected_spans
from flmm_ros.engine.language.intent import checked_command
from flmm_ros.engine.language.meaning import Meaning, understand
from flmm_ros.engine.language.phrases import find_phrases, is_singular
from flmm_ros.engine.language.reply import compose_reply, leave_alone
from flmm_ros.engine.lmm import LmmReading, Prefix
from flmm_ros.engine.lmm.base import Generated
from flmm_ros.engine.lmm.prefix import cropped
from flmm_ros.engine.lmm.tokens import Decoded, Suffix, Turn, branched
from flmm_ros.engine.loaded_model import LoadedModel, ModelHolder
from flmm_ros.engine.masks.candidates import with_candidates
from flmm_ros.engine.masks.exclusion import without
from flmm_ros.engine.masks.framing import crop_to_image
from flmm_ros.engine.masks.results import groundings_from
from flmm_ros.engine.progress import ProgressCallback, Stage
from flmm_ros.engine.runtime.encoded_image import EncodedImage
from flmm_ros.engine.runtime.scene_cache import SceneCache
from flmm_ros.engine.runtime.stages import StageClock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trace:
    """Everything one grounding computed, for N phrases: what parity checks and heat maps look at.

    reading: maps and hidden states. cues: N weighted states [T, D]. heat [N, h, w], what people are
        shown, and coarse_logits [N, h', w'], both without padding. boxes [N, 4] in SAM's square.
        iou [N] as predicted. refined_logits [N, H, W].
    """

    reading: LmmReading
    cues: tuple[torch.Tensor, ...]
    heat: torch.Tensor
    coarse_logits: torch.Tensor
    boxes: torch.Tensor
    iou: torch.Tensor
    refined_logits: torch.Tensor


class Scene:
    """One image, to be asked about any number of times.

    It follows settings that change while it is open, and shares the bound of `scene_cache` with all
    other scenes of the grounder: what was dropped meanwhile is computed again.
    """

    def __init__(self, holder: ModelHolder, image: EncodedImage, cache: SceneCache[Scene]) -> None:
        self._holder = holder
        self._image = image
        self._cache = cache

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image, RGB uint8 [H, W, 3]; not to be written to."""
        return self._image.pixels

    @property
    def _model(self) -> LoadedModel:
        return self._holder.get()

    def ground(
        self, phrases: Sequence[str], on_stage: ProgressCallback | None = None
    ) -> list[Grounding]:
        """Points at each phrase; the ones not in the image come back with `is_present` False.

        A phrase that says what it does not mean ("the ball that is not blue") is grounded without
        it; all others are read as they are.

        Raises:
            PromptError: a phrase is empty, too long, not language, or means nothing that can be
                pointed at ("not the red mug").
            Cancelled: raised by `on_stage`; the scene stays usable.
        """
        limit = self._model.settings.max_command_chars
        texts = [checked_command(phrase, limit) for phrase in phrases]
        meanings = [_phrase_meaning(text) for text in texts]
        excluded = [p.text for meaning in meanings if meaning for p in meaning.excluded]
        meant = [m.targets[0].text if m else t for t, m in zip(texts, meanings, strict=True)]
        stages = StageClock(on_stage)
        with self._computing(stages):
            found = self._ground_texts([*meant, *excluded], stages)
        groundings, unwanted = found[: len(texts)], found[len(texts) :]
        for n, meaning in enumerate(meanings):
            if meaning:
                own, unwanted = (
                    unwanted[: len(meaning.excluded)],
                    unwanted[len(meaning.excluded) :],
                )
                groundings[n] = _renamed(without(groundings[n], own), texts[n])
        return groundings

    def ask(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
        *,
        history: Sequence[Turn] = (),
    ) -> Answer:
        """Answers a command and points at what command or answer name.

        What a command excludes is no object of its answer, whatever the intent; one that only
        forbids is answered with the intent PROHIBITION, without looking at the image.

        intent: what the command wants; found from its form where None. history: what was said about
        the image before; `chat` keeps it.

        Raises:
            PromptError: empty, too long, not language, with two meanings ("everything except the
                red mug"), or (grounding) naming nothing to point at.
            Cancelled: raised by `on_stage`; the scene stays usable.
        """
        command = checked_command(command, self._model.settings.max_command_chars)
        if intent is Intent.PROHIBITION:
            names = ", ".join(each.value for each in REQUESTED_INTENTS)
            raise PromptError(f"intent: expected one of {names} or nothing, got {intent.value}")
        meaning = understand(command)
        if meaning.unclear:
            raise PromptError(f"command: {meaning.unclear}; got {command!r}")
        intent = Intent.PROHIBITION if meaning.is_prohibition else intent or meaning.intent
        stages = StageClock(on_stage)
        if intent is Intent.PROHIBITION:
            text = leave_alone([phrase.text for phrase in meaning.excluded])
            return Answer(text, (), intent, stages.timings_ms())
        with self._computing(stages):
            if intent is Intent.GROUND or (meaning.holds_name and intent is not Intent.ANSWER):
                text, objects = self._point(command, meaning, stages)
            else:
                text, objects = self._answer(command, intent, stages, history)
                text, objects = self._without_excluded(text, objects, meaning, stages)
        objects = [each for g in objects for each in g.candidates or (g,)]
        timings = stages.timings_ms()
        spent = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in timings.items())
        log.info(
            "%s %r: %s (heads on %s), %d objects",
            intent.value,
            command,
            spent,
            self._model.heads.backend,
            len(objects),
        )
        return Answer(text, tuple(objects), intent, timings)

    def chat(self) -> Chat:
        """A conversation about this image."""
        return Chat(self)

    def trace(self, suffix: Suffix, on_stage: ProgressCallback | None = None) -> Trace:
        """Reads and grounds token spans of a suffix: the path that `ground` and `ask` take.

        Raises:
            Cancelled: raised by `on_stage`; the scene stays usable.
        """
        stages = StageClock(on_stage)
        with self._computing(stages):
            return self._trace(suffix, stages)

    def encode(self, prefix_ids: Sequence[int], *, keep_states: bool = False) -> Prefix:
        """Encodes the image behind ids of the caller's own, ending with the image token."""
        image, ids = self._image, tuple(prefix_ids)
        with self._computing(StageClock(None)):
            prefix = self._model.lmm.encode(image.pixels, ids, keep_states=keep_states)
        image.prefix, image.prefix_ids, image.keep_states = prefix, ids, keep_states
        return prefix

    @contextmanager
    def _computing(self, stages: StageClock) -> Iterator[None]:
        """Around everything that runs a model: this image is the newest, and `stages` may stop."""
        self._cache.use(self._image, self)
        with torch.inference_mode(), self._model.interruption.during(stages.check):
            yield

    def _point(
        self, command: str, meaning: Meaning, stages: StageClock
    ) -> tuple[str, list[Grounding]]:
        """The phrases stand in the command; the sentence around the masks is ours."""
        if not meaning.targets:
            raise PromptError(
                f"expected a command that names something to point at, got {command!r}; "
                'for example "the red mug"'
            )
        count, excluded = len(meaning.targets), [phrase.text for phrase in meaning.excluded]
        texts = [phrase.text for phrase in meaning.targets] + excluded
        found = self._ground_texts(texts, stages)
        left = [without(g, found[count:]) for g in found[:count]]
        left_out = [n for n in range(count) if found[n].is_present and not left[n].is_present]
        text, objects = compose_reply(left, left_out)
        return (f"{text} {leave_alone(excluded)}" if excluded else text), objects

    def _without_excluded(
        self, text: str, objects: list[Grounding], meaning: Meaning, stages: StageClock
    ) -> tuple[str, list[Grounding]]:
        """An answer of the model without the things that the command leaves out."""
        if not objects or not meaning.excluded:
            return text, objects
        excluded = [phrase.text for phrase in meaning.excluded]
        unwanted = self._ground_texts(excluded, stages)
        left = [(g, without(g, unwanted)) for g in objects]
        kept = [after for before, after in left if after.is_present == before.is_present]
        return (text if len(kept) == len(objects) else f"{text} {leave_alone(excluded)}"), kept

    def _answer(
        self, command: str, intent: Intent, stages: StageClock, history: Sequence[Turn]
    ) -> tuple[str, list[Grounding]]:
        """The model speaks first; then its own words are read in their context."""
        tokens = self._model.lmm.text()
        question = tokens.question(command, history)
        prefix = self._prefix(stages)
        with cropped(prefix):
            said = self._speak(prefix, question.ids, intent, stages)
            answer = tokens.decode(said.ids)
            if intent is not Intent.ANSWER_AND_GROUND:
                return answer.text, []
            phrases = self._answer_phrases(answer, said.states)
            if not phrases:
                return answer.text, []
            # The question still stands in the cache: only the answer is read once more.
            spans = tuple(answer.token_span(phrase.text_span) for phrase in phrases)
            end = max(stop for _, stop in spans)  # no phrase knows what is said after it
            asked = prefix.followed_by(len(question.ids))
            trace = self._trace(Suffix(said.ids[:end], spans), stages, asked)
        return answer.text, self._groundings(phrases, trace)

    def _speak(
        self, prefix: Prefix, question_ids: Sequence[int], intent: Intent, stages: StageClock
    ) -> Generated:
        """The model's answer; its states where the phrase selector will look at them."""
        model, tokens = self._model, self._model.lmm.text()

        said = tokens.stream()

        def report(ids: tuple[int, ...]) -> None:
            said.add(ids[-1])
            stages.report(Stage.GENERATE, said.text)

        with stages(Stage.GENERATE):
            return model.lmm.generate(
                prefix,
                question_ids,
                max_new_tokens=model.settings.max_new_tokens,
                on_token=report if stages.is_watched else None,
                keep_states=intent is Intent.ANSWER_AND_GROUND and model.selects_phrases,
                keep_suffix=True,
            )

    def _answer_phrases(self, answer: Decoded, states: torch.Tensor | None) -> list[Phrase]:
        """What the answer names: chosen by the phrase selector, or found by the rules."""
        if states is None:
            return find_phrases(answer.text)
        probabilities = self._model.heads.groundable(states)
        if probabilities is None:
            return find_phrases(answer.text)
        spans = [answer.text_span(span) for span in selected_spans(probabilities)]
        return [Phrase(answer.text[a:b], (a, b)) for a, b in spans if b > a]

    def _ground_texts(self, texts: Sequence[str], stages: StageClock) -> list[Grounding]:
        """Reads phrases as if they were the model's answer to the model's prompt."""
        if not texts:
            return []
        phrases = [Phrase(text, (0, len(text))) for text in texts]
        found = self._groundings(phrases, self._trace(self._suffix_of(texts), stages))
        return [dataclasses.replace(g, text_span=None) for g in found]

    def _suffix_of(self, texts: Sequence[str]) -> Suffix:
        """Phrases as answers to the model's prompt: one each, or all in one."""
        config, tokens = self._model.config, self._model.lmm.text()
        if config.reading == "apart":
            return branched(
                [tokens.reading(config.prompt, text, [(0, len(text))]) for text in texts]
            )
        spans, answer = [], ""
        for text in texts:
            answer += ". " if answer else ""
            spans.append((len(answer), len(answer) + len(text)))
            answer += text
        return tokens.reading(config.prompt, answer, spans)

    def _trace(self, suffix: Suffix, stages: StageClock, asked: Prefix | None = None) -> Trace:
        """Steps seven to nine of the paper's figure: read, decode, refine.

        asked: the image and what was said about it; by default the image alone.
        """
        lmm, heads, image = self._model.lmm, self._model.heads, self._image
        prefix = asked or self._prefix(stages)
        with stages(Stage.READ):
            reading = lmm.read(prefix, suffix.ids, suffix.spans, suffix.branches)
            cues = tuple(heads.weighted_states(states) for states in reading.states)
        with stages(Stage.DECODE):
            padded = heads.decode(reading.maps)
            coarse = crop_to_image(padded, prefix.views[-1], image.image_hw)
        if image.features is None:
            with stages(Stage.SEE):
                image.features = heads.see(image.pixels)
        with stages(Stage.REFINE):
            refined = heads.refine(image.features, coarse, cues, image.image_hw)
            logits = heads.upscale(refined.low_logits, image.image_hw)
        heat = crop_to_image(heads.heat(reading.maps), prefix.views[-1], image.image_hw)
        return Trace(reading, cues, heat, coarse, refined.boxes, refined.iou, logits)

    def _prefix(self, stages: StageClock) -> Prefix:
        """The encoded image, encoded now if it has not been."""
        image = self._image
        if image.prefix is None:
            with stages(Stage.ENCODE):
                image.prefix = self._model.lmm.encode(
                    image.pixels, image.prefix_ids, keep_states=image.keep_states
                )
        return image.prefix

    def _groundings(self, phrases: Sequence[Phrase], trace: Trace) -> list[Grounding]:
        model = self._model
        found = groundings_from(
            phrases,
            trace.refined_logits,
            trace.heat,
            trace.iou if model.config.score == "iou_head" else None,
            mask_threshold=model.settings.mask_threshold,
            score_threshold=model.score_threshold,
        )
        return [with_candidates(g) if is_singular(g.phrase) else g for g in found]


def _phrase_meaning(text: str) -> Meaning | None:
    """What a phrase with an exclusion means; None: it has none, and is read as it is.

    Raises:
        PromptError: it means nothing, or not one thing, that can be pointed at.
    """
    meaning = understand(text)
    if not meaning.excluded and not meaning.unclear and not meaning.is_prohibition:
        return None
    if meaning.unclear or len(meaning.targets) != 1:
        why = meaning.unclear or "expected one thing to point at beside what is not meant"
        raise PromptError(f"phrase: {why}; got {text!r}")
    return meaning


def _renamed(grounding: Grounding, phrase: str) -> Grounding:
    candidates = tuple(dataclasses.replace(c, phrase=phrase) for c in grounding.candidates)
    return dataclasses.replace(grounding, phrase=phrase, candidates=candidates)
