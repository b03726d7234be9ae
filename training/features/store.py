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
from types import TracebackType
from typing import Any, BinaryIO, TextIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from flmm_ros.engine.errors import FlmmError

FORMAT = "flmm_ros.features/1"
ABOUT = "about.json"
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
    """A folder of records. `about` is what all of them were made with."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self.about = dict(about)
        self.skipped: dict[str, str] = {}
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
            unfinished = folder / f"{ABOUT}.{os.getpid()}"
            unfinished.write_text(json.dumps({"format": FORMAT, **about}, indent=1))
            unfinished.replace(path)
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
            about = json.loads(path.read_text())
        except (OSError, ValueError) as error:
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
                "training.features.build with this recipe, it makes what is missing"
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

    def damaged(self) -> Iterator[tuple[str, str]]:
        """Reads everything; for every key the reason it cannot be read, or ""."""
        for key in self.keys():
            try:
                self.read(key)
            except FeatureError as error:
                yield key, str(error)
            else:
                yield key, ""

    def forget(self, keys: set[str]) -> None:
        """Takes records out of the indices; their bytes stay until the folder is removed."""
        for index in sorted(self.folder.glob("part-*.index")):
            lines = [line for line in _lines(index) if line[0] not in keys]
            unfinished = index.with_suffix(".unfinished")
            unfinished.write_text("".join(json.dumps(line) + "\n" for line in lines))
            unfinished.replace(index)
        self._read_indices()

    @property
    def bytes_on_disk(self) -> int:
        """Of all data files."""
        return sum(path.stat().st_size for path in self.folder.glob("part-*.data"))

    def _read_indices(self) -> None:
        self._places.clear()
        self.skipped.clear()
        for index in sorted(self.folder.glob("part-*.index")):
            part = index.with_suffix(".data").name
            for line in _lines(index):
                if len(line) == 2:
                    self.skipped[line[0]] = line[1]
                else:
                    key, offset, length, crc, digest = line
                    self._places[key] = RecordLocation(part, offset, length, crc, digest)

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def add(self, key: str, tensors: Mapping[str, torch.Tensor], digest: str) -> int:
        """Writes one record and returns its bytes."""
        block = to_bytes(dict(tensors))
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
        _, index = self._open()
        index.write(json.dumps([key, reason]) + "\n")
        index.flush()

    def _open(self) -> tuple[BinaryIO, TextIO]:
        if self._data is None or self._index is None:
            number = 0
            while (self.folder / f"part-{self.rank:03}-{number:05}.data").exists():
                number += 1
            path = self.folder / f"part-{self.rank:03}-{number:05}.data"
            self._data = path.open("xb")
            self._index = path.with_suffix(".index").open("x", encoding="utf-8")
        return self._data, self._index

    def _close(self) -> None:
        for file in (self._data, self._index):
            if file is not None:
                os.fsync(file.fileno())
                file.close()
        self._data = self._index = None


def _lines(index: Path) -> list[list[Any]]:
    """Complete lines; the last one may have been cut off with its writer."""
    found = []
    for line in index.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            found.append(json.loads(line))
    return found
