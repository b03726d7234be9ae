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

"""Records on disk by key: written once by many processes, read at random, each with a checksum.

A writer appends records to a data file of its own, and one line to an index only after the record
is there. So a store can be killed at any time: what the index names is complete. Each record is a
safetensors block; reading one compares its CRC-32.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from flmm_ros.engine.errors import FlmmError
from training.disk import writing

FORMAT = "flmm_ros.features/2"
ABOUT = "about.json"
PARTS = "parts.json"  # how large each part was when the cache was last finished
NAMED = 3  # damages that an error names
PART_BYTES = 4 * 1024**3  # a writer begins a new file then


class FeatureError(FlmmError):
    """A feature cache that is missing, damaged, incomplete, or made of something else."""

    code = "FEATURES"


@dataclass(frozen=True)
class RecordLocation:
    """Where a record lies: its data file, the range of bytes, and their CRC-32. digest: of what it
    was made from."""

    part: str
    offset: int
    length: int
    crc: int
    digest: str


class FeatureStore:
    """A folder of records. `about` is what all of them were made with.

    lost: what the indices name and the data files do not hold, and files that are not there or
    cannot be read, each with the reason. Such records count as not made.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self.about = dict(about)
        self.skipped: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self._places: dict[str, RecordLocation] = {}
        self._files: dict[tuple[int, str], int] = {}
        self._read_indices()

    @classmethod
    def create(cls, folder: Path | str, about: Mapping[str, Any]) -> FeatureStore:
        """A new store, or one that was begun with the same `about`.

        Raises:
            FeatureError: the folder holds records made with something else.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ABOUT
        if not path.exists():
            _replace(path, json.dumps({"format": FORMAT, **about}, indent=1))
        store = cls.open(folder)
        store.require(about)
        return store

    @classmethod
    def open(cls, folder: Path | str) -> FeatureStore:
        """A store that is there.

        Raises:
            FeatureError: none is, or of another format.
        """
        path = Path(folder) / ABOUT
        try:
            about = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise FeatureError(
                f"{path}: expected a feature cache, got {type(error).__name__}; make one with "
                "python -m training.features"
            ) from error
        found = about.pop("format", None)
        if found != FORMAT:
            raise FeatureError(f"{path}: expected format {FORMAT!r}, got {found!r}; make it anew")
        return cls(Path(folder), about)

    def require(self, about: Mapping[str, Any]) -> None:
        """Raises FeatureError where the store was made with something else."""
        for name, wanted in about.items():
            if self.about.get(name) != wanted:
                raise FeatureError(
                    f"{self.folder}: expected features made with {name} {wanted!r}, got "
                    f"{self.about.get(name)!r}; choose another folder for 'cache' or remove this"
                )

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def keys(self) -> list[str]:
        """Of every complete record."""
        return list(self._places)

    def digest(self, key: str) -> str:
        """Of what a record was made from."""
        return self._places[key].digest

    def read(self, key: str) -> dict[str, torch.Tensor]:
        """One record.

        Raises:
            FeatureError: not there, or its bytes are not those that were written.
        """
        place = self._places.get(key)
        if place is None:
            raise FeatureError(
                f"{self.folder}: expected a record of {key!r}, got none; run python -m "
                "training.features with this recipe, it makes what is missing"
            )
        block = os.pread(self._file(place.part), place.length, place.offset)
        if len(block) != place.length or zlib.crc32(block) != place.crc:
            raise FeatureError(
                f"{self.folder / place.part}: expected the record of {key!r} with checksum "
                f"{place.crc:08x}, got other bytes; run python -m training.features with --repair"
            )
        try:
            return from_bytes(block)
        except SafetensorError as error:
            raise FeatureError(f"{self.folder / place.part}: {key!r}: {error}") from error

    def require_whole(self) -> None:
        """Raises FeatureError where something that was made is lost."""
        if self.lost:
            first = "; ".join(f"{name}: {why}" for name, why in list(self.lost.items())[:NAMED])
            raise FeatureError(
                f"{self.folder}: expected whole files, got {len(self.lost)} damages ({first}); run "
                "python -m training.features with this recipe, it makes again what is lost"
            )

    def damaged(self) -> Iterator[tuple[str, str]]:
        """Reads everything; for every key the reason it cannot be read, or "". What is lost comes
        first."""
        yield from self.lost.items()
        for key in self.keys():
            try:
                self.read(key)
            except FeatureError as error:
                yield key, str(error)
            else:
                yield key, ""

    def forget(self, keys: set[str]) -> None:
        """Takes records out of the indices, with all lines that cannot be read; their bytes stay
        until the folder is removed. A data file without an index is removed: it is unreachable."""
        for index in sorted(self.folder.glob("part-*.index")):
            lines = [line for line in _lines(index)[0] if line[0] not in keys]
            _replace(index, "".join(json.dumps(line) + "\n" for line in lines))
        for data in self.folder.glob("part-*.data"):
            if not data.with_suffix(".index").is_file():
                data.unlink()
        (self.folder / PARTS).unlink(missing_ok=True)
        self._read_indices()

    def finish(self) -> None:
        """Notes which parts there are now, so that one that goes missing later is noticed."""
        sizes = {path.name: path.stat().st_size for path in self._parts()}
        _replace(self.folder / PARTS, json.dumps(sizes, indent=1))

    def _parts(self) -> list[Path]:
        """Data files and indices."""
        return sorted([*self.folder.glob("part-*.data"), *self.folder.glob("part-*.index")])

    @property
    def bytes_on_disk(self) -> int:
        """Of all data files."""
        return sum(path.stat().st_size for path in self.folder.glob("part-*.data"))

    def _read_indices(self) -> None:
        self._places.clear()
        self.skipped.clear()
        self.lost.clear()
        found: dict[str, str] = {}
        for index in sorted(self.folder.glob("part-*.index")):
            data = index.with_suffix(".data")
            size = data.stat().st_size if data.is_file() else 0
            lines, garbled = _lines(index)
            if garbled:
                found[index.name] = f"expected lines of JSON, got {garbled} that are none"
            for line in lines:
                if len(line) == 2:
                    self.skipped[line[0]] = line[1]
                    continue
                key, offset, length, crc, digest = line
                if offset + length <= size:
                    self._places[key] = RecordLocation(data.name, offset, length, crc, digest)
                elif key not in self._places:
                    end = offset + length
                    found[key] = f"{data.name}: expected {end} bytes or more, got {size}"
        for path in self.folder.glob("part-*.data"):
            if path.stat().st_size and not path.with_suffix(".index").is_file():
                found[path.name] = "expected an index beside it, got none"
        for name in self._finished_parts():
            if not (self.folder / name).is_file():
                found[name] = "expected this file, got none: it was here when the cache was made"
        # what was made again since is no longer lost
        self.lost = {name: why for name, why in found.items() if name not in self._places}

    def _finished_parts(self) -> list[str]:
        try:
            return list(json.loads((self.folder / PARTS).read_text()))
        except (OSError, ValueError, TypeError):
            return []

    def _file(self, part: str) -> int:
        """A descriptor of this process's own: a forked one would share nothing but trouble."""
        own = (os.getpid(), part)
        if own not in self._files:
            self._files[own] = os.open(self.folder / part, os.O_RDONLY)
        return self._files[own]


class FeatureWriter:
    """Appends to a store, in files of its own. Use with `with`."""

    def __init__(self, store: FeatureStore, rank: int) -> None:
        self.folder, self.rank = store.folder, rank
        self._data: BinaryIO | None = None
        self._index: TextIO | None = None

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, key: str, tensors: Mapping[str, torch.Tensor], digest: str) -> int:
        """Writes one record and returns its bytes."""
        block = to_bytes(dict(tensors))
        with writing(self.folder, len(block)):
            data, index = self._open()
            offset = data.tell()
            data.write(block)
            data.flush()
            line = [key, offset, len(block), zlib.crc32(block), digest]
            index.write(json.dumps(line) + "\n")
            index.flush()
            if data.tell() >= PART_BYTES:
                self._close()
        return len(block)

    def skip(self, key: str, reason: str) -> None:
        """Notes that there will be no record of a sample, and why."""
        with writing(self.folder):
            _, index = self._open()
            index.write(json.dumps([key, reason]) + "\n")
            index.flush()

    def _open(self) -> tuple[BinaryIO, TextIO]:
        if self._data is None or self._index is None:
            number = 0
            while list(self.folder.glob(f"part-{self.rank:03}-{number:05}.*")):
                number += 1
            path = self.folder / f"part-{self.rank:03}-{number:05}.data"
            self._data = path.open("xb")
            self._index = path.with_suffix(".index").open("x", encoding="utf-8")
        return self._data, self._index

    def _close(self) -> None:
        files, self._data, self._index = (self._data, self._index), None, None
        with writing(self.folder):
            for file in files:
                if file is not None:
                    with file:
                        file.flush()
                        os.fsync(file.fileno())


def _replace(path: Path, text: str) -> None:
    """Writes a small file whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with writing(path):
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)


def _lines(index: Path) -> tuple[list[list[Any]], int]:
    """Complete lines, and how many are garbled. The last one may have been cut off with its
    writer: it counts as neither."""
    found, garbled = [], 0
    for line in index.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            continue
        try:
            fields = json.loads(line)
        except ValueError:
            garbled += 1
            continue
        if _is_record(fields):
            found.append(fields)
        else:
            garbled += 1
    return found, garbled


def _is_record(fields: Any) -> bool:
    """Whether it is [key, reason] of a skipped sample, or [key, offset, length, crc, digest]."""
    if not isinstance(fields, list) or len(fields) not in (2, 5) or not isinstance(fields[0], str):
        return False
    numbers = fields[1:4] if len(fields) == 5 else []
    return isinstance(fields[-1], str) and all(type(n) is int and n >= 0 for n in numbers)
