"""Tells one trained model from another, in a second also where it has billions of weights.

What was computed with a model and kept (measured cases, readings) must never be taken for another's
that has the same name.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn

SAMPLED = 512  # values of each tensor, spread over it: training changes nearly all of them


def fingerprint(*modules: object) -> str:
    """A digest of names, shapes and sampled values of all weights. What is no torch module (heads
    in another runtime) counts with its kind only."""
    digest = hashlib.blake2b(digest_size=16)
    for module in modules:
        if not isinstance(module, nn.Module):
            digest.update(type(module).__name__.encode())
            continue
        for name, value in module.state_dict().items():
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            flat = value.detach().flatten()
            step = max(1, len(flat) // SAMPLED)
            picked = flat[::step].cpu().contiguous().view(torch.uint8)
            digest.update(picked.numpy().tobytes())
    return digest.hexdigest()
