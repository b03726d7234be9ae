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

"""Brings a frozen language model in from a directory or a hub: weights, tokenizer, settings.

Weights load strictly: a parameter without weights, or weights without a parameter, is an error.
Nothing is fetched from a hub unless that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel
from transformers.utils import cached_file

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import CheckpointError, ConfigError
from flmm_ros.engine.lmm.tokens import PromptTokens

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What transformers raises for files that are missing, damaged, or hold values it never expected.
LOAD_ERRORS = (
    OSError,
    ImportError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)
# Modules that are never quantised, under the names that families give them.
KEPT_WHOLE = (
    "aligner",
    "connector",
    "high_res_vision_model",
    "lm_head",
    "multi_modal_projector",
    "vision_model",
    "vision_tower",
    "visual",
)
PROCESSOR_FILE = "preprocessor_config.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


@dataclass(frozen=True)
class LoadOptions:
    """How a language model is loaded; the values are GrounderConfig's, `auto` resolved."""

    device: str = "cpu"
    dtype: str = "float32"
    quantisation: str = "none"
    download: bool = False


def source_arguments(config: ModelConfig, options: LoadOptions) -> dict[str, Any]:
    """Keyword arguments that say where transformers may look.

    Raises:
        CheckpointError: a local directory without a model in it.
    """
    directory = Path(config.lmm)
    if not directory.is_dir():
        return {"revision": config.revision, "local_files_only": not options.download}
    if not (directory / "config.json").is_file():
        raise load_failure(config, FileNotFoundError("no config.json there"))
    return {}


def load_weights(
    model_class: type[PreTrainedModel], config: ModelConfig, options: LoadOptions
) -> PreTrainedModel:
    """The model of `config.lmm`, on its device.

    Raises:
        CheckpointError: weights or configuration missing, damaged, or not fitting each other.
    """
    where = source_arguments(config, options)
    try:
        model, report = model_class.from_pretrained(
            config.lmm,
            dtype=DTYPES[options.dtype],
            output_loading_info=True,
            **_quantised(config, options),
            **where,
        )
    except LOAD_ERRORS as error:
        raise load_failure(config, error) from error
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise CheckpointError(
            f"model {config.name!r}: expected weights for every parameter and no others in "
            f"{config.lmm}, got {len(wrong)} that do not fit, first {sorted(map(str, wrong))[:3]}"
        )
    # A quantised model is already where it belongs and must not be moved.
    return model if options.quantisation != "none" else model.to(options.device)


def _quantised(config: ModelConfig, options: LoadOptions) -> dict[str, Any]:
    """Arguments for 8 or 4 bits. Only the text model's linear layers: image encoders and projectors
    are small and sensitive, and the vocabulary head decides between words.

    Raises:
        ConfigError: bitsandbytes is not installed.
    """
    if options.quantisation == "none":
        return {}
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"model {config.name!r}: expected the package bitsandbytes for quantisation "
            f"{options.quantisation!r}, got none; pip install flmm_ros[quantised]"
        )
    bits = {"8bit": {"load_in_8bit": True}, "4bit": {"load_in_4bit": True}}[options.quantisation]
    settings = BitsAndBytesConfig(
        **bits,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=DTYPES[options.dtype],
        # transformers matches from the start of a module's whole name.
        llm_int8_skip_modules=[rf"(?:.*\.)?{name}" for name in KEPT_WHOLE],
    )
    return {"quantization_config": settings, "device_map": options.device}


def load_tokens(
    config: ModelConfig, image_token_id: int, options: LoadOptions
) -> PromptTokens | None:
    """The tokenizer, or None where a local model has no tokenizer files: ids still work then.

    Raises:
        CheckpointError: tokenizer files that cannot be read.
        ConfigError: a template without the model's image token.
    """
    directory = Path(config.lmm)
    if directory.is_dir() and not any((directory / name).exists() for name in _TOKENIZER_FILES):
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.lmm, **source_arguments(config, options))
    except LOAD_ERRORS as error:
        raise load_failure(config, error) from error
    tokens = PromptTokens(tokenizer, config.template, image_token_id, config.next_turn)
    tokens.prefix()  # a template that does not fit is refused here, not at the first command
    return tokens


def load_settings(config: ModelConfig, options: LoadOptions, file: str) -> Mapping[str, Any]:
    """A JSON file that lies beside the weights, such as preprocessor_config.json.

    Raises:
        CheckpointError: missing or not JSON.
    """
    try:
        path = cached_file(config.lmm, file, **source_arguments(config, options))
        if path is None:
            raise FileNotFoundError(f"no {file} there")
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except LOAD_ERRORS as error:
        raise load_failure(config, error) from error
    return content


def load_image_processor(config: ModelConfig, options: LoadOptions) -> Any:
    """The image processor that lies beside the weights, as numpy and Pillow compute it: the same
    numbers whether or not torchvision is there.

    Raises:
        CheckpointError: missing or unknown.
    """
    try:
        return AutoImageProcessor.from_pretrained(
            config.lmm, backend="pil", **source_arguments(config, options)
        )
    except LOAD_ERRORS as error:
        raise processor_failure(config, first_line(error)) from error


def processor_failure(config: ModelConfig, got: str) -> CheckpointError:
    """A preprocessor_config.json (or processor_config.json) that the family cannot use."""
    return CheckpointError(
        f"model {config.name!r}: expected {config.lmm}/{PROCESSOR_FILE} as LMM family "
        f"{config.family!r} is published with, got {got}; copy the file from the original model"
    )


def load_failure(config: ModelConfig, error: Exception) -> CheckpointError:
    """One wording for everything that can go wrong while a model is read."""
    return CheckpointError(
        f"model {config.name!r}: expected a complete Hugging Face model in {config.lmm}, got: "
        f"{first_line(error)}"
    )


def first_line(error: Exception) -> str:
    """What went wrong, without the explanations that follow."""
    return (str(error).splitlines() or [type(error).__name__])[0]
