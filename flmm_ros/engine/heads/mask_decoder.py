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

"""Turns attention maps into a coarse mask: the paper's U-Net.

Each map is divided by its sum, enlarged so that there is something to draw on, padded to a size the
U-Net can halve, decoded, and cut back. The arithmetic (order of operations, rounding) follows the
original exactly, because its weights are sensitive to it: normalised inputs are about 1e-3, so even
the epsilon of the group normalisation counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

_SUM_FLOOR = 1e-12


class ConvNorm(nn.Module):
    """Convolution without bias, group normalisation with one group, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(1, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolved, normalised, rectified."""
        return F.relu(self.norm(self.conv(x)))


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(in_channels, out_channels, 3), ConvNorm(out_channels, out_channels, 3)
    )


class UpBlock(nn.Module):
    """Doubles the size, halves the channels, joins the encoder's features of that size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(2 * channels, channels, 1)
        self.block = _block(2 * channels, channels)

    def forward(self, skip: torch.Tensor, deep: torch.Tensor) -> torch.Tensor:
        """Features of the finer level joined with the coarser ones."""
        deep = F.interpolate(deep, scale_factor=2.0, mode="bilinear", align_corners=False)
        joined: torch.Tensor = self.block(torch.cat([skip, self.reduce(deep)], dim=1))
        return joined


class MaskDecoder(nn.Module):
    """Maps [N, C, h, w] to coarse mask logits [N, h', w'].

    in_channels: C = L * A * views. base_channels: width of the first stage; it doubles with each.
    upsample_to: the long side the maps are enlarged to at least.
    """

    def __init__(
        self, in_channels: int, *, base_channels: int = 64, stages: int = 4, upsample_to: int = 64
    ) -> None:
        super().__init__()
        widths = [base_channels * 2**i for i in range(stages)]
        self.upsample_to = upsample_to
        self.multiple = 2 ** (stages - 1)
        self.down = nn.ModuleList(
            _block(before, after)
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(UpBlock(width) for width in widths[:-1])
        self.out = nn.Conv2d(base_channels, 1, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, h, w] to coarse logits [N, h', w']."""
        x = self.normalised(maps)
        scale = enlargement(x.shape[-2:], self.upsample_to)
        # scale_factor, not size: it samples at 1 / scale and floors the output size.
        x = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        return self.drawn(x)

    def normalised(self, maps: torch.Tensor) -> torch.Tensor:
        """Each map divided by its sum."""
        return maps / maps.sum(dim=(-2, -1), keepdim=True).clamp(min=_SUM_FLOOR)

    def drawn(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised and enlarged maps [N, C, h', w'] to logits [N, h', w']."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        skips: list[torch.Tensor] = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for skip, up in zip(skips[-2::-1], list(self.up)[::-1], strict=True):
            x = up(skip, x)
        logits: torch.Tensor = self.out(x)
        return logits[:, 0, :height, :width]


def enlargement(grid_hw: Sequence[int], upsample_to: int) -> float:
    """By how much maps are enlarged so that their long side is `upsample_to` at least."""
    return max(1.0, upsample_to / max(grid_hw))
