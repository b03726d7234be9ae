"""Measures commands: where their time goes, and how much memory they need at most.

On one CPU thread seconds are those the process really computed: what else runs on the machine then
hardly counts. On several threads, and on a GPU, they are those of the clock on the wall. What is
compared takes turns in one process, round after round, and ratios are those of one round.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.engine.baseline import Baseline
from benchmarks.engine.models import PHRASES, PROMPT, QUESTION
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.progress import Progress

IMAGE_HW = (480, 640)
PHRASE_COUNTS = (1, 4, 8)
Seconds = dict[str, float]


class Clock:
    """Seconds so far, and of each stage of a command that reports its progress to `on_stage`."""

    def __init__(self, grounder: Grounder) -> None:
        self._is_cuda = grounder.lmm.device.type == "cuda"
        self._stages: Seconds = {}
        self._stage, self._since = "", 0.0

    def now(self) -> float:
        """Seconds since some moment."""
        if self._is_cuda:
            torch.cuda.synchronize()
        return time.process_time() if self._computes_alone else time.perf_counter()

    @property
    def _computes_alone(self) -> bool:
        return not self._is_cuda and torch.get_num_threads() == 1

    def on_stage(self, progress: Progress) -> None:
        """A stage begins, or goes on."""
        now = self.now()
        self._close(now)
        self._stage, self._since = progress.stage.value, now

    def timed(self, run: Callable[[], object]) -> Seconds:
        """Runs a command: seconds of each stage it reported, and "total"."""
        self._stages, self._stage = {}, ""
        start = self.now()
        run()
        end = self.now()
        self._close(end)
        return {**self._stages, "total": end - start}

    def _close(self, now: float) -> None:
        if self._stage:
            self._stages[self._stage] = self._stages.get(self._stage, 0.0) + now - self._since
        self._stage = ""


def picture(number: int) -> NDArray[np.uint8]:
    """Another image for every number."""
    return np.random.default_rng(number).integers(0, 256, (*IMAGE_HW, 3), dtype=np.uint8)


def measure_commands(grounder: Grounder, number: int) -> dict[str, Seconds]:
    """One round: commands of both kinds on new and on known images, ours and the baseline's."""
    clock, baseline = Clock(grounder), Baseline(grounder)
    asked, shown = picture(2 * number), picture(2 * number + 1)
    found = {}

    def ours() -> None:
        for name in ("question", "question again"):
            scene = grounder.open(asked)
            found[name] = clock.timed(partial(scene.ask, QUESTION, on_stage=clock.on_stage))
        scene = grounder.open(shown)
        names = ["1 phrase", *(f"{n} phrases again" for n in PHRASE_COUNTS)]
        for name, count in zip(names, (1, *PHRASE_COUNTS), strict=True):
            found[name] = clock.timed(
                partial(scene.ground, PHRASES[:count], on_stage=clock.on_stage)
            )

    def theirs() -> None:
        found["baseline question"] = clock.timed(lambda: baseline.ask(asked, QUESTION))
        found["baseline 1 phrase"] = clock.timed(lambda: baseline.ground(shown, PHRASES[:1]))

    for run in (ours, theirs) if number % 2 else (theirs, ours):  # nobody always comes first
        run()
    return found


@torch.inference_mode()
def measure_forwards(grounder: Grounder) -> dict[str, Seconds]:
    """One round: the same image and text forwarded plainly, with recorded rows, and with all
    attention kept."""
    clock, lmm = Clock(grounder), grounder.lmm
    image, suffix = picture(0), lmm.text().reading(PROMPT, PHRASES[0], [(0, len(PHRASES[0]))])
    pixels = {name: value.to(lmm.device) for name, value in lmm.prepare(image).items()}
    prefix = lmm.text().prefix()
    ids = torch.tensor([[*prefix[:-1], *lmm.image_ids(IMAGE_HW), *suffix.ids]], device=lmm.device)
    own = lmm.model.config.get_text_config()._attn_implementation

    def forward(attention: str, **wanted: bool) -> None:
        lmm.model.set_attn_implementation({"text_config": attention})
        try:
            lmm.model.model(input_ids=ids, use_cache=False, **pixels, **wanted)
        finally:
            lmm.model.set_attn_implementation({"text_config": own})

    def record() -> None:
        lmm.read_batch(pixels, prefix, [suffix.ids], [suffix.spans], [IMAGE_HW])

    return {
        "plain SDPA": clock.timed(lambda: forward("sdpa", output_hidden_states=True)),
        "recording rows": clock.timed(record),
        "eager, all kept": clock.timed(
            lambda: forward("eager", output_hidden_states=True, output_attentions=True)
        ),
    }


ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
MEMORY_WAYS = ("plain SDPA with cache", "engine", "baseline")


def measure_peak_mib(grounder: Grounder, way: str) -> float:
    """Peak memory of one phrase on a new image, beyond the loaded model's.

    On a CPU only true in a process that has done nothing else, and whose allocator gives back at
    once what is freed (`ALLOCATOR`): otherwise its habits are measured, not what is needed. On a
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
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what building the model left over is no room
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
