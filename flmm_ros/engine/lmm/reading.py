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

"""What one forward recorded of phrase tokens: attention maps and hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional as F

from flmm_ros.engine.lmm.attention import join_views, merge_views
from flmm_ros.engine.lmm.tokens import Span
from flmm_ros.engine.lmm.view import View


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


@dataclass(frozen=True)
class PaddedBatch:
    """B samples for one forward, padded on the right.

    ids [B, S]; rows [B, R] to record, padded with -1; columns [B, I], the places of the image
    tokens, padded with 0 beyond each sample's `image_tokens`.
    """

    ids: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    image_tokens: tuple[int, ...]


def padded_batch(
    prefixes: Sequence[torch.Tensor],
    suffixes: Sequence[Sequence[int]],
    spans: Sequence[Sequence[Span]],
    image_token_id: int,
) -> PaddedBatch:
    """Each sample its prefix [P], in which the image stands, and its suffix."""
    first, count = prefixes[0], len(prefixes)
    tokens = [tokens_of(sample) for sample in spans]
    images = [(prefix == image_token_id).nonzero()[:, 0] for prefix in prefixes]
    longest = max(len(p) + len(s) for p, s in zip(prefixes, suffixes, strict=True))
    ids = first.new_zeros(count, longest)
    rows = first.new_full((count, max(1, *map(len, tokens))), -1)
    columns = first.new_zeros(count, max(map(len, images)))
    for n, (prefix, suffix) in enumerate(zip(prefixes, suffixes, strict=True)):
        start = len(prefix)
        ids[n, :start] = prefix
        ids[n, start : start + len(suffix)] = first.new_tensor(list(suffix))
        rows[n, : len(tokens[n])] = start + first.new_tensor(tokens[n])
        columns[n, : len(images[n])] = images[n]
    return PaddedBatch(ids, rows, columns, tuple(map(len, images)))


def joined_arguments(prepared: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The image arguments of several images, as `Lmm.prepare` makes them, in one.

    Where images have different numbers of tiles, the missing ones are zeros; every family that
    makes tiles tells by their number, or by their zeros, which ones count.
    """
    return {name: _joined([each[name] for each in prepared]) for name in prepared[0]}


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenated along the first axis, the others padded with zeros to the largest."""
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    padded = []
    for part in parts:
        missing = [(0, most - have) for most, have in zip(largest, part.shape[1:], strict=True)]
        padded.append(F.pad(part, [n for pair in reversed(missing) for n in pair]))
    return torch.cat(padded)


def places(count: int, branches: Sequence[Span]) -> list[int]:
    """The place of each of `count` tokens in its own text."""
    found = list(range(count))
    shared = branches[0][0]
    for start, stop in branches:
        found[start:stop] = range(shared, shared + stop - start)
    return found
