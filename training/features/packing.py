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

"""Numbers made small for the disk: 16 or 8 bits and a scale, and back.

Maps are positive and most of a map is far below its maximum: their 8 bits are spent on the square
root, so that small values keep two digits. Hidden states have a few huge channels: every token of
every layer has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from flmm_ros.engine.errors import FlmmError
from training.features.readings import SampleReading

BYTES = {"fp16": 2, "8bit": 1}
_SCALE_BYTES = 4


@dataclass(frozen=True)
class Precision:
    """How maps, hidden states and image features are kept: "fp16" or "8bit" each."""

    maps: str = "8bit"
    states: str = "fp16"
    features: str = "fp16"


@dataclass(frozen=True)
class ReadingShape:
    """The sizes that decide how much disk a sample takes. C channels of maps on a grid, L layers of
    width D, features [hidden, g, g]; answers: whether whole answers are kept, for the selector."""

    channels: int
    grid_hw: tuple[int, int]
    layers: int
    width: int
    features: tuple[int, int, int]
    answers: bool = False

    def bytes_of(self, phrases: int, phrase_tokens: int, tokens: int, kept: Precision) -> int:
        """Disk for a sample of some phrases with `phrase_tokens` tokens altogether, in an answer of
        `tokens`."""
        cells = self.grid_hw[0] * self.grid_hw[1]
        maps = phrases * self.channels * (cells * BYTES[kept.maps] + _SCALE_BYTES)
        words = phrase_tokens + (tokens if self.answers else 0)
        states = words * self.layers * (self.width * BYTES[kept.states] + _SCALE_BYTES)
        hidden, rows, columns = self.features
        image = hidden * (rows * columns * BYTES[kept.features] + _SCALE_BYTES)
        return maps + states + image


def packed(reading: SampleReading, kept: Precision) -> dict[str, torch.Tensor]:
    """A reading as named tensors."""
    if reading.features is None:
        raise ValueError("packing: expected a reading with image features, got one without")
    states = torch.cat([state.transpose(0, 1) for state in reading.states])  # [T of all, L, D]
    out = {
        "box": torch.tensor(reading.box_xyxy_px, dtype=torch.float64),
        "lengths": torch.tensor([state.shape[1] for state in reading.states], dtype=torch.int32),
        **_pack("maps", reading.maps, kept.maps, axes=(2, 3)),
        **_pack("states", states, kept.states, axes=(2,)),
        **_pack("features", reading.features, kept.features, axes=(1, 2)),
    }
    if reading.answer is not None and reading.groundable is not None:
        out |= _pack("answer", reading.answer, kept.states, axes=(2,))
        out["groundable"] = reading.groundable.to("cpu", torch.uint8)
    return out


def unpacked(tensors: Mapping[str, torch.Tensor], phrases: Sequence[int]) -> SampleReading:
    """The reading of some of its phrases; the others are not unpacked.

    Raises:
        FlmmError: a tensor is missing.
    """
    try:
        box = tuple(tensors["box"].tolist())
        lengths = tensors["lengths"].tolist()
        ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
        own = {n: slice(ends[n] - lengths[n], ends[n]) for n in phrases}
        states = [_unpack("states", tensors, own[n]).transpose(0, 1) for n in phrases]
        answer = _unpack("answer", tensors) if "answer.values" in tensors else None
        return SampleReading(
            maps=_unpack("maps", tensors, list(phrases)),
            states=tuple(states),
            box_xyxy_px=(box[0], box[1], box[2], box[3]),
            answer=answer,
            groundable=tensors["groundable"].float() if "groundable" in tensors else None,
            features=_unpack("features", tensors),
        )
    except (KeyError, IndexError) as error:
        raise FlmmError(
            f"feature cache: expected a complete record, got one without {error}; make it anew"
        ) from error


def _pack(
    name: str, values: torch.Tensor, precision: str, axes: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    """`values` divided by their largest magnitude along `axes`, and these scales."""
    values = values.detach().float()
    scale = values.abs().amax(dim=axes, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    share = values / scale
    if precision == "fp16":
        kept = share.half()
    elif name == "maps":
        kept = (share.clamp(min=0).sqrt() * 255).round().to(torch.uint8)
    else:
        kept = (share * 127).round().to(torch.int8)
    return {f"{name}.values": kept.cpu().contiguous(), f"{name}.scale": scale.cpu().contiguous()}


def _unpack(
    name: str, tensors: Mapping[str, torch.Tensor], rows: slice | list[int] | None = None
) -> torch.Tensor:
    values, scale = tensors[f"{name}.values"], tensors[f"{name}.scale"]
    if rows is not None:
        values, scale = values[rows], scale[rows]
    if values.dtype == torch.uint8:
        return values.float().div_(255).square_().mul_(scale)
    if values.dtype == torch.int8:
        return values.float().div_(127).mul_(scale)
    return values.float().mul_(scale)
