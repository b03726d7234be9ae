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

"""SAM's image encoder computes what transformers' computes, without the large matrices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from flmm_ros.engine.vision.sam_image_encoder import BAND, SamImageEncoder


class _Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.untyped_storage().nbytes() // 4)
        return result


@pytest.fixture
def encoders() -> Iterator[tuple[SamVisionEncoder, SamImageEncoder]]:
    """transformers' and ours, with the same weights; 18 rows of patches are no whole bands."""
    torch.manual_seed(0)
    config = SamVisionConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=18 * 4,
        patch_size=4,
        window_size=5,
        global_attn_indexes=[1],
        mlp_dim=32,
        output_channels=16,
        num_pos_feats=8,
    )
    config._attn_implementation = "sdpa"
    theirs, ours = SamVisionEncoder(config).eval(), SamImageEncoder(config).eval()
    for name, parameter in theirs.named_parameters():  # relative positions begin as zeros
        torch.nn.init.normal_(parameter, std=3.0 if "rel_pos" in name else 0.2)
    ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        yield theirs, ours


def test_features_are_those_of_transformers(
    encoders: tuple[SamVisionEncoder, SamImageEncoder],
) -> None:
    theirs, ours = encoders
    pixels = torch.randn(2, 3, 72, 72)
    expected = theirs(pixels).last_hidden_state
    assert ours(pixels).shape == (2, 16, 18, 18)
    torch.testing.assert_close(ours(pixels), expected, atol=1e-4, rtol=1e-4)
    ours.layers[1].attn.rel_pos_h.zero_()
    assert not torch.allclose(ours(pixels), expected, atol=1e-2)


def test_positions_of_all_pairs_never_exist(
    encoders: tuple[SamVisionEncoder, SamImageEncoder],
) -> None:
    theirs, ours = encoders
    pixels, pairs = torch.randn(1, 3, 72, 72), 2 * (18 * 18) ** 2
    with _Largest() as all_at_once:
        theirs(pixels)
    with _Largest() as in_bands:
        ours(pixels)
    assert all_at_once.elements >= pairs
    assert in_bands.elements <= pairs * BAND / 18
