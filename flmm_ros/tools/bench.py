"""What reading attention costs: recording against a plain forward, and against keeping everything.

    python -m flmm_ros.tools.bench                 # or: make bench
    python -m flmm_ros.tools.bench --repetitions 9 --threads 2 --json out/bench.json

A LLaVA with random weights (12 layers, 1024 wide, 24x24 image tokens) forwards the same sequence in
three ways, taking turns in one process so that a busy machine slows all of them alike; the ratios
are medians over the rounds. Peak memory is measured in a fresh process each.

Does not know about: trained models, accuracy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from flmm_ros.engine.attention import ATTENTION_NAME
from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm.llava import Llava, PixelRule

IMAGE_ID = 4
PREFIX_IDS = (1, 5, 6, IMAGE_ID)
SUFFIX_IDS = tuple(range(10, 39))
SPANS = ((16, 17), (19, 21), (23, 28))  # one, two and five tokens
IMAGE_HW = (427, 640)
GOAL = 1.03


@dataclass(frozen=True)
class Row:
    """One way of forwarding: median seconds, median ratio to the plain forward of the same round,
    and the peak memory above what the loaded model takes."""

    name: str
    median_s: float
    ratio: float
    peak_mib: float


def build(layers: int, width: int) -> Llava:
    """A LLaVA with random weights; the image tower is tiny, it is not what is measured."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=336,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            hidden_size=width,
            intermediate_size=2816 * width // 1024,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // 64),
            num_key_value_heads=max(1, width // 64),
            vocab_size=1000,
        ),
        image_token_id=IMAGE_ID,
    )
    model = LlavaForConditionalGeneration(config)
    rule = PixelRule(mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28), scale=1 / 255)
    return Llava(model, None, ModelConfig(name="bench", lmm="random", heads="none"), rule)


def ways(lmm: Llava) -> dict[str, Callable[[], object]]:
    """The three forwards of one sequence, by name; the plain one first."""
    pixels = lmm.prepare(np.full((*IMAGE_HW, 3), 100, np.uint8))
    image_ids = lmm.image_ids(IMAGE_HW)
    ids = torch.tensor([[*PREFIX_IDS[:-1], *image_ids, *SUFFIX_IDS]])

    def forward(attention: str, **wanted: bool) -> object:
        lmm.model.set_attn_implementation({"text_config": attention})
        return lmm.model.model(input_ids=ids, use_cache=False, **pixels, **wanted)

    def record() -> object:
        lmm.model.set_attn_implementation({"text_config": ATTENTION_NAME})
        return lmm.read_batch(pixels, PREFIX_IDS, [SUFFIX_IDS], [SPANS], IMAGE_HW)

    def keep_all() -> object:
        return forward("eager", output_attentions=True, output_hidden_states=True)

    return {
        "plain SDPA": lambda: forward("sdpa"),
        "recording rows": record,
        "eager, all kept": keep_all,
    }


@torch.inference_mode()
def measure_times(lmm: Llava, repetitions: int) -> dict[str, list[float]]:
    """Seconds of every repetition, the three ways taking turns; one round before, unmeasured."""
    runs = ways(lmm)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(repetitions + 1):
        names = list(runs) if round_ % 2 else list(runs)[::-1]  # nobody always comes first
        for name in names:
            start = time.perf_counter()
            runs[name]()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@torch.inference_mode()
def measure_peak_mib(lmm: Llava, name: str) -> float:
    """Peak memory of one forward beyond the loaded model's. Only true in a fresh process."""
    run = ways(lmm)[name]
    before = _memory_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building the model
    kept = run()
    peak = _memory_kib("VmHWM")
    del kept
    return max(0, peak - before) / 1024


def _memory_kib(field: str) -> int:
    """A memory figure of this process, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status: expected a line {field!r}, got none; is this Linux?")


def peak_in_child(name: str, args: argparse.Namespace) -> float:
    """`measure_peak_mib` in a process of its own."""
    command = [sys.executable, "-m", "flmm_ros.tools.bench", "--peak-of", name]
    command += ["--layers", str(args.layers), "--width", str(args.width)]
    command += ["--threads", str(args.threads)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(found.stdout.strip().splitlines()[-1])


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':<18}{'median s':>10}{'x plain':>9}{'peak MiB':>10}"]
    lines += [f"{r.name:<18}{r.median_s:>10.3f}{r.ratio:>9.3f}{r.peak_mib:>10.1f}" for r in rows]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flmm_ros.tools.bench",
        description="Time and memory of recording attention rows, beside a plain forward.",
    )
    parser.add_argument("--repetitions", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=12, help="text layers (default: %(default)s)")
    parser.add_argument(
        "--width", type=int, default=1024, help="hidden width (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the table here")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    lmm = build(args.layers, args.width)
    if args.peak_of:
        print(measure_peak_mib(lmm, args.peak_of))
        return 0
    seconds = measure_times(lmm, args.repetitions)
    plain = seconds["plain SDPA"]
    del lmm
    rows = []
    for name, times in seconds.items():
        ratio = statistics.median(t / p for t, p in zip(times, plain, strict=True))
        rows.append(Row(name, statistics.median(times), ratio, peak_in_child(name, args)))
    print(table(rows))
    recorded = rows[1].ratio
    print(f"recording costs {recorded:.3f} x a plain forward (goal: at most {GOAL})")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "settings": vars(args) | {"json": str(args.json)},
            "rows": [asdict(r) for r in rows],
        }
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
