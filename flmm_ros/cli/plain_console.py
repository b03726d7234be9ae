"""A console that prints texts as they are: names of users' files hold brackets and colons.

Rich would read `[n, 2]` as markup and `refcoco:train:x` as an emoji.
"""

from __future__ import annotations

import sys

from rich.console import Console

FILE_COLUMNS = 140


def plain_console(*, stderr: bool = False) -> Console:
    """On this process's standard output or error; no markup, no emoji, no highlighting. As wide as
    the terminal, or wide enough for a file."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else FILE_COLUMNS
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
