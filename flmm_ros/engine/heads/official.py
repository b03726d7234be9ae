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

"""The names and shapes of official weights: F-LMM head checkpoints and segment-anything's encoder.

`official_name` maps each of our parameter names to the official one, so that a whole module yields
the complete table of what a file must hold; `infer_shapes` reads every width from the weights.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import torch

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.refiner_shape import RefinerShape, SamVitShape
from flmm_ros.engine.heads.trained import HeadsConfig, LmmShape

BASIS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_SAM_DECODER_HEADS = (
    8  # attention heads of SAM's mask decoder: visible in no shape, the same in all
)

# Ours -> official, first match wins. `mask_decoder` is the U-Net, `mask_refiner` SAM.
_HEAD_NAMES: tuple[tuple[str, str], ...] = (
    (r"^mask_decoder\.down\.0\.(\d+)\.", r"mask_head.encoder.0.0.convs.\1."),
    (r"^mask_decoder\.down\.(\d+)\.(\d+)\.", r"mask_head.encoder.\1.1.convs.\2."),
    (r"^mask_decoder\.up\.(\d+)\.block\.(\d+)\.", r"mask_head.decoder.\1.conv_block.convs.\2."),
    (r"^mask_decoder\.up\.(\d+)\.reduce\.", r"mask_head.decoder.\1.upsample.interp_upsample.1."),
    (r"^mask_decoder\.out\.", "mask_head.conv_seg."),
    (r"^mask_refiner\.image_encoder\.", "image_encoder."),
    (r"^mask_refiner\.", "sam.model."),
)
# Then, inside SAM, all that match, in order.
_PROMPT_NAMES: tuple[tuple[str, str], ...] = (
    ("shared_embedding.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
    (".point_embed.", ".point_embeddings."),
    ("mask_embed.conv1.", "mask_downscaling.0."),
    ("mask_embed.layer_norm1.", "mask_downscaling.1."),
    ("mask_embed.conv2.", "mask_downscaling.3."),
    ("mask_embed.layer_norm2.", "mask_downscaling.4."),
    ("mask_embed.conv3.", "mask_downscaling.6."),
)
_DECODER_NAMES: tuple[tuple[str, str], ...] = (
    ("layer_norm_final_attn", "norm_final_attn"),
    ("upscale_conv1.", "output_upscaling.0."),
    ("upscale_layer_norm.", "output_upscaling.1."),
    ("upscale_conv2.", "output_upscaling.3."),
    (".layer_norm", ".norm"),
)
_ENCODER_NAMES: tuple[tuple[str, str], ...] = (
    ("patch_embed.projection.", "patch_embed.proj."),
    ("image_encoder.layers.", "image_encoder.blocks."),
    ("neck.conv1.", "neck.0."),
    ("neck.layer_norm1.", "neck.1."),
    ("neck.conv2.", "neck.2."),
    ("neck.layer_norm2.", "neck.3."),
    (".layer_norm", ".norm"),
)
_MLP = re.compile(
    r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.(proj_in|proj_out|layers\.\d+)"
)


def official_name(name: str, config: HeadsConfig) -> str:
    """The official name of one of our head parameters; image-encoder names as in a SAM file."""
    for pattern, replacement in _HEAD_NAMES:
        if re.match(pattern, name):
            name = re.sub(pattern, replacement, name)
            break
    if name.startswith("mask_head."):
        return name.replace(".norm.", ".gn.")
    tables = (
        ("sam.model.prompt_encoder.", _PROMPT_NAMES),
        ("sam.model.mask_decoder.", _DECODER_NAMES),
        ("image_encoder.", _ENCODER_NAMES),
    )
    for prefix, table in tables:
        if name.startswith(prefix):
            for ours, theirs in table:
                name = name.replace(ours, theirs)
    return _MLP.sub(lambda found: _mlp_name(found, config.refiner.iou_depth), name)


def _mlp_name(found: re.Match[str], iou_depth: int) -> str:
    """proj_in, layers.0 .. proj_out are simply layers.0, layers.1 .. in the original."""
    module, part = found.groups()
    depth = iou_depth if module == "iou_prediction_head" else 3
    if part == "proj_in":
        number = 0
    elif part == "proj_out":
        number = depth - 1
    else:
        number = int(part.split(".")[1]) + 1
    return f"{module}.layers.{number}"


def infer_shapes(
    heads: Mapping[str, torch.Tensor], encoder: Mapping[str, torch.Tensor]
) -> tuple[LmmShape, HeadsConfig]:
    """Numbers of official heads, from `heads` (F-LMM names) and `encoder` (image_encoder.* names).

    Heads of the language model cannot be told from its layers; they are found by dividing the map
    channels by the layers, and count all views together.

    Raises:
        CheckpointError: a weight that tells a number is missing.
    """
    first = _shape(heads, "mask_head.encoder.0.0.convs.0.conv.weight")
    layers = _shape(heads, "text_layer_weights")[0]
    width = _shape(heads, "text_proj.weight")[1]
    if first[1] % layers:
        raise CheckpointError(
            f"mask head: expected a multiple of {layers} map channels (one weight per layer in "
            f"'text_layer_weights'), got {first[1]}; the file mixes two models"
        )
    refiner = infer_refiner(heads, encoder, prefix="sam.model.")
    config = HeadsConfig(
        base_channels=first[0],
        stages=_count(heads, r"mask_head\.encoder\.(\d+)\."),
        isolated=False,
        supervised_iou=False,
        refiner=refiner,
    )
    return LmmShape(layers, first[1] // layers, width), config


def infer_refiner(
    weights: Mapping[str, torch.Tensor], encoder: Mapping[str, torch.Tensor], *, prefix: str
) -> RefinerShape:
    """Numbers of a SAM: prompt encoder and mask decoder from `weights`, whose names begin with
    `prefix`, the ViT from `encoder`.

    Raises:
        CheckpointError: a weight that tells a number is missing.
    """
    decoder = f"{prefix}mask_decoder"
    layer = f"{decoder}.transformer.layers.0"
    encoder_shape, input_size = _vit_shape(encoder)
    hidden = _shape(weights, f"{decoder}.mask_tokens.weight")[1]
    return RefinerShape(
        hidden=hidden,
        input_size=input_size,
        mask_channels=_shape(weights, f"{prefix}prompt_encoder.mask_downscaling.3.weight")[0],
        decoder_layers=_count(weights, rf"{decoder}\.transformer\.layers\.(\d+)\."),
        decoder_heads=_SAM_DECODER_HEADS,
        decoder_mlp=_shape(weights, f"{layer}.mlp.lin1.weight")[0],
        decoder_downsample=hidden
        // _shape(weights, f"{layer}.cross_attn_token_to_image.q_proj.weight")[0],
        extra_masks=_shape(weights, f"{decoder}.mask_tokens.weight")[0] - 1,
        iou_hidden=_shape(weights, f"{decoder}.iou_prediction_head.layers.0.weight")[0],
        iou_depth=_count(weights, rf"{decoder}\.iou_prediction_head\.layers\.(\d+)\."),
        encoder=encoder_shape,
    )


def _vit_shape(encoder: Mapping[str, torch.Tensor]) -> tuple[SamVitShape, int]:
    """Numbers of the ViT and the side of its square input."""
    patch = _shape(encoder, "image_encoder.patch_embed.proj.weight")
    grid = _shape(encoder, "image_encoder.pos_embed")[1]
    depth = _count(encoder, r"image_encoder\.blocks\.(\d+)\.")
    lengths = [_shape(encoder, f"image_encoder.blocks.{i}.attn.rel_pos_h")[0] for i in range(depth)]
    whole = 2 * grid - 1  # a block whose relative positions span the grid attends globally
    windows = {(n + 1) // 2 for n in lengths if n != whole}
    if len(windows) > 1:
        raise CheckpointError(
            f"image encoder: expected one window size, got {sorted(windows)} from 'rel_pos_h'"
        )
    shape = SamVitShape(
        width=patch[0],
        depth=depth,
        heads=patch[0] // _shape(encoder, "image_encoder.blocks.0.attn.rel_pos_h")[1],
        patch=patch[2],
        window=windows.pop() if windows else grid,
        global_layers=tuple(i for i, n in enumerate(lengths) if n == whole),
        mlp_width=_shape(encoder, "image_encoder.blocks.0.mlp.lin1.weight")[0],
    )
    return shape, grid * patch[2]


def _shape(weights: Mapping[str, torch.Tensor], key: str) -> tuple[int, ...]:
    if key not in weights:
        nearest = difflib.get_close_matches(key, weights, n=1, cutoff=0.0)
        named = f", nearest {nearest[0]!r}" if nearest else ""
        raise CheckpointError(
            f"expected the key {key!r}, got {len(weights)} keys without it{named}; is this the "
            "right file?"
        )
    return tuple(weights[key].shape)


def _count(weights: Mapping[str, torch.Tensor], pattern: str) -> int:
    """How many different numbers stand at the pattern's group."""
    return len({m.group(1) for key in weights if (m := re.match(pattern, key))})
