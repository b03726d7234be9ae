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

"""Which files a recording consists of, in order: by metadata.yaml where it can be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from flmm_ros.replay.recording.storage_file import STORAGE_SUFFIXES, BagError, ros1_advice

METADATA = "metadata.yaml"
_NOT_FINISHED = f"{METADATA} is missing: the recording was not finished"
_SPLIT = re.compile(r"^(?P<name>.*?)_?(?P<number>\d+)$")


@dataclass(frozen=True)
class BagFiles:
    """paths: in the order of recording. messages: how many metadata.yaml counts, where it does."""

    paths: tuple[Path, ...]
    damage: str = ""
    notes: tuple[str, ...] = ()
    messages: int | None = None


def files_of(path: Path) -> BagFiles:
    """The storage files of a folder, or the one that a path is.

    Raises:
        BagError: nothing there, nothing that is a recording, or several recordings.
    """
    if not path.exists():
        raise BagError(f"{path}: expected a rosbag2 folder, .db3 or .mcap file, nothing there")
    if path.suffix == ".bag":
        raise BagError(f"{path}: {ros1_advice(path)}")
    if path.is_file():
        return BagFiles((path,))
    there = storage_files_in(path)
    if not there:
        raise BagError(f"{path}: {_nothing_in(path)}")
    metadata = path / METADATA
    if not metadata.is_file():
        _refuse_several(path, there)
        return BagFiles(tuple(there), damage=_NOT_FINISHED)
    try:
        content: Any = yaml.safe_load(metadata.read_text(encoding="utf-8"))
        about = content["rosbag2_bagfile_information"]
        listed = [PurePosixPath(str(name)).name for name in about["relative_file_paths"]]
        count = about.get("message_count")
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        note = f"{METADATA} cannot be used ({why}): all files of the folder were read, by number"
        return BagFiles(tuple(there), notes=(note,))
    return _listed(there, listed, count if type(count) is int else None)


def storage_files_in(folder: Path) -> list[Path]:
    """The storage files of a folder by number: split_2 before split_10. Hidden ones, which other
    systems leave behind, are none."""
    found = [
        p
        for p in folder.iterdir()
        if p.suffix in STORAGE_SUFFIXES and p.is_file() and not p.name.startswith(".")
    ]
    return sorted(found, key=lambda p: [_natural(part) for part in re.split(r"(\d+)", p.name)])


def _natural(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() else (-1, part)


def _listed(there: Sequence[Path], listed: Sequence[str], count: int | None) -> BagFiles:
    """What metadata.yaml lists, as far as it is there."""
    by_name = {path.name: path for path in there}
    missing = [name for name in listed if name not in by_name]
    others = [path.name for path in there if path.name not in listed]
    if not missing:
        notes = [f"{name} does not belong to it by {METADATA}: not read" for name in others]
        return BagFiles(tuple(by_name[name] for name in listed), notes=tuple(notes), messages=count)
    if others:  # files were renamed
        note = f"{METADATA} names {', '.join(missing)}, read was {', '.join(others)}"
        return BagFiles(tuple(there), notes=(note,), messages=count)
    first = listed.index(missing[0])
    paths = tuple(by_name[name] for name in listed[:first])
    words = f"{', '.join(missing)} is missing, which {METADATA} lists"
    if len(missing) + first < len(listed):
        words += "; what was recorded after it is not read"
    if not paths:
        raise BagError(f"{there[0].parent}: expected its first file {missing[0]}, got {words}")
    return BagFiles(paths, damage=words)


def _refuse_several(folder: Path, there: Sequence[Path]) -> None:
    """Without metadata.yaml, several files are one recording only where they are numbered parts."""
    names = {_split_name(path) for path in there}
    if len(there) > 1 and len(names) > 1:
        raise BagError(
            f"{folder}: expected one recording, got the files of several without a {METADATA}: "
            f"{', '.join(path.name for path in there)}; give one of the files, or put each into "
            "a folder of its own"
        )


def _split_name(path: Path) -> str:
    name = path.name.partition(".")[0]
    found = _SPLIT.match(name)
    return found["name"] if found else name


def _nothing_in(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    if old := next((folder / name for name in names if name.endswith(".bag")), None):
        return ros1_advice(old)
    got = ", ".join(names[:5]) or "nothing"
    return f"expected a rosbag2 folder with .db3 or .mcap files, got {got}"
