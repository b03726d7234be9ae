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
