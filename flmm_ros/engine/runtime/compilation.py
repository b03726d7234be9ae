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

"""torch.compile for the parts that gain from it, and a clear word where it cannot work.

Compiled are the feed-forward blocks of the language model and, of the heads in torch, the mask
decoder, SAM's image encoder and SAM's mask decoder. Attention stays as it is: it keeps the cache
and the recorder, whose sizes change with every command. Modules are compiled in place, so that
weights keep their names; compiling itself happens on first use and takes minutes.
"""

from __future__ import annotations

import logging

import torch
from torch import nn

log = logging.getLogger(__name__)


def compile_parts(text_model: nn.Module, heads: object, *, backend: str = "inductor") -> int:
    """Compiles in place; how many modules that were, 0 (and a warning) where it cannot work.

    text_model: the language model's decoder. heads: compiled where they are a torch module.
    """
    if reason := _why_not(next(text_model.parameters()).device, backend):
        log.warning(
            "compile: expected a working torch.compile (a C++ compiler on a CPU, triton on a GPU), "
            "got: %s; everything runs uncompiled",
            reason,
        )
        return 0
    # A single graph that does not compile runs as it is, and torch says so.
    torch._dynamo.config.suppress_errors = True
    parts = [*_feed_forward(text_model), *_parts_of(heads)]
    for part in parts:
        part.compile(backend=backend, dynamic=True)
    return len(parts)


def _why_not(device: torch.device, backend: str) -> str:
    """What goes wrong with a very small function; empty where nothing does."""
    try:
        torch.compile(lambda x: x * 2 + 1, backend=backend)(torch.ones(8, device=device))
    except Exception as error:  # noqa: BLE001  whatever compilers raise; it is reported
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""


def _feed_forward(text_model: nn.Module) -> list[nn.Module]:
    return [m for name, m in text_model.named_modules() if name.rpartition(".")[2] == "mlp"]


def _parts_of(heads: object) -> list[nn.Module]:
    if not isinstance(heads, nn.Module):
        return []
    wanted = ("mask_decoder", "mask_refiner.image_encoder", "mask_refiner.mask_decoder")
    return [m for name, m in heads.named_modules() if name in wanted]
