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

"""Feed-forward blocks in parts: the same numbers, in every family, from smaller tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_families
import torch
from torch import nn

from flmm_ros.engine.lmm import FAMILIES, LoadOptions, feed_forward, load_lmm
from flmm_ros.engine.lmm.feed_forward import PART, in_parts


class _Block(nn.Module):
    """A feed-forward block that notes how many tokens came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.seen: list[int] = []

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        self.seen.append(states.shape[1])
        return self.linear(states)  # type: ignore[no-any-return]


def test_long_prompts_go_through_in_parts() -> None:
    model = nn.ModuleDict({"mlp": _Block(), "other": _Block()})
    assert in_parts(model) == 1
    states = torch.randn(2, 2 * PART + 3, 4)
    torch.testing.assert_close(model["mlp"](states), model["mlp"].linear(states))
    assert model["mlp"].seen == [PART, PART, 3]
    model["mlp"](states[:, :PART])
    model["other"](states)
    assert model["mlp"].seen[3:] == [PART]
    assert model["other"].seen == [2 * PART + 3]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_block_of_every_family(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(
        "flmm_ros.engine.lmm.family.in_parts", lambda model: counts.append(in_parts(model))
    )
    lmm = load_lmm(tiny_families.build(family, tmp_path), LoadOptions())
    assert counts == [lmm.shape.layers]
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    suffix = lmm.text().reading("what is there", "the red mug", [(0, 11)])
    with torch.inference_mode():
        whole = lmm.read(lmm.encode(image), suffix.ids, suffix.spans)
        monkeypatch.setattr(feed_forward, "PART", 5)
        parts = lmm.read(lmm.encode(image), suffix.ids, suffix.spans)
    torch.testing.assert_close(parts.maps, whole.maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.all_states, whole.all_states, atol=1e-4, rtol=1e-4)
