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

"""Heads to and from the official key format, strictly: every key is accounted for.

python -m training.heads.official export out/run/heads_best.safetensors flmm.pth
python -m training.heads.official import flmm.pth sam_vit_l.pth heads.safetensors
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flmm_ros.cli.command_line import run_app
from flmm_ros.engine.heads.checkpoint import (
    load_heads,
    load_official_heads,
    save_heads,
    save_official_heads,
)


def exported(ours: Path, official: Path, *, without_selector: bool = False) -> int:
    """One of our head files as an official one; how many tensors it has.

    Raises:
        CheckpointError: not one of ours, or it holds what has no official name.
    """
    return len(save_official_heads(official, load_heads(ours), without_selector=without_selector))


def imported(official: Path, sam: Path, ours: Path) -> int:
    """Official heads and a segment-anything checkpoint as one of our head files; how many tensors.

    Raises:
        CheckpointError: a file is missing or corrupt, or holds keys that fit nothing.
    """
    heads = load_official_heads(official, sam)
    made = {
        "made": "python -m training.heads.official import",
        "heads": official.name,
        "sam": sam.name,
    }
    save_heads(ours, heads, made)
    return len(heads.state_dict())


app = typer.Typer(
    help="Heads to and from the official key format; every key is accounted for.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command("export")
def export_heads(
    ours: Annotated[Path, typer.Argument(help="One of our head files.")],
    official: Annotated[Path, typer.Argument(help="File to write, in the official format.")],
    is_without_selector: Annotated[
        bool, typer.Option("--without-selector", help="Leave the phrase selector out.")
    ] = False,
) -> None:
    """Write our heads in the official format."""
    count = exported(ours, official, without_selector=is_without_selector)
    print(f"{official}: {count} tensors")


@app.command("import")
def import_heads(
    official: Annotated[Path, typer.Argument(help="Official heads.")],
    sam: Annotated[Path, typer.Argument(help="The segment-anything checkpoint they belong to.")],
    ours: Annotated[Path, typer.Argument(help="Head file to write.")],
) -> None:
    """Write official heads as one of our head files."""
    count = imported(official, sam, ours)
    print(f"{ours}: {count} tensors")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m training.heads.official`; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run_app(app, argv, "python -m training.heads.official")


if __name__ == "__main__":
    sys.exit(main())
