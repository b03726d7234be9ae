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

"""Draws what words look at: attention maps of phrases beside the masks made from them.

    python -m scripts.docs.attention_maps --out docs/attention.png

One row a phrase: the image, the mean over all layers and heads, the two most concentrated heads,
the mask. The maps are raw attention, only stretched to full brightness.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional as F

from flmm_ros.cli.command_line import run_command, with_repeated_option
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.masks.framing import crop_to_image
from flmm_ros.engine.masks.overlay import draw_heat, draw_overlay
from flmm_sim.tabletop.tabletop import Tabletop, TabletopScene

SEEDS = [2_000_028, 2_000_018]  # as in the demo: used neither to train nor to examine a model
PHRASES_A_SCENE = 2
_TITLE_PX = 22


def concentrated_heads(maps: torch.Tensor, count: int) -> list[int]:
    """Channels of maps [C, h, w] with the lowest entropy over the image, lowest first."""
    share = maps.flatten(1) / maps.flatten(1).sum(1, keepdim=True).clamp(min=1e-12)
    entropy = -(share * share.clamp(min=1e-12).log()).sum(1)
    return [int(i) for i in entropy.argsort()[:count]]


def phrase_row(
    grounder: Grounder, truth: TabletopScene, phrase: str, index: int
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Titled pictures [H, W, 3] of one phrase."""
    scene = grounder.open(truth.rgb)
    suffix = grounder.lmm.text().reading(grounder.model.prompt, phrase, [(0, len(phrase))])
    trace = scene.trace(suffix)
    image_hw = (truth.rgb.shape[0], truth.rgb.shape[1])
    view = grounder.lmm.views(image_hw)[-1]
    maps = crop_to_image(trace.reading.maps[0], view, image_hw)  # [C, h, w]
    heads = grounder.lmm.shape.heads
    pictures = [(f'"{phrase}"', truth.rgb)]
    shown = [("mean of all heads", maps.mean(0))]
    for channel in concentrated_heads(maps, 2):
        shown.append((f"layer {channel // heads} head {channel % heads}", maps[channel]))
    for title, grid in shown:
        full = F.interpolate(grid[None, None].float(), image_hw, mode="bilinear")[0, 0]
        pictures.append((title, draw_heat(truth.rgb, full.numpy(), index)))
    found = scene.ground([phrase])[0]
    pictures.append((f"mask, score {found.score:.2f}", draw_overlay(truth.rgb, [found])))
    return pictures


def contact_sheet(rows: list[list[tuple[str, NDArray[np.uint8]]]]) -> Image.Image:
    """Rows of titled pictures of one size in one picture."""
    height, width = rows[0][0][1].shape[:2]
    sheet = Image.new("RGB", (width * len(rows[0]), (height + _TITLE_PX) * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for y, row in enumerate(rows):
        for x, (title, picture) in enumerate(row):
            at = (x * width, y * (height + _TITLE_PX))
            draw.text((at[0] + 4, at[1] + 3), title, fill="black", font=font)
            sheet.paste(Image.fromarray(picture), (at[0], at[1] + _TITLE_PX))
    return sheet


def attention_maps(
    model: Annotated[str, typer.Option(help="Name, YAML file or directory.")] = "tabletop",
    seeds: Annotated[list[int], typer.Option(help="Scenes, one or several.")] = SEEDS,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("out/attention.png"),
) -> None:
    """Draw what words look at on tabletop scenes."""
    grounder = Grounder.from_config(model)
    rows: list[list[tuple[str, NDArray[np.uint8]]]] = []
    with Tabletop() as table:
        for seed in seeds:
            truth = table.render(seed)
            for obj in truth.objects[:PHRASES_A_SCENE]:
                rows.append(phrase_row(grounder, truth, f"the {obj.name}", len(rows)))
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows).save(out, optimize=True)
    print(f"wrote {out}: {len(rows)} phrases")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_command(attention_maps, with_repeated_option(arguments, "--seeds"))


if __name__ == "__main__":
    sys.exit(main())
