"""Whether the vision encoder of a LLaVA makes the grid of tokens that its adapter counts on."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.lmm.loading import first_line

_ADVICE = "it is no LLaVA of a family that runs here (docs/models.md)"


def require_square_grid(model: PreTrainedModel, config: ModelConfig) -> None:
    """Runs the vision encoder once on a blank square and counts what comes out.

    Raises:
        CheckpointError: images that are not square, rows of patches with ends of their own
            (Pixtral), or another number of tokens than a square grid has.
    """
    vision, where = model.config.vision_config, f"model {config.name!r}: {config.lmm}/config.json"
    kind = vision.model_type
    if kind == "pixtral":
        raise CheckpointError(
            f"{where}: expected a vision encoder with a square grid of tokens, got {kind!r}, whose "
            f"rows end in tokens of their own; {_ADVICE}"
        )
    side, patch = vision.image_size, vision.patch_size
    if not isinstance(side, int) or not isinstance(patch, int):
        raise CheckpointError(
            f"{where}: expected a vision encoder for square images and patches, got image_size "
            f"{side} and patch_size {patch}; {_ADVICE}"
        )
    strategy = model.config.vision_feature_select_strategy
    expected = (side // patch) ** 2
    got = _tokens_of(model, side, config) - (strategy == "default")
    if got != expected:
        advice = "full" if strategy == "default" else "default"
        raise CheckpointError(
            f"{where}: expected {expected} image tokens of {kind!r} with "
            f"vision_feature_select_strategy {strategy!r}, got {got}; is it {advice!r}? (the first "
            "of CLIP's tokens is no patch, SigLIP has no such token)"
        )


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
            f"model {config.name!r}: expected a vision encoder that takes a {side}x{side} image, "
            f"got: {first_line(error)}; compare {config.lmm}/config.json with the original model's"
        ) from error
    return int(tokens.shape[1])
