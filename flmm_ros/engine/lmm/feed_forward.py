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

"""Feed-forward blocks in parts: the widest tensors of a prompt never exist as a whole.

A block treats every token by itself, so the tokens of a long prompt can go through it some hundred
at a time: the same numbers, and a quarter of what encoding an image needs beside its cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

PART = 512  # tokens: enough to keep any processor busy


def in_parts(text_model: nn.Module) -> int:
    """Makes the feed-forward blocks of a decoder work in parts; how many blocks these are."""
    blocks = [m for name, m in text_model.named_modules() if name.rpartition(".")[2] == "mlp"]
    for block in blocks:
        block.forward = partial(_one_part_after_another, block.forward)
    return len(blocks)


def _one_part_after_another(
    forward: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor
) -> torch.Tensor:
    if states.shape[1] <= PART:
        return forward(states)
    return torch.cat([forward(part) for part in states.split(PART, dim=1)], dim=1)
