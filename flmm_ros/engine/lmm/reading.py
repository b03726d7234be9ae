"""What one forward recorded of phrase tokens: attention maps and hidden states.

Does not know about: models, caches, how the forward was run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from flmm_ros.engine.attention import join_views, merge_views
from flmm_ros.engine.lmm.tokens import Span
from flmm_ros.engine.types import View


@dataclass(frozen=True)
class LmmReading:
    """What one forward recorded of N phrases.

    view_maps: [N, L * A, h, w] float32 of each view, on its own grid. states: N tensors [L, T, D],
        the phrase tokens' hidden states in every layer, the last one after the final norm.
        all_states: [L, S, D] of the whole suffix.
    """

    view_maps: tuple[torch.Tensor, ...]
    states: tuple[torch.Tensor, ...]
    all_states: torch.Tensor

    @classmethod
    def of(
        cls,
        rows: torch.Tensor,
        all_states: torch.Tensor,
        spans: Sequence[Span],
        views: Sequence[View],
        merge: str,
    ) -> LmmReading:
        """From recorded rows [L, A, R, I], the spans' tokens one span after another (more rows may
        follow them), and the hidden states [L, S, D] of the suffix that the spans lie in."""
        ranges, at = [], 0
        for start, stop in spans:
            ranges.append((at, at + stop - start))
            at += stop - start
        states = tuple(all_states[:, start:stop].float() for start, stop in spans)
        return cls(merge_views(rows, ranges, views, merge), states, all_states)

    @classmethod
    def joined(cls, branches: Sequence[LmmReading], shared: int) -> LmmReading:
        """From one reading a branch, each beginning with the same `shared` tokens."""
        first, views = branches[0], zip(*(b.view_maps for b in branches), strict=True)
        own = [b.all_states[:, shared:] for b in branches]
        return cls(
            tuple(torch.cat(maps) for maps in views),
            tuple(states for b in branches for states in b.states),
            torch.cat([first.all_states[:, :shared], *own], dim=1),
        )

    @cached_property
    def maps(self) -> torch.Tensor:
        """The maps of all views on the finest grid, [N, C, h, w] float32."""
        return join_views(self.view_maps)


def tokens_of(spans: Sequence[Span]) -> list[int]:
    """The tokens of all spans, one span after another: the rows to record."""
    return [i for start, stop in spans for i in range(start, stop)]


def padded_batch(
    prefix: torch.Tensor, suffixes: Sequence[Sequence[int]], spans: Sequence[Sequence[Span]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids [B, S], each sample the prefix [P] and its suffix, padded on the right, and the rows
    [B, R] to record, padded with -1."""
    start, longest = len(prefix), max(len(suffix) for suffix in suffixes)
    ids = prefix.new_zeros(len(suffixes), start + longest)
    ids[:, :start] = prefix
    tokens = [tokens_of(sample) for sample in spans]
    rows = prefix.new_full((len(suffixes), max(1, *map(len, tokens))), -1)
    for n, (suffix, sample) in enumerate(zip(suffixes, tokens, strict=True)):
        ids[n, start : start + len(suffix)] = prefix.new_tensor(list(suffix))
        rows[n, : len(sample)] = start + prefix.new_tensor(sample)
    return ids, rows


def places(count: int, branches: Sequence[Span]) -> list[int]:
    """The place of each of `count` tokens in its own text."""
    found = list(range(count))
    shared = branches[0][0]
    for start, stop in branches:
        found[start:stop] = range(shared, shared + stop - start)
    return found
