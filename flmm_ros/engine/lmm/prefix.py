"""An encoded image: the key-value cache that every command about it starts from.

Does not know about: model families, what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from flmm_ros.engine.types import View


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
def cropped(prefix: Prefix) -> Iterator[None]:
    """Whatever happens inside, the cache ends as long as it began.

    Layer by layer, because an interrupted forward leaves only some of them longer.
    """
    try:
        yield
    finally:
        for layer in prefix.cache.layers:
            extra = layer.get_seq_length() - prefix.length
            if extra > 0:
                layer.crop(-extra)
