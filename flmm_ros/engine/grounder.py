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

"""A loaded model: language model and heads, brought together once, and the images it remembers.

    scene = Grounder.from_config("tabletop").open(image)
    answer = scene.ask("Pick up the red mug")

What happens with an image then is told in scene.py.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.config import TRAINING_FREE, GrounderConfig, ModelConfig, locate_model
from flmm_ros.engine.config.schema import changed_settings
from flmm_ros.engine.errors import ConfigError, PromptError
from flmm_ros.engine.heads.checkpoint import load_heads, load_official_heads, load_refiner
from flmm_ros.engine.heads.localisation import Localisation
from flmm_ros.engine.heads.trained import AnyHeads, Heads
from flmm_ros.engine.heads.training_free import TrainingFreeHeads
from flmm_ros.engine.image import checked_image
from flmm_ros.engine.lmm import Lmm, LoadOptions, load_lmm
from flmm_ros.engine.loaded_model import LoadedModel, ModelHolder
from flmm_ros.engine.onnx.loading import load_onnx_heads
from flmm_ros.engine.runtime.allocator import trim_malloc
from flmm_ros.engine.runtime.compilation import compile_parts
from flmm_ros.engine.runtime.encoded_image import EncodedImage
from flmm_ros.engine.runtime.interruption import Interruption
from flmm_ros.engine.runtime.memory import require_memory
from flmm_ros.engine.runtime.scene_cache import SceneCache, SceneMemory
from flmm_ros.engine.runtime.threads import use_threads
from flmm_ros.engine.scene import Scene

log = logging.getLogger(__name__)

_WARM_UP_COMMAND, _WARM_UP_HW = "point at the red mug", (480, 640)


class Grounder:
    """A loaded model. Not thread-safe: one thread owns it and its scenes."""

    def __init__(
        self, config: GrounderConfig, model: ModelConfig, lmm: Lmm, heads: AnyHeads
    ) -> None:
        interruption = Interruption()
        if not config.compile:  # a hook would break the compiled graph at every layer
            interruption.watch(lmm.model, heads)
        self._holder = ModelHolder(
            LoadedModel(lmm, heads, model, config, _selects(model, heads), interruption)
        )
        self._scenes: SceneCache[Scene] = SceneCache(config.scene_cache)
        self.config = config
        self.model = model

    @classmethod
    def from_config(cls, config: GrounderConfig | str | Path) -> Grounder:
        """Loads what a configuration names; a text or path is its `model` value.

        Raises:
            ConfigError, CheckpointError: with what was expected, what came, what to do.
        """
        if not isinstance(config, GrounderConfig):
            config = GrounderConfig(model=str(config))
        return cls.from_model(locate_model(config.model, download=config.download), config)

    @classmethod
    def from_model(cls, model: ModelConfig, config: GrounderConfig | None = None) -> Grounder:
        """Loads a model that is described in Python instead of in a file."""
        config = config or GrounderConfig(model=model.name)
        use_threads(config.threads)
        lmm = open_lmm(model, config)
        device = usable_device(config.device)
        heads = load_model_heads(model, device)
        heads.require_fit(lmm.shape)
        if config.refiner_backend == "onnx":
            heads = _in_onnx(heads, device, config)
        if config.compile:
            compile_parts(lmm.model.get_decoder(), heads)
        return cls(config, model, lmm, heads)

    @property
    def lmm(self) -> Lmm:
        """The language model.

        Raises:
            RuntimeError: the grounder was closed.
        """
        return self._holder.get().lmm

    @property
    def heads(self) -> AnyHeads:
        """What makes masks of its attention; errors as for `lmm`."""
        return self._holder.get().heads

    @property
    def model_name(self) -> str:
        """The model's name, for logs and messages."""
        return self.model.name

    @property
    def backend(self) -> str:
        """What runs the heads, for diagnostics: "torch", or ONNX Runtime and its provider."""
        return self.heads.backend

    @property
    def score_threshold(self) -> float:
        """Objects with a lower score are reported absent."""
        return self._holder.get().score_threshold

    @property
    def selects_phrases(self) -> bool:
        """Whether the phrase selector finds the phrases of an answer, instead of the rules."""
        return self._holder.get().selects_phrases

    @property
    def scene_memory(self) -> SceneMemory:
        """Open images and their memory, for diagnostics; may be asked by any thread."""
        return self._scenes.memory()

    def update(self, config: GrounderConfig) -> None:
        """Takes over settings that may change while the model stays loaded, for open scenes too.

        Raises:
            ConfigError: another setting differs; load a new Grounder for it.
        """
        for each in changed_settings(self.config, config):
            if not each.live:
                raise ConfigError(
                    f"{each.name}: expected no change while loaded; load the model anew"
                )
        self._holder.replace(dataclasses.replace(self._holder.get(), settings=config))
        self.config = config

    def open(self, image: NDArray[np.uint8]) -> Scene:
        """A scene to ask about. The same pixels give the same scene while it is remembered.

        Raises:
            ImageError: not RGB uint8 [H, W, 3], too small, or too large.
        """
        checked = checked_image(image, self.config.max_image_megapixels)
        return self._scenes.open(checked, self._scene)

    def warm_up(self) -> None:
        """Answers a command about a grey picture, so that the first real one is as fast as the
        next: kernels are chosen and memory is taken here. What the first command would have met,
        such as a lack of memory, is raised here.
        """
        log.info("%s warms up on a grey picture", self.model_name)
        image = self._scenes.add(np.full((*_WARM_UP_HW, 3), 128, np.uint8))
        try:
            self._scene(image).ask(_WARM_UP_COMMAND, intent=Intent.GROUND)
        except PromptError as error:  # a language model with a small vocabulary
            log.info("%s is not warmed up: %s", self.model_name, error)
        finally:
            self._scenes.forget(image)

    def close(self) -> None:
        """Frees the model and every scene; neither can be used afterwards."""
        self._scenes.clear()
        self._holder.close()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        trim_malloc()

    def _scene(self, image: EncodedImage) -> Scene:
        return Scene(self._holder, image, self._scenes)


def open_lmm(model: ModelConfig, config: GrounderConfig) -> Lmm:
    """The language model alone, without heads.

    Raises:
        ConfigError, CheckpointError: as for `Grounder.from_config`.
    """
    if config.threads:  # training, which uses this alone, leaves PyTorch its default
        use_threads(config.threads)
    device, dtype = usable_device(config.device), config.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    require_memory(model, config, device, dtype)
    return load_lmm(model, LoadOptions(device, dtype, config.quantisation, config.download))


def load_model_heads(model: ModelConfig, device: str) -> AnyHeads:
    """Trained by us, trained by the official code, or none trained at all."""
    if model.heads == TRAINING_FREE:
        refiner = load_refiner(model.sam) if model.sam else None
        free = TrainingFreeHeads(Localisation.load(Path(model.localisation)), refiner)
        return free.to(device).eval()
    if Path(model.heads).suffix == ".safetensors":
        return load_heads(model.heads).to(device)
    return load_official_heads(model.heads, model.sam or None).to(device)


def _in_onnx(heads: AnyHeads, device: str, config: GrounderConfig) -> AnyHeads:
    """Hands the heavy parts of trained heads to ONNX Runtime.

    Raises:
        ConfigError: the heads are not trained ones.
    """
    if not isinstance(heads, Heads):
        raise ConfigError(
            "refiner_backend onnx: expected trained heads, got heads: training_free; use "
            "refiner_backend: torch"
        )
    return load_onnx_heads(
        heads, device=device, precision=config.refiner_precision, cache=config.refiner_cache
    )


def _selects(model: ModelConfig, heads: AnyHeads) -> bool:
    """What the model file's `phrases` means for these heads.

    Raises:
        ConfigError: a selector is asked for and there is none.
    """
    if model.phrases == "selector" and not heads.has_selector:
        raise ConfigError(
            f"model {model.name!r}: expected heads with a phrase selector (phrases: selector), got "
            "heads without one; use phrases: auto or rules"
        )
    return model.phrases != "rules" and heads.has_selector


def usable_device(wanted: str) -> str:
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
