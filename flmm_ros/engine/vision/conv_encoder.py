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

"""A small convolutional vision encoder, for models that must run on two CPU cores.

`ConvTrunk` is the network itself, shared by the embedded LMM's vision encoder (stride 16, 16x16
tokens) and by the embedded mask refiner's image encoder (stride 8, in the place of SAM's ViT).
Importing this module registers `flmm_conv_tower` with transformers, so that
`LlavaForConditionalGeneration` finds it by the `model_type` of its vision config, and the LLaVA
class itself stays as it is.

Normalisation is by batch statistics frozen after training: a pixel's features do not depend on how
much padding surrounds the picture.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class ResidualBlock(nn.Module):
    """Depthwise 5x5, then a pointwise expansion of two: x + f(x), same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x + f(x)."""
        return x + self.body(x)


class ConvTrunk(nn.Module):
    """Pixels [B, 3, H, W] to features [B, C, H / s, W / s], s = 2 ** len(channels).

    channels: width after each halving; blocks: residual blocks after each halving.
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        if len(channels) != len(blocks):
            raise ValueError(
                f"ConvTrunk: expected one block count per stage, got {len(channels)} channel "
                f"widths and {len(blocks)} block counts"
            )
        stages: list[nn.Module] = []
        width = 3
        for wide, count in zip(channels, blocks, strict=True):
            stages += [
                nn.Conv2d(width, wide, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.GELU(),
                *(ResidualBlock(wide) for _ in range(count)),
            ]
            width = wide
        self.net = nn.Sequential(*stages)
        self.out_channels = width
        self.stride = 2 ** len(channels)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        features: torch.Tensor = self.net(pixels)
        return features


class ConvVisionConfig(PreTrainedConfig):
    """Numbers of the encoder. `hidden_size`: width of the tokens; `patch_size`: the stride."""

    model_type = "flmm_conv_tower"
    image_size: int = 256
    patch_size: int = 16
    hidden_size: int = 128
    channels: list[int] | None = None
    blocks: list[int] | None = None

    def stages(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Channel widths and block counts, with the defaults of a stride-16 encoder filled in."""
        channels = tuple(self.channels or (24, 48, 96, self.hidden_size))
        return channels, tuple(self.blocks or (0, 1, 1, 2))


class ConvVisionEncoder(PreTrainedModel):
    """The trunk as a vision encoder: image tokens that know where they stand.

    `position` is learned with the trunk, before the norm. `place`, after it, is a fixed code of
    sines on which left, right, near and far are straight lines: a small language model learns to
    compare places from it, and does not from a learned table alone.

    Output `last_hidden_state` [B, I, D], row-major; there is one hidden state, the last.
    """

    config_class = ConvVisionConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: ConvVisionConfig) -> None:
        super().__init__(config)
        channels, blocks = config.stages()
        side = config.image_size // config.patch_size
        self.trunk = ConvTrunk(channels, blocks)
        self.position = nn.Parameter(torch.randn(1, config.hidden_size, side, side) * 0.1)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.place = nn.Parameter(place_code(side, config.hidden_size), requires_grad=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """torch's own initialisation stands; transformers asks every model for this method."""

    def forward(
        self, pixel_values: torch.Tensor, output_hidden_states: bool | None = None, **_: object
    ) -> BaseModelOutput:
        """Pixels [B, 3, H, W] to the image tokens."""
        features = self.trunk(pixel_values) + self.position
        tokens = self.norm(features.flatten(2).transpose(1, 2)) + self.place  # [B, I, D]
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens, tokens))


def place_code(side: int, width: int) -> torch.Tensor:
    """Where each cell of a side x side grid stands, [1, side * side, width]: x, y and their sines
    at three frequencies, each along a direction of its own, so that they disturb the features
    little."""
    at = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(at, at, indexing="ij")
    waves = [wave(math.pi * k * axis) for k in (0.5, 1, 2) for axis in (x, y) for wave in _WAVES]
    functions = torch.stack([x, y, *waves], dim=-1).reshape(side * side, -1)  # [I, K]
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(width, functions.shape[1], generator=generator)
    basis = torch.linalg.qr(directions).Q.T  # [K, width], orthonormal
    return (2.0 * functions @ basis)[None]


_WAVES = (torch.sin, torch.cos)

AutoConfig.register(ConvVisionConfig.model_type, ConvVisionConfig)
AutoModel.register(ConvVisionConfig, ConvVisionEncoder)
