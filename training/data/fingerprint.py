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

"""What a data set's numbers were made from, as texts that can be compared; wherever it lies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from flmm_ros.engine.fingerprint import file_fingerprint
from training.data.coco import FOLDERS
from training.data.registry import RequiredFile, find


def data_fingerprint(
    name: str, root: Path, split: str, *, with_photos: bool = True
) -> dict[str, str]:
    """Of a data set's annotations, byte by byte, and of its photos by name and size.

    with_photos: asks for the size of every photo, which takes a while on a shared file system.

    Raises:
        DataError: the data set is unknown.
    """
    needs = [n for n in find(name).needs(split) if with_photos or n.kind != "folder"]
    return {f"data {need.path}": _required(root, need) for need in needs}


def _required(root: Path, need: RequiredFile) -> str:
    path = root / need.path
    if need.kind != "folder":
        return file_fingerprint(path) if path.is_file() else "missing"
    # the photos of 2014 are also those of 2017, and a reader takes them from either
    folders = FOLDERS if need.path in FOLDERS else (need.path,)
    digest = hashlib.sha256()
    for folder in folders:
        for line in _names_and_sizes(root / folder):
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:16]


def _names_and_sizes(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(f"{folder.name}/{e.name} {e.stat().st_size}" for e in entries if e.is_file())
