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

"""Keeps exported graphs and TensorRT engines, and trusts none that it did not make for these heads
on this machine.

A folder holds what was made from one set of facts: weights, shapes, versions, precision, device.
Its name is the hash of the facts, its manifest repeats them and lists every file with its hash.
Whatever does not agree is made anew. Deleting the whole cache is always safe.
"""

from __future__ import annotations

import ctypes.util
import dataclasses
import fcntl
import hashlib
import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.heads.trained import Heads

FORMAT = "flmm_ros.onnx/1"
DEFAULT_ROOT = "~/.cache/flmm_ros"
MANIFEST, UNFINISHED = "manifest.json", "manifest.json.part"
LOCK = ".lock"  # beside the folders: they are deleted and made anew
ENGINES = "engines"  # TensorRT's own cache, inside the folder
_PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu")

Facts = Mapping[str, str]


def facts_of(heads: Heads, *, device: str, precision: str, providers: tuple[str, ...]) -> Facts:
    """Everything that exported files depend on.

    device: a torch device. A TensorRT engine fits one kind of GPU only.
    """
    return {
        "format": FORMAT,
        "weights": weights_hash(heads),
        "lmm": json.dumps(dataclasses.asdict(heads.lmm)),
        "heads": json.dumps(dataclasses.asdict(heads.config)),
        "precision": precision,
        "providers": " ".join(providers),
        "device": _device_name(device),
        "tensorrt": _tensorrt_version() if "TensorrtExecutionProvider" in providers else "none",
        **{package: _version(package) for package in _PACKAGES},
    }


def weights_hash(heads: Heads) -> str:
    """Equal for equal weights under equal names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(heads.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def folder_for(root: str | Path, facts: Facts) -> Path:
    """Where files made from these facts are kept; `root` is created, the folder is not.

    Raises:
        ConfigError: `root` cannot be written.
    """
    path = Path(root or DEFAULT_ROOT).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / LOCK).touch()
    except OSError as error:
        raise ConfigError(
            f"refiner_cache: expected a folder that can be written, got {path}: {error.strerror}"
        ) from error
    return path / hashlib.sha256(json.dumps(dict(sorted(facts.items()))).encode()).hexdigest()[:16]


def _write_manifest(folder: Path, facts: Facts) -> None:
    """Vouches for the files of a folder: last of all, so that a broken build never looks whole."""
    content = {"facts": dict(facts), "files": _file_hashes(folder)}
    unfinished = folder / UNFINISHED
    unfinished.write_text(json.dumps(content, indent=1))
    unfinished.replace(folder / MANIFEST)


def distrust(folder: Path, facts: Facts) -> str | None:
    """Why the files of a folder may not be used, in words; None where they may."""
    try:
        content = json.loads((folder / MANIFEST).read_text())
        recorded, files = content["facts"], content["files"]
    except FileNotFoundError:
        return "nothing was made yet" if not folder.exists() else "it was not finished"
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest is damaged"
    for key in {*facts, *recorded}:
        if recorded.get(key) != facts.get(key):
            return f"{key} was {recorded.get(key)!r} and is {facts.get(key)!r}"
    found = _file_hashes(folder)
    changed = sorted(name for name in {*files, *found} if files.get(name) != found.get(name))
    return f"{', '.join(changed)} changed since" if changed else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time makes folders of a cache; others wait here."""
    with (folder.parent / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back, and so does the death of the process


@contextmanager
def made_anew(folder: Path, facts: Facts) -> Iterator[Path]:
    """The folder, empty, to be filled; vouched for at the end, gone where filling it failed."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / ENGINES).mkdir(parents=True)
    try:
        yield folder
        _write_manifest(folder, facts)
    except BaseException:
        shutil.rmtree(folder)
        raise


def _file_hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    manifest = (folder / MANIFEST, folder / UNFINISHED)
    return {str(p.relative_to(folder)): _file_hash(p) for p in files if p not in manifest}


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _tensorrt_version() -> str:
    """As the library itself says; a robot's own TensorRT has no Python package to ask."""
    name = ctypes.util.find_library("nvinfer")
    return str(ctypes.CDLL(name).getInferLibVersion()) if name else _version("tensorrt")


def _device_name(device: str) -> str:
    """Name and compute capability of a GPU; the machine's architecture for a CPU."""
    if not device.startswith("cuda"):
        return platform.machine()
    properties = torch.cuda.get_device_properties(torch.device(device))
    return f"{properties.name}, compute capability {properties.major}.{properties.minor}"
