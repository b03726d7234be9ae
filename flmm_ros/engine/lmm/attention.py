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

"""Reads what a word looks at: the row recorder, an attention function for transformers.

Importing this module registers the attention function `flmm_rows` and a mask function of the same
name (without the second, transformers would drop the causal mask silently). The function computes
the layer's output with SDPA as always; when a `RowRecorder` travels along as a forward argument it
also computes the softmax of a few rows, the phrase tokens, and keeps their image columns. The full
attention matrix never exists, so recording costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from flmm_ros.engine.lmm.view import View

ATTENTION_NAME = "flmm_rows"
RECORDER_KEYWORD = "flmm_recorder"


class MissingMaskError(RuntimeError):
    """A recorded token could have looked at later tokens: the causal mask got lost on the way."""


class RowRecorder:
    """Collects, layer by layer, the attention of chosen tokens on chosen positions.

    rows: int64 [B, R] positions within the tokens of *this* forward (not counting a cached prefix);
        -1 pads samples with fewer rows, what is recorded there means nothing.
    columns: int64 [I] or [B, I] positions among all keys, the cached ones included.
    branches: half-open ranges of the tokens of this forward that must not see each other.

    One recorder serves one forward.
    """

    def __init__(
        self, rows: torch.Tensor, columns: torch.Tensor, branches: Sequence[tuple[int, int]] = ()
    ) -> None:
        self.rows = rows.clamp(min=0)
        self.columns = columns
        self.branches = branches
        self._layers: dict[int, torch.Tensor] = {}

    @property
    def layers_seen(self) -> tuple[int, ...]:
        """Indices of the layers that were recorded."""
        return tuple(sorted(self._layers))

    def stacked(self) -> torch.Tensor:
        """Everything recorded, float32 [B, L, A, R, I]."""
        return torch.stack([self._layers[i] for i in self.layers_seen], dim=1)

    def keep_apart(self, attention_mask: torch.Tensor | None, new: int) -> torch.Tensor | None:
        """The mask [B, 1 or A, new, K] with the branches closed to each other.

        Raises:
            MissingMaskError: there are branches and no mask to close them in.
        """
        if not self.branches:
            return attention_mask
        if attention_mask is None:
            raise MissingMaskError(
                f"row recorder: expected a mask for {new} tokens in {len(self.branches)} branches, "
                "got none; branches are read on a cached prefix"
            )
        branch = torch.zeros(new, dtype=torch.long, device=attention_mask.device)
        for number, (start, stop) in enumerate(self.branches, start=1):
            branch[start:stop] = number
        closed = (branch[:, None] != branch) & (branch != 0)  # what all share stays open to all
        closed = F.pad(closed, (attention_mask.shape[-1] - new, 0))
        if attention_mask.dtype == torch.bool:
            return attention_mask & ~closed
        return attention_mask.masked_fill(closed, torch.finfo(attention_mask.dtype).min)

    def record(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float,
        is_causal: bool,
    ) -> None:
        """Computes one layer's rows from its query [B, A, S, d] and key [B, A / groups, K, d].

        Raises:
            MissingMaskError: the mask would let a recorded row see later tokens.
        """
        batch, heads, new, width = query.shape
        key_heads, keys = key.shape[1], key.shape[2]
        rows = self.rows.to(query.device)
        allowed = self._allowed(attention_mask, rows, new, keys, is_causal)
        if not self._layers:  # one mask serves all layers of a forward: look at it once
            _check_causal(allowed, rows, new, keys)
        index = rows[:, None, :, None].expand(batch, heads, -1, width)
        picked = query.gather(2, index)  # [B, A, R, d]
        # Grouped heads: query head a reads key head a // groups, so no key is ever copied.
        picked = picked.reshape(batch, key_heads, -1, width)
        scores = (picked.float() @ key.float().transpose(2, 3)) * scaling
        scores = scores.reshape(batch, heads, -1, keys)
        if allowed.dtype == torch.bool:
            scores = scores.masked_fill(~allowed, float("-inf"))
        else:
            scores = scores + allowed
        weights = scores.softmax(dim=-1)  # [B, A, R, K] over ALL keys, then only the columns
        columns = self.columns.to(query.device)
        if columns.ndim == 1:
            self._layers[layer] = weights.index_select(3, columns)
        else:
            wanted = columns[:, None, None, :].expand(-1, heads, weights.shape[2], -1)
            self._layers[layer] = weights.gather(3, wanted)

    def _allowed(
        self,
        attention_mask: torch.Tensor | None,
        rows: torch.Tensor,
        new: int,
        keys: int,
        is_causal: bool,
    ) -> torch.Tensor:
        """Which keys each row may see: bool, or additive float, [B, 1 or A, R, K]."""
        if attention_mask is not None:
            mask = attention_mask[..., :keys]
            mask = mask.expand(rows.shape[0], -1, -1, -1)
            return mask.gather(2, rows[:, None, :, None].expand(-1, mask.shape[1], -1, keys))
        if new > 1 and (not is_causal or new != keys):
            # Without a mask SDPA is causal only for a whole sequence; on a cached prefix its
            # triangle would stand in the wrong corner.
            raise MissingMaskError(
                f"row recorder: expected a causal mask for {new} new tokens over {keys} keys, got "
                "none; register the mask function under the attention function's name"
            )
        seen = torch.arange(keys, device=rows.device) <= rows[..., None] + (keys - new)
        return seen[:, None]  # [B, 1, R, K]


def _check_causal(allowed: torch.Tensor, rows: torch.Tensor, new: int, keys: int) -> None:
    """Raises MissingMaskError where a row may look at a later token."""
    later = torch.arange(keys, device=rows.device) > rows[..., None] + (keys - new)
    open_ = allowed if allowed.dtype == torch.bool else allowed > torch.finfo(allowed.dtype).min / 2
    if bool((open_ & later[:, None]).any()):
        raise MissingMaskError(
            "row recorder: expected rows that see only earlier tokens, got a mask that opens later "
            "ones; attention rows would depend on words that are not read yet"
        )


def rows_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' SDPA attention; records rows on the side when a recorder is passed along."""
    recorder: RowRecorder | None = kwargs.pop(RECORDER_KEYWORD, None)
    if recorder is not None:
        attention_mask = recorder.keep_apart(attention_mask, query.shape[2])
        causal = is_causal if is_causal is not None else bool(getattr(module, "is_causal", True))
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        recorder.record(layer, query, key, attention_mask, scale, causal)
    output, _ = sdpa_attention_forward(
        module,
        query,
        key,
        value,
        attention_mask,
        dropout=dropout,
        scaling=scaling,
        is_causal=is_causal,
        **kwargs,
    )
    return output, None


def merge_views(
    rows: torch.Tensor, spans: Sequence[tuple[int, int]], views: Sequence[View], merge: str
) -> tuple[torch.Tensor, ...]:
    """Attention rows of phrase tokens to maps, merged over each phrase's tokens, view by view.

    Args:
        rows: [L, A, R, I], the rows of all phrases one after another.
        spans: N half-open ranges of R.
        merge: "mean" or "max" over a phrase's tokens.

    Returns:
        For each view float32 [N, L * A, h, w] on its own grid, channel = layer * A + head.
    """
    layers, heads, _, _ = rows.shape
    merged = []
    for start, stop in spans:
        tokens = rows[:, :, start:stop]
        merged.append(tokens.amax(dim=2) if merge == "max" else tokens.mean(dim=2))
    flat = torch.stack(merged)  # [N, L, A, I]
    return tuple(
        flat[..., view.columns.to(flat.device)].reshape(len(spans), layers * heads, *view.grid_hw)
        for view in views
    )


def join_views(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps of all views, one block of channels after another, on the grid of the last view:
    [N, C, h, w]."""
    grid_hw = maps[-1].shape[-2:]
    return torch.cat(
        [
            block if block.shape[-2:] == grid_hw else F.interpolate(block, grid_hw, mode="bilinear")
            for block in maps
        ],
        dim=1,
    )


AttentionInterface.register(ATTENTION_NAME, rows_attention)
AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)
