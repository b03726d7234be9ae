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

"""Large multimodal models, one small file a family; `load_lmm` picks the family by name."""

from __future__ import annotations

import importlib

from transformers.utils import logging as transformers_logging

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.lmm.base import Lmm
from flmm_ros.engine.lmm.loading import LoadOptions
from flmm_ros.engine.lmm.prefix import Prefix
from flmm_ros.engine.lmm.reading import LmmReading, joined_arguments

# family -> (file in families/, class). Imported when it is asked for: transformers' model classes
# take seconds to import, and one is enough.
FAMILIES: dict[str, tuple[str, str]] = {
    "deepseek_vl": ("deepseek_vl", "DeepseekVL"),
    "deepseek_vl_hybrid": ("deepseek_vl", "DeepseekVLHybrid"),
    "gemma3": ("gemma3", "Gemma3"),
    "idefics3": ("idefics3", "Idefics3"),
    "internvl": ("internvl", "InternVL"),
    "llava": ("llava", "Llava"),
    "llava_next": ("llava_next", "LlavaNext"),
    "llava_onevision": ("llava_onevision", "LlavaOnevision"),
    "qwen2_5_vl": ("qwen_vl", "Qwen25VL"),
    "qwen3_vl": ("qwen_vl", "Qwen3VL"),
    "smolvlm": ("idefics3", "SmolVLM"),
}

__all__ = [
    "FAMILIES",
    "Lmm",
    "LmmReading",
    "LoadOptions",
    "Prefix",
    "adapter_of",
    "joined_arguments",
    "load_lmm",
]


def adapter_of(family: str) -> type[Lmm]:
    """The adapter class of a family.

    Raises:
        ConfigError: not one of FAMILIES.
    """
    if family not in FAMILIES:
        raise ConfigError(
            f"expected a supported LMM family, got {family!r}; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    file, name = FAMILIES[family]
    adapter: type[Lmm] = getattr(importlib.import_module(f"{__name__}.families.{file}"), name)
    return adapter


def load_lmm(config: ModelConfig, options: LoadOptions) -> Lmm:
    """Loads a frozen language model of the family that the model file names.

    Raises:
        ConfigError: a family that is not supported.
        CheckpointError: weights or configuration missing or damaged.
    """
    try:
        adapter = adapter_of(config.family)
    except ConfigError as error:
        raise ConfigError(f"model {config.name!r}: {error}") from error
    transformers_logging.disable_progress_bar()  # the node's log is no terminal
    return adapter.load(config, options)
