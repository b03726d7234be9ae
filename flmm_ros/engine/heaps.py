"""The C library's heaps, on Linux: what a process that runs for days has to tell them.

Does not know about: models, tensors.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_ARENA_MAX = -8  # of mallopt, malloc.h


def give_back() -> None:
    """Returns memory that was freed to the machine. The C library of Linux keeps it otherwise, in
    pieces, and a model that is loaded again does not fit into them."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def share_heaps() -> None:
    """Lets all threads of this process take memory from two heaps. glibc otherwise opens up to
    eight a core, and what one thread frees another cannot use: a process that runs for days grows.
    To be called before threads are started; MALLOC_ARENA_MAX in the environment goes first."""
    is_told = "MALLOC_ARENA_MAX" in os.environ
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and not is_told:
        mallopt(_M_ARENA_MAX, 2)
