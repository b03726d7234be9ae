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

"""What travels between the frozen parts and the heads: readings, and the truth they are held to.

A reading is all that the heads get to see of a sample, whether the frozen parts made it just now or
a cache kept it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from flmm_ros.engine.lmm.view import View


@dataclass(frozen=True)
class SampleReading:
    """What the frozen parts made of one sample with N phrases.

    maps: float [N, C, h, w], merged over each phrase's tokens. states: N tensors [L, T, D].
    answer: [L, S, D], the states of the whole answer, for the phrase selector; None where there is
        none to train. groundable: float [S], 1 where a token belongs to a phrase that means
        something in the image.
    box_xyxy_px: what the maps' grid covers, see View. features: of the refiner's image encoder
        [hidden, g, g]; or, where that is trained as well, `pixels` [3, s, s] for it.
    """

    maps: torch.Tensor
    states: tuple[torch.Tensor, ...]
    box_xyxy_px: tuple[float, float, float, float]
    answer: torch.Tensor | None = None
    groundable: torch.Tensor | None = None
    features: torch.Tensor | None = None
    pixels: torch.Tensor | None = None

    @property
    def view(self) -> View:
        """The finest view, as `crop_to_image` wants it."""
        height, width = self.maps.shape[-2:]
        columns = torch.arange(height * width)
        return View("finest", columns, (height, width), self.box_xyxy_px)

    def chosen(self, phrases: Sequence[int]) -> SampleReading:
        """Of some phrases only."""
        if len(phrases) == len(self.states) and list(phrases) == list(range(len(phrases))):
            return self
        return dataclasses.replace(
            self, maps=self.maps[list(phrases)], states=tuple(self.states[n] for n in phrases)
        )

    def to(self, device: torch.device) -> SampleReading:
        """On a device, floats in float32."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, torch.float32, non_blocking=True)

        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        tensors: dict[str, Any] = {
            k: moved(v) for k, v in values.items() if isinstance(v, torch.Tensor)
        }
        states = tuple(moved(state) for state in self.states)
        return dataclasses.replace(self, states=states, **tensors)


@dataclass(frozen=True)
class SampleTruth:
    """What the N phrases of a sample really mean.

    key: the sample's. words: of each phrase. masks: bool [N, H, W] at the size of the image, empty
    for a phrase that means nothing there.
    """

    key: str
    words: tuple[str, ...]
    masks: torch.Tensor

    @property
    def image_hw(self) -> tuple[int, int]:
        """Size of the image."""
        return int(self.masks.shape[1]), int(self.masks.shape[2])

    def to(self, device: torch.device) -> SampleTruth:
        """On a device."""
        return dataclasses.replace(self, masks=self.masks.to(device, non_blocking=True))
