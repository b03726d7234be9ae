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

"""Readings from a feature cache instead of from the frozen parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.fingerprint import weights_fingerprint
from flmm_ros.engine.heads.mask_refiner import MaskRefiner
from flmm_ros.engine.heads.trained import LmmShape
from flmm_ros.engine.lmm import Lmm
from training.data.sample import BrokenSampleError, GroundingSample
from training.features.packing import unpacked
from training.features.readings import SampleReading
from training.features.ready_samples import ReadySample, truth_of
from training.features.store import FeatureError, FeatureStore
from training.recipe import Recipe


@dataclass(frozen=True)
class CachedSource:
    """Takes readings from a store; masks still come from the data set."""

    store: FeatureStore

    def ready(self, sample: GroundingSample, phrases: Sequence[int]) -> ReadySample:
        """As `ReadingSource`.

        Raises:
            BrokenSampleError: it was left out when the cache was made.
            FeatureError: not in the cache, or the data set has changed since.
        """
        if sample.key in self.store.skipped and sample.key not in self.store:
            raise BrokenSampleError(sample.key, self.store.skipped[sample.key])
        record = self.store.read(sample.key)
        if self.store.digest(sample.key) != digest_of(sample):
            raise FeatureError(
                f"{self.store.folder}: expected the text of {sample.key!r} as it was read, got "
                "another; run python -m training.features, it reads what has changed"
            )
        return ReadySample(
            sample, truth_of(sample, phrases), reading=self._reading(record, phrases)
        )

    def _reading(self, record: dict[str, torch.Tensor], phrases: Sequence[int]) -> SampleReading:
        rows = {int(phrase): n for n, phrase in enumerate(record["phrases"])}
        return unpacked(record, [rows[phrase] for phrase in phrases])


def digest_of(sample: GroundingSample) -> str:
    """Of everything the frozen parts are told about a sample."""
    told = [
        sample.text,
        sample.prompt,
        list(sample.size_hw),
        [[*phrase.text_span, phrase.is_absent] for phrase in sample.phrases],
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def about_model(
    recipe: Recipe, model: ModelConfig, lmm: Lmm, refiner: MaskRefiner
) -> dict[str, Any]:
    """What a cache depends on, and what training needs to know when only the cache is there."""
    shape = lmm.shape
    return {
        **about_recipe(recipe, model),
        "lmm_weights": weights_fingerprint(lmm.model),
        "encoder_weights": weights_fingerprint(refiner.image_encoder),
        "answers": recipe.selector_weight > 0,
        "lmm": [shape.layers, shape.heads, shape.width, shape.views],
    }


def about_recipe(recipe: Recipe, model: ModelConfig) -> dict[str, Any]:
    """The part of it that is known without the language model."""
    return {
        "model": model.name,
        "merge": model.merge,
        "prompt": model.prompt,
        "template": model.template,
        "family": model.family,
        "max_image_tokens": model.max_image_tokens,
        "dtype": recipe.dtype,
        "quantisation": recipe.quantisation,
        "maps": recipe.cache_maps,
        "states": recipe.cache_states,
        "features": recipe.cache_features,
    }


def lmm_shape(store: FeatureStore) -> LmmShape:
    """Of the language model a cache was made with.

    Raises:
        FeatureError: the cache does not say.
    """
    try:
        layers, heads, width, views = store.about["lmm"]
    except (KeyError, TypeError, ValueError) as error:
        raise FeatureError(
            f"{store.folder}: expected the language model's shape in about.json, got none"
        ) from error
    return LmmShape(layers, heads, width, views)
