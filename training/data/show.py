"""Draws samples as the loop will see them, every phrase with its mask: look before you train.

    python -m training.data show data/coco --set png --split val --first 0 --count 4 --out png.png

Does not know about: file formats.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command `show`."""
    parser.add_argument("root", type=Path, help="the folder with annotations/, train2014/, ...")
    parser.add_argument("--set", required=True, help="name of the data set")
    parser.add_argument("--split", default="train", help="default: train")
    parser.add_argument("--first", type=int, default=0, help="number of the first sample")
    parser.add_argument("--count", type=int, default=4, help="samples, one a row (default: 4)")
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help="PNG to write")


def run(options: argparse.Namespace, console: Console) -> int:
    """The command: writes the picture, prints what was left out."""
    data = open_data(options.set, options.root, options.split)
    stop = min(options.first + options.count, len(data))
    if not 0 <= options.first < stop:
        raise DataError(
            f"{options.set}/{options.split} has samples 0 to {len(data) - 1}; "
            f"got --first {options.first} --count {options.count}"
        )
    rows = []
    for index in range(options.first, stop):
        read = read_sample(data, index)
        if read is not None:
            rows.append(draw_sample(*read))
    for skipped in data.skipped[:10]:
        console.print(f"left out {skipped.key}: {skipped.reason}", highlight=False, markup=False)
    if not rows:
        raise DataError("none of these samples can be read")
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), "maximum") for r in rows]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(options.out)
    console.print(f"{len(data):,} samples, {len(data.skipped):,} left out; drawn: {options.out}")
    return 0
