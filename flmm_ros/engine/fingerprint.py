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

"""What a number was made with, as texts that can be compared: model file, settings, weights.

Measured cases, feature caches, ablations, replays and checkpoints are used again only where these
are equal. All values are plain texts, so that they can be kept as JSON, and `differences` names the
keys that differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.config.schema import to_mapping

PROBED_VALUES = 64  # of each tensor, spread over it: training changes nearly all of them
WHOLE_BYTES = 64 * 1024**2  # larger files are sampled
BLOCK_BYTES = 1024**2
_BLOCKS = 64
_LENGTH = 16  # characters of a digest

_PATHS = ("name", "lmm", "revision", "heads", "sam", "localisation")  # their content counts
# Settings that change no number, or that another entry tells.
_WITHOUT_EFFECT = (
    "model",
    "device",
    "download",
    "refiner_cache",
    "scene_cache",
    "threads",
    "max_command_chars",
    "max_image_megapixels",
)
_TEXT_FILES = (".json", ".jinja", ".model", ".txt")  # tokenizer, processor, generation


def model_fingerprint(model: ModelConfig, *, with_weights: bool = False) -> dict[str, str]:
    """Of a model file: every value that changes a number, and the files it names, wherever they
    lie.

    with_weights: also the language model's weights, as files; where the model is loaded,
        `weights_fingerprint` sees the same.
    """
    found = {
        f"model.{key}": str(value) for key, value in to_mapping(model).items() if key not in _PATHS
    }
    lmm = Path(model.lmm)
    if lmm.is_dir():
        files = [p for p in sorted(lmm.rglob("*")) if p.is_file()]
        if not with_weights:
            files = [p for p in files if p.suffix in _TEXT_FILES]
        found["lmm files"] = _joined(f"{p.relative_to(lmm)} {file_fingerprint(p)}" for p in files)
    else:
        found["lmm files"] = f"{model.lmm}@{model.revision}"
    for key in ("heads", "sam", "localisation"):
        value = getattr(model, key)
        if value and Path(value).is_file():
            found[f"{key} file"] = file_fingerprint(Path(value))
    return found


def settings_fingerprint(config: GrounderConfig, device: torch.device) -> dict[str, str]:
    """Of how a model was loaded and is asked, and by which versions."""
    found = {
        f"settings.{key}": str(value)
        for key, value in to_mapping(config).items()
        if key not in _WITHOUT_EFFECT
    }
    found["device"] = device.type
    return found | {"torch": torch.__version__, "transformers": transformers.__version__}


def weights_fingerprint(*modules: object) -> str:
    """Of loaded weights: names, shapes and some values of each; 7B take seconds. What is no torch
    module (heads in another runtime) counts with its kind only: its files count as well."""
    digest = hashlib.sha256()
    for module in modules:
        if isinstance(module, torch.nn.Module):
            _add_tensors(digest, module.state_dict())
        else:
            digest.update(type(module).__name__.encode())
    return digest.hexdigest()[:_LENGTH]


def tensors_fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """The same of named tensors."""
    digest = hashlib.sha256()
    _add_tensors(digest, tensors)
    return digest.hexdigest()[:_LENGTH]


def file_fingerprint(path: Path) -> str:
    """Of a file's size and content; of a large one, of blocks spread over it, first and last
    included."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            digest.update(file.read())
        else:
            for n in range(_BLOCKS):
                file.seek(n * (size - BLOCK_BYTES) // (_BLOCKS - 1))
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()[:_LENGTH]


def joint_fingerprint(parts: Mapping[str, Any]) -> str:
    """One text for many entries, in whatever order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys of `now` that have another value in `before`, or none."""
    return sorted(key for key in now if key not in before or before[key] != now[key])


@torch.no_grad()
def _add_tensors(digest: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, value in tensors.items():
        flat = value.detach().flatten()
        probes = flat[:: max(1, len(flat) // PROBED_VALUES)][:PROBED_VALUES].cpu()
        if probes.is_floating_point():
            probes = probes.double()
        digest.update(f"{name} {tuple(value.shape)} {probes.tolist()}".encode())


def _joined(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:_LENGTH]
