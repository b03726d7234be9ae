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

"""Cases on disk while they are measured, so that an evaluation of hours can be cut off and go on.

A folder holds what was asked for (`about.json`) and one file a process, one line a sample. A run
with any number of processes goes on with what all files hold; a line that was cut off is measured
again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.fingerprint import differences
from training.disk import writing
from training.evaluation.cases import Case

log = logging.getLogger(__name__)


class CaseRecords:
    """The cases of one evaluation; `name` is this process's file."""

    def __init__(self, folder: Path, about: Mapping[str, Any], name: str) -> None:
        self._folder = folder
        self._about = dict(about)
        self._path = folder / f"{name}.jsonl"
        self._file: TextIO | None = None

    def open(self) -> list[Case]:
        """Everything measured before; afterwards `add` appends.

        Raises:
            ConfigError: the folder holds the cases of another evaluation.
        """
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        note = self._folder / "about.json"
        if note.exists():
            before = json.loads(note.read_text(encoding="utf-8"))
            differs = differences(before, self._about)
            if differs:
                was = {k: before.get(k) for k in differs}
                now = {k: self._about[k] for k in differs}
                raise ConfigError(
                    f"{self._folder}: expected cases of this evaluation ({now}), got those of "
                    f"another ({was}); give another --out, or delete the folder"
                )
        else:
            unfinished = note.with_suffix(f".{self._path.stem}.tmp")
            with writing(note):
                unfinished.write_text(json.dumps(self._about, indent=1) + "\n", encoding="utf-8")
                unfinished.replace(note)
        cases: dict[tuple[int, int], Case] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            for case in self._read(path):
                cases.setdefault(case.place, case)
        return list(cases.values())

    def add(self, cases: Sequence[Case]) -> None:
        """All cases of one sample."""
        with writing(self._path):
            if self._file is None:
                cut_off = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
                self._file = self._path.open("a", encoding="utf-8")
                if cut_off:
                    self._file.write("\n")
            self._file.write(json.dumps([asdict(case) for case in cases]) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            file, self._file = self._file, None
            with writing(self._path):
                file.close()

    def _read(self, path: Path) -> list[Case]:
        found: list[Case] = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                found += [Case(**case) for case in json.loads(line)]
            except (ValueError, TypeError) as error:
                log.warning("%s line %d: measured again, it was cut off: %s", path, number, error)
        return found
