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

"""What a run is put together from: processes, model, data, heads. Used by training and by the
feature cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.config.model_search import locate_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.fingerprint import weights_fingerprint
from flmm_ros.engine.grounder import usable_device
from flmm_ros.engine.heads.trained import Heads
from training.features.cached import CachedSource, about_recipe, lmm_shape
from training.features.frozen import FrozenReader, open_frozen_lmm
from training.features.readings import SampleReading
from training.features.ready_samples import (
    FrozenSource,
    PhraseSampling,
    ReadingSource,
    ReadySample,
    ReadySamples,
    opened,
    ready_on,
)
from training.features.store import FeatureStore
from training.heads.initial_heads import first_heads
from training.recipe import Recipe


def accelerator_of(recipe: Recipe) -> Any:
    """One process a GPU, as torchrun or `accelerate launch` started them; or only this one.

    Raises:
        ConfigError: accelerate is not installed, or there is no such device.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise ConfigError(
            "training needs the package accelerate, which is not installed; run: pip install "
            "'flmm_ros[train]'"
        ) from error
    # bf16 is the objective's own matter: accelerate allows one precision in a process's life.
    return Accelerator(cpu=usable_device(recipe.device) == "cpu", mixed_precision="no")


@dataclass(frozen=True)
class TrainingParts:
    """model: its file. heads: to be trained, not on a device yet. train, validation: samples that
    get ready. reader: the frozen parts; None where a cache has their readings."""

    model: ModelConfig
    heads: Heads
    train: ReadySamples
    validation: ReadySamples
    reader: FrozenReader | None

    def readings(self, batch: list[ReadySample], device: torch.device) -> list[SampleReading]:
        """What the heads get to see of ready samples, on a device."""
        kept = [ready_on(each, device).reading for each in batch]
        given = [each.given for each in batch if each.given is not None]
        if self.reader is not None and given:
            return self.reader.read(given)
        return [each for each in kept if each is not None]


def assemble(recipe: Recipe, device: torch.device) -> TrainingParts:
    """Opens data, model and heads; with a cache the language model is not even loaded.

    Raises:
        FlmmError: anything that is missing, with what to do.
    """
    data, validation = (opened(n, recipe.data_root) for n in (recipe.data, recipe.validation))
    model = locate_model(recipe.model, download=recipe.download)
    source: ReadingSource
    if recipe.cache:
        store = FeatureStore.open(recipe.cache)
        store.require(about_recipe(recipe, model))
        store.require_whole()
        if recipe.selector_weight > 0:
            store.require({"answers": True})
        heads = first_heads(recipe, model, lmm_shape(store))
        # What sees at use must be what saw for the cache.
        store.require({"encoder_weights": weights_fingerprint(heads.mask_refiner.image_encoder)})
        source, reader = CachedSource(store), None
    else:
        lmm = open_frozen_lmm(recipe, model, device)
        heads = first_heads(recipe, model, lmm.shape)
        # The same module as the heads': wherever they go, it sees with what they hold.
        source = FrozenSource(lmm, heads.mask_refiner)
        reader = FrozenReader(
            lmm,
            heads.mask_refiner,
            device,
            with_answers=recipe.selector_weight > 0,
            see_images=recipe.encoder == "frozen",
        )
    drawing = PhraseSampling(recipe.max_phrases, recipe.absent, recipe.seed)
    every = PhraseSampling(recipe.max_phrases, True, recipe.seed)
    return TrainingParts(
        model,
        heads,
        ReadySamples(data, source, drawing),
        ReadySamples(validation, source, every),
        reader,
    )
