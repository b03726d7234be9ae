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

"""SAM's image encoder, in the memory of a robot.

The layers are transformers' own. The global ones add a relative position to every pair of image
patches: at 64x64 patches and 16 heads that is a gigabyte, built several times over. Here the rows
of patches ask one band after another, so that only one band's positions exist at a time; the
numbers are the same.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder, SamVisionSdpaAttention

BAND = 4  # rows of patches


class SamImageEncoder(SamVisionEncoder):
    """SAM's ViT, pixels [B, 3, s, s] to the features [B, hidden, g, g] themselves."""

    def __init__(self, config: SamVisionConfig) -> None:
        super().__init__(config)
        for layer in self.layers:
            if layer.window_size == 0:
                layer.attn = BandedAttention(config, window_size=0)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """See the class."""
        features: torch.Tensor = super().forward(pixel_values).last_hidden_state
        return features


class BandedAttention(SamVisionSdpaAttention):
    """Global attention with decomposed relative positions, BAND rows of queries at a time."""

    def forward(
        self, hidden_states: torch.Tensor, output_attentions: bool | None = None
    ) -> tuple[torch.Tensor, None]:
        """See the class."""
        if torch.jit.is_tracing():  # another runtime plans its own memory
            return super().forward(hidden_states)
        batch, height, width, _ = hidden_states.shape
        heads = self.num_attention_heads
        qkv = self.qkv(hidden_states).reshape(batch, height, width, 3, heads, -1)
        query, key, value = qkv.permute(3, 0, 4, 1, 2, 5)  # [B, A, h, w, d] each
        key, value = key.flatten(2, 3), value.flatten(2, 3)
        along_y = self.get_rel_pos(height, height, self.rel_pos_h)  # [h, h, d]
        along_x = self.get_rel_pos(width, width, self.rel_pos_w)
        bands = []
        for top in range(0, height, BAND):
            band = query[:, :, top : top + BAND]
            y = torch.einsum("bahwd,hkd->bahwk", band, along_y[top : top + BAND])
            x = torch.einsum("bahwd,wkd->bahwk", band, along_x)
            position = (y[..., :, None] + x[..., None, :]).flatten(4).flatten(2, 3)
            out = F.scaled_dot_product_attention(band.flatten(2, 3), key, value, position)
            bands.append(out)
        joined = torch.cat(bands, dim=2)  # [B, A, h * w, d]
        return self.proj(joined.transpose(1, 2).reshape(batch, height, width, -1)), None
