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

"""The prefix cache: it grows in place, and ends as long as it began."""

from __future__ import annotations

import torch
from transformers.cache_utils import DynamicLayer

from flmm_ros.engine.lmm.prefix import SPARE_TOKENS, PreallocatedLayer


def _states(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return (
        torch.randn(1, 2, count, 4, generator=random),
        torch.randn(1, 2, count, 4, generator=random),
    )


def test_a_layer_with_spare_tokens_holds_what_one_without_holds() -> None:
    spare, plain = PreallocatedLayer(), DynamicLayer()
    for seed, count in enumerate((5, 3, 1, SPARE_TOKENS, 2, 1)):
        if seed == 3:
            for layer in (spare, plain):
                layer.crop(-4)  # back to the prefix; what follows is written over
        got, expected = (layer.update(*_states(count, seed)) for layer in (spare, plain))
        assert torch.equal(got[0], expected[0]) and torch.equal(got[1], expected[1])
        assert spare.get_seq_length() == plain.get_seq_length()


def test_tokens_that_find_room_move_nothing() -> None:
    layer = PreallocatedLayer()
    layer.update(*_states(5, 0))
    layer.update(*_states(1, 1))
    place = layer.keys.data_ptr()
    for seed in range(SPARE_TOKENS):
        layer.update(*_states(1, seed))
    assert layer.keys.data_ptr() == place
    assert layer.get_seq_length() == 6 + SPARE_TOKENS
