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

"""`flmm ground`: the smallest complete use of the engine.

    flmm ground photo.png "the red mug"
    flmm ground photo.png "what can I drink from?" --model tabletop --out out/ground

Writes an overlay, what each phrase looked at ("_heat"), both PNG, and a JSON with answer, boxes,
scores and timings into the output folder. Exit status: 0 answered, 2 something has to be put right
first.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.answer import Answer, Intent, RequestedIntent
from flmm_ros.engine.config import GrounderConfig, with_overrides
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.image import read_image
from flmm_ros.engine.masks.overlay import draw_heatmaps, draw_overlay

DEFAULT = GrounderConfig()
SETTINGS = ", ".join(f.name for f in dataclasses.fields(DEFAULT) if f.name != "model")


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """What fits into JSON: everything but the masks, which the overlay shows."""
    objects = [
        {
            "phrase": g.phrase,
            "is_present": g.is_present,
            "is_ambiguous": g.is_ambiguous,
            "score": round(g.score, 4),
            "box_xyxy_px": list(g.box_xyxy_px),
            "area_px": int(g.mask.sum()),
            "text_span": list(g.text_span) if g.text_span else None,
        }
        for g in answer.objects
    ]
    return {
        "text": answer.text,
        "intent": answer.intent.value,
        "objects": objects,
        "timings_ms": {stage: round(ms, 1) for stage, ms in answer.timings_ms.items()},
    }


def ground(
    image: Annotated[Path, typer.Argument(help="Image file.")],
    command: Annotated[str, typer.Argument(help='A sentence, such as "the red mug".')],
    model: Annotated[str, typer.Option(help="Name, YAML file or directory.")] = DEFAULT.model,
    out: Annotated[Path, typer.Option(help="Folder for what is written.")] = Path("out/ground"),
    intent: Annotated[
        RequestedIntent | None,
        typer.Option(
            help="What the command wants; by default its form tells.",
        ),
    ] = None,
    set: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help=f"Another setting: {SETTINGS}.")
    ] = [],  # noqa: B006  Typer copies it
    verbose: Annotated[bool, typer.Option(help="Log what is loaded, and timings.")] = False,
) -> None:
    """Ask about an image file; get an answer, and masks of what it names."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
    pixels = read_image(image)
    config = with_overrides(GrounderConfig(model=model), set)
    answer = (
        Grounder.from_config(config).open(pixels).ask(command, Intent(intent) if intent else None)
    )
    out.mkdir(parents=True, exist_ok=True)
    content = {"command": command, "image": str(image), **answer_to_json(answer)}
    overlay, report = out / f"{image.stem}.png", out / f"{image.stem}.json"
    Image.fromarray(draw_overlay(pixels, answer.objects)).save(overlay)
    if answer.objects:
        heat = Image.fromarray(draw_heatmaps(pixels, answer.objects))
        heat.save(out / f"{image.stem}_heat.png")
    report.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(answer.text)
    for g in answer.objects:
        state = "one of several" if g.is_ambiguous else "present" if g.is_present else "absent"
        print(f"  {g.phrase}: {state}, score {g.score:.2f}, box {g.box_xyxy_px}")
    print(f"{overlay}\n{report}")


def main(argv: Sequence[str] | None = None) -> int:
    """The program alone; returns the exit status."""
    return run_command(ground, argv)
