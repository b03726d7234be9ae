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

"""Says which generated tokens name something one can point at: the paper's phrase selector.

A linear layer and a sigmoid on the frozen language model's hidden states, summed over layers with
learned weights. It needs no grammar and no second language model.
"""

from __future__ import annotations

import torch
from torch import nn

THRESHOLD = 0.3  # the paper's: rather one phrase too many than one too few


class PhraseSelector(nn.Module):
    """Hidden states of all layers [L, S, D] to one logit a token [S]."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layer_weights = nn.Parameter(torch.ones(layers))
        self.linear = nn.Linear(width, 1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """A logit for each token of states [L, S, D]."""
        weights = self.layer_weights.softmax(dim=0)
        mixed = torch.tensordot(weights, states.to(weights.dtype), dims=1)
        logits: torch.Tensor = self.linear(mixed)[..., 0]
        return logits


def selected_spans(
    probabilities: torch.Tensor, threshold: float = THRESHOLD
) -> list[tuple[int, int]]:
    """Half-open ranges of neighbouring tokens whose probability [S] is above the threshold."""
    spans: list[tuple[int, int]] = []
    for i, is_chosen in enumerate((probabilities > threshold).tolist()):
        if not is_chosen:
            continue
        if spans and spans[-1][1] == i:
            spans[-1] = (spans[-1][0], i + 1)
        else:
            spans.append((i, i + 1))
    return spans
