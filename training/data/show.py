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

"""Draws samples as the loop will see them, every phrase with its mask: look before you train.

python -m training.data show data/coco --set png --split val --first 0 --count 4 --out png.png
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flmm_ros.engine.masks.overlay import color_of
from training.data.registry import open_data
from training.data.rle import DataError
from training.data.sample import GroundingSample, read_sample

PANEL_PX, CAPTION_PX, MARGIN_PX = 300, 46, 6
NOT_JUDGED = (255, 255, 255)


def draw_sample(
    sample: GroundingSample, rgb: NDArray[np.uint8], phrases: int = 6
) -> NDArray[np.uint8]:
    """A row of panels, RGB uint8 [h, w, 3]: the image, then one for each of its first phrases.

    rgb: the sample's image [H, W, 3].
    """
    grey = rgb.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    panels = [_panel(rgb, f"{sample.key} | {sample.question or sample.text}")]
    for number, phrase in enumerate(sample.phrases[:phrases]):
        shown = _coloured(grey, phrase.mask.decode(), color_of(number))
        kind = {True: "thing", False: "stuff", None: ""}[phrase.is_thing]
        notes = [kind, "plural" if phrase.is_plural else "", "absent" if phrase.is_absent else ""]
        if phrase.ignored is not None:
            shown = _coloured(shown, phrase.ignored.decode(), NOT_JUDGED)
            notes.append("white is not judged")
        caption = ", ".join([sample.words_of(phrase).upper(), *(note for note in notes if note)])
        panels.append(_panel(shown, caption))
    return np.concatenate(panels, axis=1)


def _coloured(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The picture with the mask in a colour."""
    shown = np.where(mask[..., None], 0.3 * picture + 0.7 * np.array(colour), picture)
    return shown.astype(np.uint8)


def _panel(rgb: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    """An image, made smaller, with a caption below it."""
    image = Image.fromarray(rgb)
    image.thumbnail((PANEL_PX, PANEL_PX))
    canvas = Image.new("RGB", (PANEL_PX + MARGIN_PX, image.height + CAPTION_PX), "white")
    canvas.paste(image)
    lines = textwrap.wrap(caption, 48)
    if len(lines) > 3:
        lines = [*lines[:2], f"{lines[2][:45]}..."]
    ImageDraw.Draw(canvas).text((2, image.height + 2), "\n".join(lines), fill="black", spacing=2)
    return np.asarray(canvas)


def show_command(
    root: Annotated[Path, typer.Argument(help="The folder with annotations/, train2014/, ...")],
    name: Annotated[str, typer.Option("--set", help="Name of the data set.")],
    split: Annotated[str, typer.Option(help="Split of it.")] = "train",
    first: Annotated[int, typer.Option(help="Number of the first sample.")] = 0,
    count: Annotated[int, typer.Option(help="Samples, one a row.")] = 4,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("samples.png"),
) -> None:
    """Draw samples with their masks, and print what was left out."""
    data = open_data(name, root, split)
    stop = min(first + count, len(data))
    if not 0 <= first < stop:
        raise DataError(
            f"{name}/{split} has samples 0 to {len(data) - 1}; got --first {first} --count {count}"
        )
    rows = []
    for index in range(first, stop):
        read = read_sample(data, index)
        if read is not None:
            rows.append(draw_sample(*read))
    for skipped in data.skipped[:10]:
        print(f"left out {skipped.key}: {skipped.reason}")
    if not rows:
        raise DataError("none of these samples can be read")
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), "maximum") for r in rows]
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(out)
    print(f"{len(data):,} samples, {len(data.skipped):,} left out; drawn: {out}")
