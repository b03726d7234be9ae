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

"""Memory of a process that runs for days: what malloc (glibc's, on Linux) and Python's garbage
collector have to be told."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_M_ARENA_MAX = -8  # of mallopt, malloc.h
_ARENAS = 2


def trim_malloc() -> None:
    """Returns freed memory to the operating system (malloc_trim). glibc keeps it otherwise, in
    pieces, and a model that is loaded again does not fit into them."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def limit_malloc_arenas() -> None:
    """Lets all threads of this process share two malloc arenas. glibc otherwise opens up to eight
    a core, and what one thread frees another cannot use: a process that runs for days grows. To be
    called before threads are started; MALLOC_ARENA_MAX in the environment has precedence."""
    is_set = "MALLOC_ARENA_MAX" in os.environ
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and not is_set:
        mallopt(_M_ARENA_MAX, _ARENAS)


def freeze_gc() -> None:
    """Exempts all objects that live now from garbage collection (gc.freeze): the modules of torch
    and transformers, a loaded model. The collector otherwise visits their 400,000 objects now and
    then, and every thread stands still meanwhile, for 0.2 s. Reference counting still frees what is
    no longer used; reference cycles need `unfreeze_gc` before a model is freed."""
    gc.collect()
    gc.freeze()


def unfreeze_gc() -> None:
    """The garbage collector visits everything again."""
    gc.unfreeze()
