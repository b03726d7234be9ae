"""What a number was made with: the engine's fingerprints, and one of a data set's files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from flmm_ros.engine.fingerprint import (
    differences,
    file_fingerprint,
    model_fingerprint,
    settings_fingerprint,
    tensors_fingerprint,
    weights_fingerprint,
)
from training.data.coco import FOLDERS
from training.data.registry import RequiredFile, find

__all__ = [
    "data_fingerprint",
    "differences",
    "file_fingerprint",
    "model_fingerprint",
    "settings_fingerprint",
    "tensors_fingerprint",
    "weights_fingerprint",
]


def data_fingerprint(name: str, root: Path, split: str) -> dict[str, str]:
    """Of a data set's annotations, byte by byte, and of its photos by name and size; wherever they
    lie.

    Raises:
        DataError: the data set is unknown.
    """
    return {f"data {need.path}": _required(root, need) for need in find(name).needs(split)}


def _required(root: Path, need: RequiredFile) -> str:
    path = root / need.path
    if need.kind != "folder":
        return file_fingerprint(path) if path.is_file() else "missing"
    # the photos of 2014 are also those of 2017, and a reader takes them from either
    folders = FOLDERS if need.path in FOLDERS else (need.path,)
    return _joint(line for folder in folders for line in _names_and_sizes(root / folder))


def _names_and_sizes(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(f"{folder.name}/{e.name} {e.stat().st_size}" for e in entries if e.is_file())


def _joint(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode() + b"\n")
    return found.hexdigest()[:16]
