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

"""Says what of the data sets is missing or corrupt, file by file, before anything trains on it.

Three steps, each only where the one before found nothing: are the files there and whole to the last
byte; do the annotations fit each other and the photos (by opening every split with its own reader);
are the images whole (their header and their end; with `deep` every pixel is decoded, and their
sizes are those of the annotations).
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.progress import track
from rich.table import Table
from rich.text import Text

from flmm_ros.cli.plain_console import plain_console
from training.data.registry import PublishedDataSet, RequiredFile, find, published
from training.data.rle import DataError
from training.data.sample import BrokenSampleError, DataSet, Skipped

ENDS = {"json": (b"]", b"}"), "pickle": (b".",)}  # the last byte of a whole file
IMAGE_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}  # by first bytes
TAIL_BYTES = 64
SHOWN = 20
COLOURS = {"ok": "green", "missing": "red", "corrupt": "red", "left out": "yellow", "part": "cyan"}


@dataclass(frozen=True)
class DataFinding:
    """The state of one file, or of one sample that cannot be used.

    state: "ok"; "missing" or "corrupt"; "left out" for a sample whose annotation is broken in the
    publication itself (training goes on without it); "part" for fewer images than published.
    """

    data_set: str
    what: str
    state: str
    detail: str = ""
    page: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether something has to be downloaded (again)."""
        return self.state in ("missing", "corrupt")


def check(
    root: Path, names: Sequence[str], *, deep: bool = False, workers: int = 1
) -> list[DataFinding]:
    """Checks data sets below `root`.

    deep: decode every image. workers: processes that look at images.

    Raises:
        DataError: an unknown name.
    """
    found: list[DataFinding] = []
    checked: dict[RequiredFile, DataFinding] = {}
    for name in names:
        data_set = find(name)
        for split in data_set.splits:
            fine = True
            for need in data_set.needs(split):
                if need not in checked:
                    checked[need] = _check_file(root, name, need)
                    found.append(checked[need])
                fine = fine and not checked[need].is_problem
            if fine:
                found += _check_split(root, data_set, split, deep=deep, workers=workers)
    return found


def _check_file(root: Path, name: str, need: RequiredFile) -> DataFinding:
    path = root / need.path
    state = partial(DataFinding, name, need.path, page=need.page)
    if need.kind == "folder":
        if _folder_is_filled(root, need.path):
            return state("ok")
        return state("missing", "no such folder, or nothing in it")
    if not path.is_file():
        return state("missing", "no such file")
    end = _last_bytes(path).rstrip()
    if not end.endswith(ENDS[need.kind]):
        return state("corrupt", f"{path.stat().st_size:,} bytes, cut off: not the end of a file")
    return state("ok", f"{path.stat().st_size / 1e6:,.1f} MB")


def _folder_is_filled(root: Path, folder: str) -> bool:
    """The photos of 2014 are also those of 2017."""
    others = {"train2014": ("train2017", "val2017")}.get(folder, ())
    for name in (folder, *others):
        if (root / name).is_dir() and next((root / name).iterdir(), None) is not None:
            return True
    return False


def _check_split(
    root: Path, data_set: PublishedDataSet, split: str, *, deep: bool, workers: int
) -> list[DataFinding]:
    title, needs = f"split {split}", data_set.needs(split)
    try:
        data = data_set.open(root, split=split)
    except DataError as error:
        need = _need_of(str(error), needs)
        what, page = (need.path, need.page) if need else (title, needs[0].page)
        return [DataFinding(data_set.name, what, "corrupt", str(error), page)]
    found = _left_out(data_set.name, data.skipped, needs)
    progress = f"{data_set.name} {title}"
    sizes = _sizes_of(data) if deep else {}
    for path, reason in _broken_images(_image_files(data), sizes, workers, progress, deep=deep):
        file = str(path.relative_to(root))
        found.append(DataFinding(data_set.name, file, "corrupt", reason, _page_of(file, needs)))
    expected = data_set.images.get(split)
    images = len({data[i].image_path for i in range(len(data))}) if expected else 0
    if expected and images < expected:
        found.append(
            DataFinding(data_set.name, title, "part", f"{images:,} of {expected:,} images")
        )
    elif not any(f.is_problem for f in found):
        found.append(DataFinding(data_set.name, title, "ok", f"{len(data):,} samples"))
    return found


def _left_out(
    name: str, skipped: Sequence[Skipped], needs: Sequence[RequiredFile]
) -> list[DataFinding]:
    """Samples that their reader left out: missing files once each, and what is broken."""
    files = dict.fromkeys(s.missing_file for s in skipped if s.missing_file)
    missing = [DataFinding(name, f, "missing", "no such file", _page_of(f, needs)) for f in files]
    return missing + [
        DataFinding(name, s.key, "left out", s.reason) for s in skipped if not s.missing_file
    ]


def _need_of(text: str, needs: Sequence[RequiredFile]) -> RequiredFile | None:
    """The file or folder that a text speaks of."""
    return next((need for need in needs if need.path in text), None)


def _page_of(text: str, needs: Sequence[RequiredFile]) -> str:
    """Where the file that a text speaks of is published."""
    return (_need_of(text, needs) or needs[0]).page


def _image_files(data: DataSet) -> list[Path]:
    files_of = getattr(data, "files_of", None)
    if files_of is None:
        return list(dict.fromkeys(data[i].image_path for i in range(len(data))))
    return list(dict.fromkeys(path for i in range(len(data)) for path in files_of(i)))


def _sizes_of(data: DataSet) -> dict[Path, tuple[int, int]]:
    """What the annotations say of every photo's size (height, width)."""
    found: dict[Path, tuple[int, int]] = {}
    for index in range(len(data)):
        with contextlib.suppress(BrokenSampleError):  # found by looking at its files
            sample = data[index]
            found[sample.image_path] = sample.size_hw
    return found


def _broken_images(
    paths: Sequence[Path],
    sizes: Mapping[Path, tuple[int, int]],
    workers: int,
    title: str,
    *,
    deep: bool,
) -> list[tuple[Path, str]]:
    look = partial(_look_at, sizes=sizes, deep=deep)
    title = f"{title}: {'decoding' if deep else 'looking at'} {len(paths):,} images"
    quick = len(paths) < 500
    if workers < 2 or quick:
        reasons: Iterable[str] = map(look, paths)
        reasons = list(track(reasons, title, total=len(paths), transient=True, disable=quick))
    else:
        with ProcessPoolExecutor(workers) as pool:
            found = pool.map(look, paths, chunksize=64)
            reasons = list(track(found, title, total=len(paths), transient=True))
    return [(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason]


def _look_at(path: Path, *, sizes: Mapping[Path, tuple[int, int]], deep: bool) -> str:
    """What is wrong with an image file; empty for nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
        if start not in IMAGE_ENDS:
            return f"{path.stat().st_size:,} bytes, neither JPEG nor PNG"
        if IMAGE_ENDS[start] not in _last_bytes(path):
            return f"{path.stat().st_size:,} bytes, cut off: it has no end"
        with Image.open(path) as image:
            if deep:
                image.load()
            hw = (image.height, image.width)
            if hw != sizes.get(path, hw):
                return f"expected {sizes[path]} (height, width) as annotated, got {hw}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _last_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - TAIL_BYTES, 0))
        return file.read()


def table_of(found: Sequence[DataFinding], shown: int = SHOWN) -> Table:
    """Findings as a table; of a set's problems only the first `shown` rows of a kind."""
    table = Table("data set", title="check")
    table.add_column("state", no_wrap=True)
    table.add_column("file or sample", overflow="fold")
    table.add_column("what is wrong, and where it is published", overflow="fold")
    counts: Counter[tuple[str, str]] = Counter()
    for finding in found:
        counts[finding.data_set, finding.state] += 1
        if finding.state != "ok" and counts[finding.data_set, finding.state] > shown:
            continue
        detail = Text(finding.detail)
        if finding.is_problem:
            detail.append(f"\n-> {finding.page}", "bold")
        state = Text(finding.state, COLOURS[finding.state])
        table.add_row(Text(finding.data_set), state, Text(finding.what), detail)
    for (name, kind), count in counts.items():
        if kind != "ok" and count > shown:
            table.add_row(name, kind, f"and {count - shown:,} more", "--list FILE names all")
    return table


def check_command(
    root: Annotated[Path, typer.Argument(help="The folder with annotations/, train2014/, ...")],
    sets: Annotated[
        str, typer.Option(help="Names with commas, or all; by default those of the paper.")
    ] = "",
    is_deep: Annotated[
        bool, typer.Option("--deep", help="Decode every image: hours, not minutes.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that look at images.")] = 4,
    list_file: Annotated[
        Path | None, typer.Option("--list", help="Write all findings there, as JSON.")
    ] = None,
) -> int:
    """Say what is missing or corrupt, by file; exit status 1 where something is."""
    if not root.is_dir():
        raise DataError(f"{root}: expected the folder that holds the data sets")
    names = names_of(sets)
    found = check(root, names, deep=is_deep, workers=workers)
    out = plain_console()
    out.print(table_of(found))
    if list_file:
        list_file.parent.mkdir(parents=True, exist_ok=True)
        list_file.write_text(json.dumps([asdict(f) for f in found], indent=1))
    problems = sum(f.is_problem for f in found)
    left_out = sum(f.state == "left out" for f in found)
    out.print(
        f"{problems} missing or corrupt, {left_out} left out"
        + ("" if problems else ": ready to train")
    )
    return 1 if problems else 0


def names_of(text: str) -> tuple[str, ...]:
    """Names with commas; "all" for all data sets, "" for those of the paper's recipe."""
    if text == "all":
        return tuple(published())
    if not text:
        return tuple(name for name, data_set in published().items() if data_set.recipe)
    return tuple(text.split(","))
