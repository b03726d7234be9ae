"""The story, top to bottom: an image is opened, a command asked, an answer and masks come out.

    scene = Grounder.from_config("tabletop").open(image)
    answer = scene.ask("Pick up the red mug")

Only this file calls the others, in the order of the paper's figure: encode the image, (generate,)
read the phrase tokens, decode their attention, refine with SAM.

Does not know about: ROS, where images come from.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.checkpoint import load_heads, load_official_heads
from flmm_ros.engine.config import GrounderConfig, ModelConfig, find_model
from flmm_ros.engine.framing import crop_to_image
from flmm_ros.engine.heads import Heads
from flmm_ros.engine.intent import checked_command, find_intent
from flmm_ros.engine.lmm import Lmm, LmmReading, LoadOptions, Prefix, load_lmm
from flmm_ros.engine.lmm.tokens import Suffix
from flmm_ros.engine.phrases import command_phrases, find_phrases
from flmm_ros.engine.reply import compose_reply
from flmm_ros.engine.results import groundings_from
from flmm_ros.engine.scene import SceneCache, SceneMemory, checked_image
from flmm_ros.engine.stages import StageClock
from flmm_ros.engine.types import (
    Answer,
    ConfigError,
    Grounding,
    Intent,
    Phrase,
    ProgressCallback,
    PromptError,
    Stage,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trace:
    """Everything one grounding computed, for N phrases: what parity checks and heat maps look at.

    reading: maps and hidden states. cues: N weighted states [T, D]. heat [N, h, w], the mean map,
        and coarse_logits [N, h', w'], both without padding. boxes [N, 4] in SAM's square. iou [N]
        as predicted. refined_logits [N, H, W].
    """

    reading: LmmReading
    cues: tuple[torch.Tensor, ...]
    heat: torch.Tensor
    coarse_logits: torch.Tensor
    boxes: torch.Tensor
    iou: torch.Tensor
    refined_logits: torch.Tensor


class Grounder:
    """A loaded model. Not thread-safe: one thread owns it and its scenes."""

    def __init__(self, config: GrounderConfig, model: ModelConfig, lmm: Lmm, heads: Heads) -> None:
        self.config = config
        self.model = model
        self._lmm: Lmm | None = lmm
        self._heads: Heads | None = heads
        self._scenes: SceneCache[Scene] = SceneCache(config.scene_cache)

    @classmethod
    def from_config(cls, config: GrounderConfig | str | Path) -> Grounder:
        """Loads what a configuration names; a text or path is its `model` value.

        Raises:
            ConfigError, CheckpointError: with what was expected, what came, what to do.
        """
        if not isinstance(config, GrounderConfig):
            config = GrounderConfig(model=str(config))
        return cls.from_model(find_model(config.model), config)

    @classmethod
    def from_model(cls, model: ModelConfig, config: GrounderConfig | None = None) -> Grounder:
        """Loads a model that is described in Python instead of in a file."""
        config = config or GrounderConfig(model=model.name)
        if config.threads:
            torch.set_num_threads(config.threads)
        device = _device(config.device)
        dtype = config.dtype
        if dtype == "auto":
            dtype = "bfloat16" if device.startswith("cuda") else "float32"
        options = LoadOptions(device, dtype, config.quantisation, config.download)
        lmm = load_lmm(model, options)
        if Path(model.heads).suffix == ".safetensors":
            heads = load_heads(model.heads)
        else:
            heads = load_official_heads(model.heads, model.sam or None)
        heads.require_fit(lmm.shape)
        return cls(config, model, lmm, heads.to(device))

    @property
    def lmm(self) -> Lmm:
        """The language model.

        Raises:
            RuntimeError: the grounder was closed.
        """
        if self._lmm is None:
            raise RuntimeError("grounder: expected an open one, got one that was closed")
        return self._lmm

    @property
    def heads(self) -> Heads:
        """The trained heads; errors as for `lmm`."""
        if self._heads is None:
            raise RuntimeError("grounder: expected an open one, got one that was closed")
        return self._heads

    @property
    def model_name(self) -> str:
        """The model's name, for logs and messages."""
        return self.model.name

    @property
    def score_threshold(self) -> float:
        """Objects with a lower score are reported absent."""
        own = self.config.score_threshold
        return own if own >= 0 else self.model.score_threshold

    def update(self, config: GrounderConfig) -> None:
        """Takes over settings that may change while the model stays loaded.

        Raises:
            ConfigError: another setting differs; load a new Grounder for it.
        """
        for f in dataclasses.fields(config):
            if not f.metadata["live"] and getattr(config, f.name) != getattr(self.config, f.name):
                raise ConfigError(f"{f.name}: expected no change while loaded; load the model anew")
        self.config = config

    def open(self, image: NDArray[np.uint8]) -> Scene:
        """A scene to ask about. The same pixels give the same scene while it is remembered.

        Raises:
            ImageError: not RGB uint8 [H, W, 3], or too small.
        """
        checked = checked_image(image)
        return self._scenes.get(checked, lambda: Scene(self, SceneMemory(checked)))

    def close(self) -> None:
        """Frees the model and every scene; neither can be used afterwards."""
        self._scenes.clear()
        self._lmm = self._heads = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class Scene:
    """One image, to be asked about any number of times."""

    def __init__(self, grounder: Grounder, memory: SceneMemory) -> None:
        self._grounder = grounder
        self._memory = memory

    def ground(
        self, phrases: Sequence[str], on_stage: ProgressCallback | None = None
    ) -> list[Grounding]:
        """Points at each phrase; the ones not in the image come back with `is_present` False.

        Raises:
            PromptError: a phrase is empty, too long or not language.
            Cancelled: raised by `on_stage`; the scene stays usable.
        """
        limit = self._grounder.config.max_command_chars
        texts = [checked_command(phrase, limit) for phrase in phrases]
        with torch.inference_mode():
            return self._ground_texts(texts, StageClock(on_stage))

    def ask(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
    ) -> Answer:
        """Answers a command and points at what command or answer name.

        intent: what the command wants; found from its form where None.

        Raises:
            PromptError: empty, too long, not language, or (grounding) naming nothing to point at.
            Cancelled: raised by `on_stage`; the scene stays usable.
        """
        command = checked_command(command, self._grounder.config.max_command_chars)
        intent = intent or find_intent(command)
        stages = StageClock(on_stage)
        with torch.inference_mode():
            if intent is Intent.GROUND:
                text, objects = self._point(command, stages)
            else:
                text, objects = self._answer(command, intent, stages)
        timings = stages.timings_ms()
        spent = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in timings.items())
        log.info("%s %r: %s, %d objects", intent.value, command, spent, len(objects))
        return Answer(text, tuple(objects), intent, timings)

    def trace(self, suffix: Suffix, on_stage: ProgressCallback | None = None) -> Trace:
        """Reads and grounds token spans of a suffix: the path that `ground` and `ask` take.

        Raises:
            Cancelled: raised by `on_stage`; the scene stays usable.
        """
        with torch.inference_mode():
            return self._trace(suffix, StageClock(on_stage))

    def encode(self, prefix_ids: Sequence[int], *, keep_states: bool = False) -> Prefix:
        """Encodes the image behind ids of the caller's own, ending with the image token."""
        with torch.inference_mode():
            lmm = self._grounder.lmm
            prefix = lmm.encode(self._memory.image, prefix_ids, keep_states=keep_states)
        self._memory.prefix = prefix
        return prefix

    def _point(self, command: str, stages: StageClock) -> tuple[str, list[Grounding]]:
        """The phrases stand in the command; the sentence around the masks is ours."""
        phrases = command_phrases(command)
        if not phrases:
            raise PromptError(
                f"expected a command that names something to point at, got {command!r}; "
                'for example "the red mug"'
            )
        found = self._ground_texts([phrase.text for phrase in phrases], stages)
        return compose_reply(found)

    def _answer(
        self, command: str, intent: Intent, stages: StageClock
    ) -> tuple[str, list[Grounding]]:
        """The model speaks first; then its own words are read in their context."""
        grounder, text = self._grounder, self._grounder.lmm.text()
        question = text.question(command)
        prefix = self._prefix(stages)

        def report(ids: tuple[int, ...]) -> None:
            stages.report(Stage.GENERATE, text.decode(ids).text)

        with stages(Stage.GENERATE):
            ids = grounder.lmm.generate(
                prefix,
                question.ids,
                max_new_tokens=grounder.config.max_new_tokens,
                on_token=report if stages.is_watched else None,
            )
        answer = text.decode(ids)
        phrases = find_phrases(answer.text) if intent is Intent.ANSWER_AND_GROUND else []
        if not phrases:
            return answer.text, []
        start = len(question.ids)
        spans = [answer.token_span(phrase.text_span) for phrase in phrases]
        suffix = Suffix(question.ids + ids, tuple((start + a, start + b) for a, b in spans))
        return answer.text, self._groundings(phrases, self._trace(suffix, stages))

    def _ground_texts(self, texts: Sequence[str], stages: StageClock) -> list[Grounding]:
        """Reads phrases as if they were the model's answer to the model's prompt."""
        if not texts:
            return []
        answer, phrases = "", []
        for text in texts:
            answer += ". " if answer else ""
            phrases.append(Phrase(text, (len(answer), len(answer) + len(text))))
            answer += text
        grounder = self._grounder
        suffix = grounder.lmm.text().reading(
            grounder.model.prompt, answer, [phrase.text_span for phrase in phrases]
        )
        found = self._groundings(phrases, self._trace(suffix, stages))
        return [dataclasses.replace(g, text_span=None) for g in found]

    def _trace(self, suffix: Suffix, stages: StageClock) -> Trace:
        """Steps seven to nine of the paper's figure: read, decode, refine."""
        lmm, heads, memory = self._grounder.lmm, self._grounder.heads, self._memory
        prefix = self._prefix(stages)
        with stages(Stage.READ):
            reading = lmm.read(prefix, suffix.ids, suffix.spans)
            cues = tuple(heads.weighted_states(states) for states in reading.states)
        with stages(Stage.DECODE):
            padded = heads.decode(reading.maps)
            coarse = crop_to_image(padded, prefix.views[-1], memory.image_hw)
        if memory.features is None:
            with stages(Stage.SEE):
                memory.features = heads.see(memory.image)
        with stages(Stage.REFINE):
            refined = heads.refine(memory.features, coarse, cues, memory.image_hw)
            logits = heads.upscale(refined.low_logits, memory.image_hw)
        heat = crop_to_image(reading.maps.mean(dim=1), prefix.views[-1], memory.image_hw)
        return Trace(reading, cues, heat, coarse, refined.boxes, refined.iou, logits)

    def _prefix(self, stages: StageClock) -> Prefix:
        """The encoded image, encoded now if it has not been."""
        if self._memory.prefix is None:
            with stages(Stage.ENCODE):
                self._memory.prefix = self._grounder.lmm.encode(self._memory.image)
        return self._memory.prefix

    def _groundings(self, phrases: Sequence[Phrase], trace: Trace) -> list[Grounding]:
        grounder = self._grounder
        return groundings_from(
            phrases,
            trace.refined_logits,
            trace.heat,
            trace.iou if grounder.model.score == "iou_head" else None,
            mask_threshold=grounder.config.mask_threshold,
            score_threshold=grounder.score_threshold,
        )


def _device(wanted: str) -> str:
    """The device a configuration means.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    number = int(wanted.partition(":")[2] or 0)
    if wanted.startswith("cuda") and number >= torch.cuda.device_count():
        raise ConfigError(
            f"device: expected one of {torch.cuda.device_count()} GPUs of this machine, got "
            f"{wanted!r}; use device auto or cpu"
        )
    return wanted
