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

"""Whether the vision encoder of a LLaVA makes the grid of tokens that its adapter counts on."""

from __future__ import annotations

import torch
from transformers import AutoConfig, PreTrainedModel

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.lmm.loading import (
    LOAD_ERRORS,
    LoadOptions,
    first_line,
    load_failure,
    source_arguments,
)


def require_square_images(config: ModelConfig, options: LoadOptions) -> None:
    """Looks at the configuration, before any weights are read.

    Raises:
        CheckpointError: images that are not square, or rows of patches with ends of their own
            (Pixtral); or the configuration cannot be read.
    """
    try:
        content = AutoConfig.from_pretrained(config.lmm, **source_arguments(config, options))
        vision = content.vision_config
        kind, side, patch = vision.model_type, vision.image_size, vision.patch_size
    except LOAD_ERRORS as error:
        raise load_failure(config, error) from error
    if kind == "pixtral":
        raise CheckpointError(
            f"{_file(config)}: expected a vision encoder with a square grid of tokens, got "
            f"{kind!r}, whose rows end in tokens of their own; it is no LLaVA that runs here "
            "(docs/models.md)"
        )
    if not isinstance(side, int) or not isinstance(patch, int):
        raise CheckpointError(
            f"{_file(config)}: expected a vision encoder for square images and patches, got "
            f"image_size {side} and patch_size {patch}; it is no LLaVA that runs here "
            "(docs/models.md)"
        )


def require_square_grid(model: PreTrainedModel, config: ModelConfig) -> None:
    """Runs the vision encoder once on a blank square and counts what comes out.

    Raises:
        CheckpointError: another number of tokens than a square grid has.
    """
    vision, strategy = model.config.vision_config, model.config.vision_feature_select_strategy
    expected = (vision.image_size // vision.patch_size) ** 2
    got = _tokens_of(model, vision.image_size, config) - (strategy == "default")
    if got != expected:
        other = "full" if strategy == "default" else "default"
        raise CheckpointError(
            f"{_file(config)}: expected {expected} image tokens of {vision.model_type!r} with "
            f"vision_feature_select_strategy {strategy!r}, got {got}; is it {other!r}? (the first "
            "of CLIP's tokens is no patch, SigLIP has no such token)"
        )


def _file(config: ModelConfig) -> str:
    return f"model {config.name!r}: {config.lmm}/config.json"


def _tokens_of(model: PreTrainedModel, side: int, config: ModelConfig) -> int:
    """How many tokens the vision encoder makes of an image."""
    encoder = model.model.vision_tower
    blank = torch.zeros(1, 3, side, side, device=model.device, dtype=model.dtype)
    try:
        with torch.inference_mode():
            output = encoder(blank, output_hidden_states=True)
            layers = model.config.vision_feature_layer
            for layer in layers if isinstance(layers, list) else [layers]:
                tokens = output.hidden_states[layer]
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise CheckpointError(
            f"{_file(config)}: expected a vision encoder that takes a {side}x{side} image, got: "
            f"{first_line(error)}; compare the file with the original model's"
        ) from error
    return int(tokens.shape[1])
