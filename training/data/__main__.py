"""Data sets from the command line.

python -m training.data list                      # what can be read, and where it is published
python -m training.data check data/coco           # is it all there and whole, before training
python -m training.data show data/coco --set png  # a picture of samples with their masks
python -m training.data speed data/coco --set png # how fast samples come from disk
python -m training.data make out/data --scenes 24 # small ones in the same formats, to try
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from flmm_ros.engine.errors import FlmmError
from training.data import check, show, speed
from training.data.registry import published


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; exit status 0: all is well, 1: the data is not, 2: wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data", description="Data sets: list, check, show, speed, make."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the data sets, their files and where they are published")
    check.add_arguments(commands.add_parser("check", help="what is missing or corrupt, by file"))
    show.add_arguments(commands.add_parser("show", help="a picture of samples with their masks"))
    speed.add_arguments(commands.add_parser("speed", help="how fast samples come from disk"))
    maker = commands.add_parser("make", help="small data sets in the published formats")
    maker.add_argument("root", type=Path, help="folder to write to")
    maker.add_argument("--scenes", type=int, default=24, help="photos (default: 24)")
    maker.add_argument("--first-seed", type=int, default=0, help="of the scenes")
    maker.add_argument("--sets", default="", help="names, with commas (default: all)")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    try:
        if options.command in RUN:
            return RUN[options.command](options, console)
        console.print(_table_of_sets())
        return 0
    except FlmmError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        return 1


def _make(options: argparse.Namespace, console: Console) -> int:
    from training.data.make import MAKERS, make

    seeds = range(options.first_seed, options.first_seed + options.scenes)
    sets = tuple(options.sets.split(",")) if options.sets else tuple(MAKERS)
    make(options.root, seeds, sets)
    console.print(f"{len(seeds)} scenes as {', '.join(sets)} in {options.root}")
    return 0


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


RUN = {"check": check.run, "show": show.run, "speed": speed.run, "make": _make}

if __name__ == "__main__":
    sys.exit(main())
