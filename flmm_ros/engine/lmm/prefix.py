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

"""An encoded image: the key-value cache that every command about it starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from flmm_ros.engine.lmm.view import View

SPARE_TOKENS = 64  # allocated at once behind what is there


class PreallocatedLayer(DynamicLayer):
    """One layer's keys and values, with memory allocated behind them.

    Without it, a layer copies all its keys for every token that is added: on a long prefix that
    costs more than the token itself.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As transformers' layers: all keys and values, the new ones last."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            self._room = (self.keys, self.values)  # none yet: encoding is when memory is short
            return self.keys, self.values
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if after > self._room[0].shape[-2]:
            self._room = (
                _with_spare_tokens(self.keys, after),
                _with_spare_tokens(self.values, after),
            )
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[..., before:after, :] = states
        self.keys, self.values = (room[..., :after, :] for room in self._room)
        return self.keys, self.values


def preallocated_cache() -> DynamicCache:
    """An empty cache of any number of layers, none of which forgets anything."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = PreallocatedLayer
    return cache


def _with_spare_tokens(states: torch.Tensor, length: int) -> torch.Tensor:
    """A larger tensor that begins with these [B, heads, K, d], for `length` tokens and some."""
    room = states.new_empty(*states.shape[:-2], length + SPARE_TOKENS, states.shape[-1])
    room[..., : states.shape[-2], :] = states
    return room


@dataclass(frozen=True)
class Prefix:
    """An image and the prompt up to it, encoded.

    columns: places of the image tokens. states: hidden states of the prefix [L, S, D], only where
        they were asked for. positions: the prefix's position ids [..., S] where the family does not
        simply count.
    """

    cache: DynamicCache
    length: int
    columns: torch.Tensor
    views: tuple[View, ...]
    states: torch.Tensor | None = None
    positions: torch.Tensor | None = None

    def followed_by(self, count: int) -> Prefix:
        """The prefix with the `count` tokens that stand behind it in the cache."""
        positions = self.positions
        if positions is not None:
            positions = torch.cat([positions, self.positions_at(range(count))], dim=-1)
        return dataclasses.replace(self, length=self.length + count, positions=positions)

    def next_positions(self, done: int, count: int) -> torch.Tensor | None:
        """Position ids [..., count] of the text that follows, after `done` tokens of it; None where
        the family simply counts."""
        return None if self.positions is None else self.positions_at(range(done, done + count))

    def positions_at(self, places: Sequence[int]) -> torch.Tensor:
        """Position ids [..., S] of tokens that follow, given their places in their own texts: how
        many tokens stand between the prefix and each."""
        at = torch.tensor([list(places)], device=self.columns.device)
        if self.positions is None:
            return at + self.length
        return (at + self.positions.max() + 1).expand(*self.positions.shape[:-1], -1)


@contextmanager
def cropped(prefix: Prefix, keep: int = 0) -> Iterator[None]:
    """Whatever happens inside, the cache ends as long as it began, or at most `keep` tokens longer.

    Layer by layer, because an interrupted forward leaves only some of them longer.
    """
    try:
        yield
    finally:
        for layer in prefix.cache.layers:
            extra = layer.get_seq_length() - prefix.length - keep
            if extra > 0:
                layer.crop(-extra)
