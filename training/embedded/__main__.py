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

"""Train the embedded model from nothing; every stage resumes where it stopped.

    python -m training.embedded                          # all stages; a GPU where there is one
    python -m training.embedded --stage heads            # only the heads, on the LMM of --out
    python -m training.embedded --smoke --out out/smoke  # minutes: proves the pipeline, not the
    model

Stages: scenes (render), tower (the vision encoder), lmm (language, from text only), sight (the
refiner's image encoder), readings (attention and hidden states of phrases in the frozen LMM), heads
(masks and score; LMM and image encoders frozen), export (the model directory).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.errors import ConfigError
from training.embedded.settings import SMOKE, STAGES, EmbeddedSettings
from training.embedded.trainer import Trainer

USUAL = EmbeddedSettings(Path("out/tabletop"))
HAS_GPU = torch.cuda.is_available()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m training.embedded`; returns the exit status."""
    return run_command(_embedded, argv, "python -m training.embedded")


def _embedded(  # noqa: PLR0913  one option a setting
    out: Annotated[Path, typer.Option(help="Working directory.")] = USUAL.out,
    stage: Annotated[
        list[str], typer.Option(help=f"Only this stage, may be repeated: {', '.join(STAGES)}.")
    ] = [],  # noqa: B006  Typer copies it
    is_smoke: Annotated[bool, typer.Option("--smoke", help="A few steps of everything.")] = False,
    seed: Annotated[int, typer.Option(help="Of weights and draws.")] = USUAL.seed,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cuda"
    if HAS_GPU
    else "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make batches ahead; 0: none.")
    ] = max(1, (os.cpu_count() or 2) - 2) if HAS_GPU else 0,
    heads_start: Annotated[Path | None, typer.Option(help="Heads to go on from.")] = None,
    scenes: Annotated[
        int, typer.Option(help="Seeds, each with a plain and a crowded scene.")
    ] = USUAL.scenes,
    unseen: Annotated[
        int, typer.Option(help="Scenes for choices made while training.")
    ] = USUAL.unseen,
    tower_steps: Annotated[
        int, typer.Option(help="Steps of the vision encoder.")
    ] = USUAL.tower_steps,
    tower_images: Annotated[int, typer.Option(help="Images of each.")] = USUAL.tower_images,
    tower_rate: Annotated[float, typer.Option(help="Peak rate.")] = USUAL.tower_rate,
    align_steps: Annotated[
        int, typer.Option(help="Steps that align the projector.")
    ] = USUAL.align_steps,
    lmm_steps: Annotated[int, typer.Option(help="Steps of the language model.")] = USUAL.lmm_steps,
    lmm_images: Annotated[int, typer.Option(help="Images of each.")] = USUAL.lmm_images,
    lmm_rate: Annotated[float, typer.Option(help="Peak rate.")] = USUAL.lmm_rate,
    sight_steps: Annotated[
        int, typer.Option(help="Steps of the refiner's encoder.")
    ] = USUAL.sight_steps,
    sight_images: Annotated[int, typer.Option(help="Images of each.")] = USUAL.sight_images,
    sight_rate: Annotated[float, typer.Option(help="Peak rate.")] = USUAL.sight_rate,
    read_scenes: Annotated[
        int, typer.Option(help="Scenes that the heads learn from.")
    ] = USUAL.read_scenes,
    heads_steps: Annotated[int, typer.Option(help="Steps of the heads.")] = USUAL.heads_steps,
    heads_images: Annotated[int, typer.Option(help="Images of each.")] = USUAL.heads_images,
    heads_rate: Annotated[float, typer.Option(help="Peak rate.")] = USUAL.heads_rate,
    selector_scenes: Annotated[
        int, typer.Option(help="Scenes of the phrase selector.")
    ] = USUAL.selector_scenes,
    selector_steps: Annotated[int, typer.Option(help="Its steps.")] = USUAL.selector_steps,
) -> None:
    """Train the embedded tabletop model from nothing.

    Run it again after an interruption: it goes on from its last checkpoint.
    """
    given = {k: v for k, v in locals().items() if k not in ("stage", "is_smoke")}
    unknown = [name for name in stage if name not in STAGES]
    if unknown:
        raise ConfigError(f"--stage: expected one of {', '.join(STAGES)}, got {unknown[0]!r}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are forked
    trainer = Trainer(EmbeddedSettings(**{**given, **(SMOKE if is_smoke else {})}))
    for name in stage or STAGES[1:]:
        if name != "scenes":  # constructing the trainer renders them
            getattr(trainer, f"run_{name}")()


if __name__ == "__main__":
    sys.exit(main())
