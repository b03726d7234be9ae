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

"""The numbers that make a mask refiner: its own, and those of its image encoder."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import SamVisionConfig


@dataclass(frozen=True)
class SamVitShape:
    """Numbers of a SAM ViT image encoder."""

    width: int = 1024
    depth: int = 24
    heads: int = 16
    patch: int = 16
    window: int = 14
    global_layers: tuple[int, ...] = (5, 11, 17, 23)
    mlp_width: int = 4096


@dataclass(frozen=True)
class ConvEncoderShape:
    """Numbers of the small convolutional image encoder; its stride is 2 ** len(channels)."""

    channels: tuple[int, ...] = (32, 64, 96)
    blocks: tuple[int, ...] = (1, 2, 2)


@dataclass(frozen=True)
class RefinerShape:
    """Numbers of the refiner. `input_size`: side of the square the image is fitted into, top
    left."""

    hidden: int = 256
    input_size: int = 1024
    mask_channels: int = 16
    decoder_layers: int = 2
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    decoder_downsample: int = 2
    extra_masks: int = 3
    iou_hidden: int = 256
    iou_depth: int = 3
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    encoder: SamVitShape | ConvEncoderShape = SamVitShape()

    @property
    def stride(self) -> int:
        """Pixels of the square along the side of a feature cell."""
        encoder = self.encoder
        return encoder.patch if isinstance(encoder, SamVitShape) else 2 ** len(encoder.channels)

    def vision_config(self) -> SamVisionConfig:
        """SAM's vision config: the ViT's numbers, or only what the prompt encoder asks it for."""
        common = {
            "output_channels": self.hidden,
            "image_size": self.input_size,
            "patch_size": self.stride,
            "num_pos_feats": self.hidden // 2,
        }
        vit = self.encoder
        if not isinstance(vit, SamVitShape):
            return SamVisionConfig(**common)
        return SamVisionConfig(
            hidden_size=vit.width,
            num_hidden_layers=vit.depth,
            num_attention_heads=vit.heads,
            window_size=vit.window,
            global_attn_indexes=list(vit.global_layers),
            mlp_dim=vit.mlp_width,
            mlp_ratio=vit.mlp_width / vit.width,
            **common,
        )
