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

"""What the heads begin as: new ones on a segment-anything refiner, or ones trained before."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import load_model_heads
from flmm_ros.engine.heads.checkpoint import load_heads, load_refiner
from flmm_ros.engine.heads.refiner_shape import ConvEncoderShape, RefinerShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig, LmmShape
from training.recipe import Recipe

# A refiner that can be trained from nothing: the embedded model's, at a larger input.
SMALL_REFINER = RefinerShape(
    hidden=128, input_size=512, decoder_mlp=512, iou_hidden=128, encoder=ConvEncoderShape()
)
log = logging.getLogger(__name__)


def first_heads(recipe: Recipe, model: ModelConfig, lmm: LmmShape) -> Heads:
    """Heads for a language model as the recipe's `start` says, on the CPU, ready to be trained.

    New weights depend on the recipe's seed only.

    Raises:
        ConfigError, CheckpointError: no segment-anything file, or heads for another model.
    """
    if recipe.start == "sam":
        heads = _new(recipe, model, lmm)
    elif recipe.start == "new":
        heads = _all_new(recipe, lmm)
    else:
        heads = _trained_before(recipe, model)
        heads.require_fit(lmm)
    wanted = dataclasses.replace(
        heads.config,
        supervised_iou=recipe.score_weight > 0 or heads.config.supervised_iou,
        selector=recipe.selector_weight > 0 or heads.config.selector,
    )
    if wanted != heads.config:
        heads = _as(heads, wanted, recipe.seed)
    heads.requires_grad_(True)
    heads.mask_refiner.image_encoder.requires_grad_(recipe.encoder == "trained")
    return heads


def _new(recipe: Recipe, model: ModelConfig, lmm: LmmShape) -> Heads:
    """A mask decoder that knows nothing, and SAM's own prompt encoder and mask decoder."""
    if not model.sam:
        raise ConfigError(
            f"start sam: expected model {model.name!r} to name a segment-anything checkpoint "
            "('sam: FILE' in its model file), got none"
        )
    refiner = load_refiner(model.sam)
    torch.manual_seed(recipe.seed)
    config = HeadsConfig(
        base_channels=recipe.base_channels,
        supervised_iou=recipe.score_weight > 0,
        selector=recipe.selector_weight > 0,
        refiner=refiner.shape,
    )
    heads = Heads.create(lmm, config)
    heads.mask_refiner.load_state_dict(refiner.state_dict())
    return heads


def _all_new(recipe: Recipe, lmm: LmmShape) -> Heads:
    """A mask decoder and a refiner that know nothing; the refiner's image encoder is small."""
    torch.manual_seed(recipe.seed)
    return Heads.create(
        lmm,
        HeadsConfig(
            base_channels=recipe.base_channels,
            supervised_iou=recipe.score_weight > 0,
            selector=recipe.selector_weight > 0,
            refiner=SMALL_REFINER,
        ),
    )


def _trained_before(recipe: Recipe, model: ModelConfig) -> Heads:
    if recipe.start != "model":
        return load_heads(Path(recipe.start))
    heads = load_model_heads(model, "cpu")
    if not isinstance(heads, Heads):
        raise ConfigError(
            f"start model: expected trained heads of model {model.name!r}, got training-free ones; "
            "use start: sam"
        )
    return heads


def _as(heads: Heads, config: HeadsConfig, seed: int) -> Heads:
    """The same weights in heads of another configuration; what is new there is drawn."""
    torch.manual_seed(seed)
    made = Heads.create(heads.lmm, config)
    state = made.state_dict()
    state.update({k: v for k, v in heads.state_dict().items() if k in state})
    made.load_state_dict(state)
    return made
