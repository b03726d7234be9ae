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

"""How much memory a model needs, before anything is loaded, and whether it is there.

Weights are counted on transformers' own class, made on the `meta` device from the configuration
alone; caches follow from layers, key-value heads and head width. What a forward needs beside them
is an estimate, and said to be one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.vision import conv_encoder  # noqa: F401  registers it with transformers

GIB = 2**30
PRECISIONS = ("float32", "bfloat16", "8bit", "4bit")
# Bytes of a weight of the text model's linear layers. Quantised ones carry their scales along.
_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "8bit": 1.0, "4bit": 0.56}
_KEPT_WHOLE = ("vision", "projector", "connector", "aligner", "embed", "lm_head", "visual")


_SAM = 1_250_000_000  # segment-anything's ViT-L in float32, where its file is still to be brought


@dataclass(frozen=True)
class LmmSize:
    """What memory follows from. linear: weights of the text model's linear layers, which can be
    quantised; whole: all others; key_width: numbers in the keys of one token and layer."""

    linear: int
    whole: int
    layers: int
    key_width: int
    mlp_width: int
    max_tokens: int


@dataclass(frozen=True)
class Need:
    """Bytes: `weights` of the language model, `cache` of the images that are remembered, `heads`
    with SAM, `work` an estimate of what one forward needs."""

    weights: int
    cache: int
    heads: int
    work: int

    @property
    def total(self) -> int:
        """Bytes of all together."""
        return self.weights + self.cache + self.heads + self.work


def size_of(model: ModelConfig) -> LmmSize | None:
    """A language model's size; None where its configuration is not on this machine."""
    try:
        config = AutoConfig.from_pretrained(
            model.lmm, revision=_revision(model), local_files_only=True
        )
    except (OSError, ValueError):
        return None
    linear, whole = _parameters(config)
    text = config.get_text_config()
    heads, width = text.num_attention_heads, text.hidden_size
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    head_width = getattr(text, "head_dim", None) or width // heads
    return LmmSize(
        linear,
        whole,
        text.num_hidden_layers,
        key_heads * head_width,
        int(getattr(text, "intermediate_size", 4 * width)),
        int(text.max_position_embeddings),
    )


def need_of(
    model: ModelConfig, precision: str, *, scenes: int = 2, size: LmmSize | None = None
) -> Need | None:
    """What a model needs at one of PRECISIONS; None where its size is not known.

    scenes: how many images are remembered. size: found by `size_of` where None.
    """
    size = size or size_of(model)
    if size is None:
        return None
    plain = _BYTES["float32" if precision == "float32" else "bfloat16"]
    a_token = 2 * size.layers * size.key_width * plain
    tokens = min(model.max_image_tokens, size.max_tokens)
    files = [Path(p) for p in (model.heads, model.sam) if p and Path(p).is_file()]
    missing = _SAM if model.sam and not Path(model.sam).is_file() else 0
    return Need(
        weights=int(size.linear * _BYTES[precision] + size.whole * plain),
        cache=int(scenes * tokens * a_token),
        # Half-precision files are used in float32.
        heads=sum(2 * file.stat().st_size for file in files) + missing,
        work=int(4 * tokens * size.mlp_width * plain),
    )


def available(device: str) -> int:
    """Bytes that are free on a device: "cpu", "cuda" or "cuda:N"."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    return int(psutil.virtual_memory().available)


def used_by_process() -> int:
    """Bytes of main memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def require_memory(model: ModelConfig, config: GrounderConfig, device: str, dtype: str) -> None:
    """Refuses a model that cannot fit, before anything is read. A model whose configuration is not
    here yet passes: loading it will say what is missing.

    Raises:
        ConfigError: with what is needed, what is there, and what would fit.
    """
    wanted = dtype if config.quantisation == "none" else config.quantisation
    size, there = size_of(model), available(device)
    scenes = max(1, config.scene_cache)  # all that are ever encoded, those of conversations too
    need = need_of(model, wanted, scenes=scenes, size=size)
    if need is None or need.total <= there:
        return
    needs = {p: need_of(model, p, scenes=scenes, size=size) for p in PRECISIONS}
    fitting = [p for p, each in needs.items() if each is not None and each.total <= there]
    advice = f"it would fit in {' or '.join(fitting)}" if fitting else "use a smaller model"
    raise ConfigError(
        f"model {model.name!r}: expected about {need.total / GIB:.1f} GiB of free memory on "
        f"{device} for {wanted}, got {there / GIB:.1f}; {advice} (parameters dtype, quantisation)"
    )


def _parameters(config: PreTrainedConfig) -> tuple[int, int]:
    """Weights of the text model's linear layers, which can be quantised, and all others."""
    with torch.device("meta"):
        module = AutoModelForImageTextToText.from_config(config)
    linear = whole = 0
    for name, parameter in module.named_parameters():
        is_linear = parameter.ndim == 2 and not any(part in name for part in _KEPT_WHOLE)
        linear += parameter.numel() * is_linear
        whole += parameter.numel() * (not is_linear)
    return linear, whole


def _revision(model: ModelConfig) -> str | None:
    return None if Path(model.lmm).is_dir() else model.revision
