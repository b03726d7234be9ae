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

"""Reads files of weights: .pth of the official code and of segment-anything, and safetensors.

Training scripts wrap what they save, and put a name in front of every key; that is taken off. Only
tensors are read: a pickled object could run code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from flmm_ros.engine.errors import CheckpointError

Weights = dict[str, torch.Tensor]

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_ENCODER = "image_encoder."
_FIRST_LAYER = "patch_embed.proj.weight"  # in every SAM image encoder


def read_sam(path: Path) -> Weights:
    """The tensors of a segment-anything checkpoint under their published names, in float32.

    A name in front of all keys ("module.", "sam.") is taken off; an image encoder that was saved
    alone gets its own ("image_encoder.").

    Raises:
        CheckpointError: as for `read_pth`.
    """
    weights = read_pth(path)
    first = next((key for key in weights if key.endswith(_FIRST_LAYER)), None)
    if first is None:
        return weights
    before = first.removesuffix(_FIRST_LAYER)
    if not before.endswith(_ENCODER):
        return (
            {f"{_ENCODER}{key}": value for key, value in weights.items()} if not before else weights
        )
    before = before.removesuffix(_ENCODER)
    return {key.removeprefix(before): value for key, value in weights.items()}


def read_pth(path: Path) -> Weights:
    """A dict of tensors, bare or wrapped as training scripts do it, in float32.

    Raises:
        CheckpointError: missing, truncated or corrupt, or more than tensors.
    """
    require_file(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise _unreadable(path, error) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path}: expected a dict of tensors, bare or under {' or '.join(map(repr, _WRAPPERS))}"
            f", got {type(content).__name__}"
        )
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{path}: expected a dict of name -> tensor, got {type(value).__name__} at {key!r}"
            )
    return {key: value.float() for key, value in content.items()}


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        CheckpointError: missing, truncated or corrupt.
    """
    require_file(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: expected a safetensors file, got {_first_line(error)}; the file may be "
            "truncated or corrupt, fetch it again"
        ) from error


def require_file(path: Path) -> None:
    """Raises CheckpointError where there is no such file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a weight file, got nothing there; check the path")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    """More than tensors, or damaged: two things to do."""
    if "global" in str(error).lower():  # torch's word for the name of a Python object
        return CheckpointError(
            f"{path}: expected a PyTorch checkpoint of tensors only, got Python objects beside "
            "them (a whole module, numpy numbers, arguments), which are not loaded because they "
            "can run code; save the tensors alone: torch.save(model.state_dict(), PATH)"
        )
    return CheckpointError(
        f"{path}: expected a PyTorch checkpoint of plain tensors, got {_first_line(error)}; the "
        "file may be truncated or corrupt, fetch it again"
    )
