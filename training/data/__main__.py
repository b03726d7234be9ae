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

"""Data sets from the command line.

python -m training.data list                      # what can be read, and where it is published
python -m training.data check data/coco           # is it all there and whole, before training
python -m training.data show data/coco --set png  # a picture of samples with their masks
python -m training.data speed data/coco --set png # how fast samples come from disk
python -m training.data make out/data --scenes 24 # small ones in the same formats, to try
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler
from rich.table import Table

from flmm_ros.cli.command_line import run_app
from flmm_ros.cli.plain_console import plain_console
from training.data.check import check_command
from training.data.registry import published
from training.data.show import show_command
from training.data.speed import speed_command

app = typer.Typer(
    help="Data sets: list, check, show, speed, make. Exit status 1: something is missing.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("check")(check_command)
app.command("show")(show_command)
app.command("speed")(speed_command)


@app.command("list")
def list_command() -> None:
    """List the data sets, their files and where they are published."""
    plain_console().print(_table_of_sets())


@app.command("make")
def make_command(
    root: Annotated[Path, typer.Argument(help="Folder to write to.")],
    scenes: Annotated[int, typer.Option(min=1, help="Photos.")] = 24,
    first_seed: Annotated[int, typer.Option(min=0, help="Of the scenes.")] = 0,
    sets: Annotated[str, typer.Option(help="Names, with commas; by default all.")] = "",
) -> None:
    """Make small data sets in the published formats."""
    from training.data.make import MAKERS, make

    chosen = tuple(sets.split(",")) if sets else tuple(MAKERS)
    make(root, range(first_seed, first_seed + scenes), chosen)
    print(f"{scenes} scenes as {', '.join(chosen)} in {root}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m training.data`: 0 all is well, 1 the data is not, 2 an error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    return run_app(app, argv, "python -m training.data")


def _table_of_sets() -> Table:
    table = Table("data set", "splits", "file or folder", "published at", title="data sets")
    for data_set in published().values():
        name, splits = data_set.name, ", ".join(data_set.splits)
        needs = dict.fromkeys(n for split in data_set.splits for n in data_set.needs(split))
        for need in needs:
            table.add_row(name, splits, need.path, need.page)
            name = splits = ""
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main())
