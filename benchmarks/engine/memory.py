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

"""Peak memory of one phrase on a new image, ours, the baseline's and the language model's alone."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.engine.baseline import Baseline
from benchmarks.engine.models import PHRASES, QUESTION
from benchmarks.engine.rounds import picture
from flmm_ros.engine.grounder import Grounder

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
MEMORY_WAYS = ("plain SDPA with cache", "engine", "baseline")


def measure_peak_mib(grounder: Grounder, way: str) -> float:
    """Peak memory of one phrase on a new image, beyond the loaded model's.

    On a CPU only valid in a process that has done nothing else, and whose allocator returns freed
    memory at once (`ALLOCATOR`): otherwise the allocator is measured, not what is needed. On a
    GPU torch itself counts what is in use, in any process that has not seen the image yet.
    """
    _warm_up(grounder)
    runs: dict[str, Callable[[], object]] = {
        "plain SDPA with cache": lambda: _plain(grounder),
        "engine": lambda: grounder.open(picture(0)).ground(PHRASES[:1]),
        "baseline": lambda: Baseline(grounder).ground(picture(0), PHRASES[:1]),
    }
    if grounder.lmm.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = runs[way]()
        peak = torch.cuda.max_memory_allocated()
        del kept
        return (peak - before) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory of building the model
    before = _memory_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building the model
    kept = runs[way]()
    peak = _memory_kib("VmHWM")
    del kept
    return max(0, peak - before) / 1024


@torch.inference_mode()
def _warm_up(grounder: Grounder) -> None:
    """A word without an image: what libraries set up on their first use is no command's need."""
    lmm = grounder.lmm
    lmm.model.model(input_ids=torch.tensor([[1, 5]], device=lmm.device), use_cache=False)


@torch.inference_mode()
def _plain(grounder: Grounder) -> object:
    """What the language model alone needs: image and text through SDPA into a cache."""
    lmm = grounder.lmm
    prefix = lmm.encode(picture(0))
    question = lmm.text().question(QUESTION)
    lmm.generate(prefix, question.ids, max_new_tokens=1)
    return prefix


def _memory_kib(field: str) -> int:
    """A memory figure of this process, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status: expected a line {field!r}, got none; is this Linux?")
