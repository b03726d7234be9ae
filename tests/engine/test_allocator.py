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

"""Heaps of the C library, seen in a process of its own: how many a crowd of threads opens; and what
the garbage collector looks through."""

import gc
import os
import re
import subprocess
import sys
import weakref

import pytest

from flmm_ros.engine.runtime.allocator import freeze_gc, unfreeze_gc

PROGRAM = """
import ctypes, threading
from flmm_ros.engine.runtime.allocator import limit_malloc_arenas
limit_malloc_arenas()
libc, wait = ctypes.CDLL(None), threading.Barrier(13)
libc.malloc.restype = ctypes.c_void_p
def take():
    for _ in range(50): libc.malloc(1000)
    wait.wait()
threads = [threading.Thread(target=take) for _ in range(12)]
for t in threads: t.start()
wait.wait()
libc.malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
@pytest.mark.parametrize(("told", "most"), [(None, 2), ("4", 4)])
def test_threads_share_two_heaps_unless_told_otherwise(told: str | None, most: int) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    if told:
        environment["MALLOC_ARENA_MAX"] = told
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert len(re.findall(r"^Arena \d+:", run.stderr, re.MULTILINE)) == most


def test_what_is_freeze_gc_is_not_looked_through_until_it_is_taken_back() -> None:
    class Node:
        me: object

    node = Node()
    node.me = node  # a circle: only the collector can free it
    reference = weakref.ref(node)
    freeze_gc()
    try:
        del node
        gc.collect()
        assert reference() is not None
    finally:
        unfreeze_gc()
    gc.collect()
    assert reference() is None
