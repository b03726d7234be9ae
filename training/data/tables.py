"""The console that data commands print on: as wide as the terminal, or wide enough for a file."""

from __future__ import annotations

import sys

from rich.console import Console

FILE_COLUMNS = 140


def console() -> Console:
    """A console on this process's standard output."""
    return Console(width=None if sys.stdout.isatty() else FILE_COLUMNS)
