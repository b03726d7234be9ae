"""Memory of a process that runs for days: what the C library's heaps (on Linux) and Python's
garbage collector have to be told.

Does not know about: models, tensors.
"""

from __future__ import annotations

import ctypes
import gc
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


def set_aside() -> None:
    """Tells the garbage collector that what lives now will live on: the modules of torch and of
    transformers, a loaded model. It otherwise looks through their 400,000 objects now and then, and
    every thread stands still meanwhile, for 0.2 s. What is no longer used is freed as ever, but for
    objects in a circle: `take_back` before a model is freed."""
    gc.collect()
    gc.freeze()


def take_back() -> None:
    """The garbage collector looks through everything again."""
    gc.unfreeze()
