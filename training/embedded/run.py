"""The numbers of a training run of the embedded model, and the options that change them.

Does not know about: what a stage does.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from training.embedded.stages.batches import Pace

STAGES = ("scenes", "tower", "lmm", "sight", "readings", "heads", "export")
SMOKE: dict[str, Any] = {
    "scenes": 50, "unseen": 40, "tower_steps": 2, "tower_images": 8, "align_steps": 5,
    "lmm_steps": 2, "lmm_images": 4, "sight_steps": 2, "sight_images": 4, "read_scenes": 10,
    "heads_steps": 2, "heads_images": 3, "selector_scenes": 10, "selector_steps": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training run: where it works, how long each stage is, how many images a step has.

    scenes: seeds, each with a plain and a crowded scene. unseen, read_scenes, selector_scenes:
    scenes. heads_start: what to go on from instead of random weights.
    """

    out: Path
    seed: int = 0
    scenes: int = 8_000
    unseen: int = 500
    tower_steps: int = 1_500
    tower_images: int = 64
    tower_rate: float = 3e-3
    align_steps: int = 500
    lmm_steps: int = 7_000
    lmm_images: int = 64
    lmm_rate: float = 1.5e-3
    sight_steps: int = 2_500
    sight_images: int = 32
    sight_rate: float = 3e-3
    read_scenes: int = 8_000
    heads_steps: int = 2_500
    heads_images: int = 16
    heads_rate: float = 1.5e-3
    heads_start: Path | None = None
    selector_scenes: int = 1_000
    selector_steps: int = 1_500
    device: str = "cpu"
    workers: int = 0

    def pace(self, stage: str) -> Pace:
        """How a stage trains; each has draws of its own."""
        return Pace(
            steps=getattr(self, f"{stage}_steps"),
            images=getattr(self, f"{stage}_images"),
            peak_rate=getattr(self, f"{stage}_rate"),
            seed=10 * self.seed + STAGES.index(stage),
            workers=self.workers,
        )


def run_of(args: argparse.Namespace) -> Run:
    """What the command line asks for."""
    run = Run(**{f.name: getattr(args, f.name) for f in fields(Run)})
    return replace(run, **SMOKE) if args.smoke else run


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options; their defaults are for one GPU."""
    usual = Run(Path("out/tabletop"))
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--out", type=Path, default=usual.out, help="working directory")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--device", default="cuda" if has_gpu else "cpu")
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, (os.cpu_count() or 2) - 2) if has_gpu else 0,
        help="processes that make batches ahead; 0: none",
    )
    parser.add_argument("--heads-start", type=Path, help="heads to go on from")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only these stages")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    given = {"out", "seed", "device", "workers", "heads_start"}
    for field in fields(Run):
        if field.name not in given:
            value = getattr(usual, field.name)
            option = "--" + field.name.replace("_", "-")
            parser.add_argument(option, type=type(value), default=value, help=f"default {value}")
