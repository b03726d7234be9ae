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

"""`flmm localise`: the attention heads of a language model that point, found once from photos.

    flmm localise qwen2_5_vl_7b photos/*.jpg

For each image the phrases stand in a text file of the same name (photo.txt beside photo.jpg, one
phrase a line); where there is none the model describes the image itself and its own phrases are
taken. No masks are needed. A hundred pairs of image and phrase are plenty.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from flmm_ros.engine.config import GrounderConfig, with_overrides
from flmm_ros.engine.config.model_search import locate_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import open_lmm
from flmm_ros.engine.heads.localisation_search import Photo, contact_sheet, search_heads
from flmm_ros.engine.image import read_image


def localise(
    model: Annotated[str, typer.Argument(help="Name, YAML file or directory.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    keep: Annotated[int, typer.Option(min=1, max=10, help="Heads to keep.")] = 3,
    out: Annotated[
        Path | None, typer.Option(help="JSON to write; by default where the model expects it.")
    ] = None,
    set: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="Another setting.")] = [],  # noqa: B006  Typer copies it
) -> None:
    """Find the attention heads of a language model that point; no masks needed.

    Writes the JSON that the model file names (`localisation`), and beside it a picture of what the
    chosen heads look at.
    """
    config = with_overrides(GrounderConfig(model=model), set)
    described = locate_model(config.model, download=config.download)
    lmm = open_lmm(described, config)
    result = search_heads(lmm, _photos(images), keep=keep)
    found = result.localisation
    out = out or Path(described.localisation)
    out.parent.mkdir(parents=True, exist_ok=True)
    found.save(out)
    contact_sheet(lmm, found, result.examples).save(out.with_suffix(".png"))
    for name, votes in zip(found.names(), found.votes, strict=True):
        print(f"{name}: chosen by {votes:.0%} of {result.pairs} pairs")
    if found.warning:
        print(f"warning: {found.warning}", file=sys.stderr)
    print(f"{out}\n{out.with_suffix('.png')}")


def _photos(paths: Sequence[Path]) -> Iterator[Photo]:
    """One image after another, with the phrases of the text file beside it."""
    for path in track(paths, description="images", disable=len(paths) < 2):
        yield Photo(read_image(path), _phrases(path.with_suffix(".txt")))


def _phrases(file: Path) -> tuple[str, ...]:
    """The lines of a text file; none where there is no such file.

    Raises:
        ConfigError: not UTF-8.
    """
    if not file.is_file():
        return ()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: expected text in UTF-8, got: {error}; save it as UTF-8"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())
