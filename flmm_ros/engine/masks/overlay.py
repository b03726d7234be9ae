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

"""Shows a person what was grounded: coloured masks and phrases drawn over the image.

The node's overlay topic, the command line and the HTML report share these colours, so that the same
object has the same colour everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import ImageError

# RGB. Distinguishable with colour-blindness too; then repeated with `color_of`.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 80, 170),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (150, 110, 240),
)

_MASK_OPACITY = 0.5
_TEXT_MARGIN_PX = 2
_DIM = 0.35  # how much of the picture stays visible under a heat map
_WHITE_FROM = 0.6  # the hottest part fades to white, so that the peak is seen


def color_of(index: int) -> tuple[int, int, int]:
    """RGB of the object at position `index` (from 0) in the list of an answer."""
    return PALETTE[index % len(PALETTE)]


def draw_overlay(image: NDArray[np.uint8], groundings: Sequence[Grounding]) -> NDArray[np.uint8]:
    """Draws each present object's mask, outline, phrase and score; lists absent ones at the bottom.

    Args:
        image: RGB uint8 [H, W, 3]; left unchanged.
        groundings: with masks [H, W].

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        ImageError: a mask has another size than the image.
    """
    for grounding in groundings:
        if grounding.mask.shape != image.shape[:2]:
            raise ImageError(
                f"overlay: expected masks of the image's size {image.shape[:2]}, "
                f"got {grounding.mask.shape} for {grounding.phrase!r}; draw on the image they "
                "came from"
            )
    canvas = image.astype(np.float32)
    for index, grounding in enumerate(groundings):
        if grounding.is_present:
            color = np.array(color_of(index), np.float32)
            blend = (1 - _MASK_OPACITY) * canvas[grounding.mask] + _MASK_OPACITY * color
            canvas[grounding.mask] = blend
            canvas[_outline(grounding.mask)] = color
    drawn = Image.fromarray(canvas.round().astype(np.uint8))
    _write_labels(drawn, groundings)
    return np.array(drawn, np.uint8)


def draw_heatmaps(image: NDArray[np.uint8], groundings: Sequence[Grounding]) -> NDArray[np.uint8]:
    """What each phrase looks at, one picture under another: why the masks are where they are.

    image: RGB uint8 [H, W, 3]. Returns RGB uint8 [N * H, W, 3], N the number of phrases; candidates
    of one phrase share their picture.

    Raises:
        ImageError: a heat map has another size than the image.
    """
    pictures, seen = [], set()
    for index, grounding in enumerate(groundings):
        if grounding.is_ambiguous and (grounding.phrase, grounding.text_span) in seen:
            continue
        seen.add((grounding.phrase, grounding.text_span))
        picture = Image.fromarray(draw_heat(image, grounding.heat, index))
        font = ImageFont.load_default(size=max(10, picture.height // 28))
        _write(
            ImageDraw.Draw(picture), grounding.phrase, (0, 0), font, color_of(index), picture.size
        )
        pictures.append(np.array(picture, np.uint8))
    return np.concatenate(pictures) if pictures else image[:0]


def draw_heat(image: NDArray[np.uint8], heat: NDArray[np.float32], index: int) -> NDArray[np.uint8]:
    """Attention in the colour of the object at `index`, over the image in dim grey.

    image: RGB uint8 [H, W, 3]; heat: float32 [H, W], any scale. Returns RGB uint8 [H, W, 3].

    Raises:
        ImageError: image and heat have different sizes.
    """
    if heat.shape != image.shape[:2]:
        raise ImageError(f"heat map: expected the image's size {image.shape[:2]}, got {heat.shape}")
    grey = image.astype(np.float32).mean(axis=2, keepdims=True) * _DIM
    low, high = float(heat.min()), float(heat.max())
    strength = ((heat - low) / max(high - low, 1e-12))[..., None]
    color = np.array(color_of(index), np.float32)
    whiteness = np.clip((strength - _WHITE_FROM) / (1 - _WHITE_FROM), 0, 1)
    glow = color + (255 - color) * whiteness
    blended = grey * (1 - strength) + glow * strength
    return blended.round().astype(np.uint8)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask with a neighbour (4-connected) outside it; the image's edge is outside."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _write_labels(canvas: Image.Image, groundings: Sequence[Grounding]) -> None:
    """Writes phrase and score above each box, kept inside the image."""
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(10, canvas.height // 28))
    for index, grounding in enumerate(groundings):
        if grounding.is_present:
            x0, y0 = grounding.box_xyxy_px[:2]
            question = "?" if grounding.is_ambiguous else ""
            text = f"{grounding.phrase}{question} {grounding.score:.2f}"
            _write(draw, text, (x0, y0), font, color_of(index), canvas.size)
    absent = [g.phrase for g in groundings if not g.is_present]
    if absent:
        text = "not seen: " + ", ".join(absent)
        _write(draw, text, (0, 2 * canvas.height), font, (225, 225, 225), canvas.size)


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    anchor_xy_px: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    color: tuple[int, int, int],
    size_wh: tuple[int, int],
) -> None:
    """Black text on a coloured plate; its lower left corner is the anchor, moved into the image."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width = right - left + 2 * _TEXT_MARGIN_PX
    height = bottom - top + 2 * _TEXT_MARGIN_PX
    x = max(0, min(anchor_xy_px[0], int(size_wh[0] - width)))
    y = max(0, min(anchor_xy_px[1], size_wh[1]) - int(height))
    draw.rectangle((x, y, x + width, y + height), fill=color)
    position = (x + _TEXT_MARGIN_PX - left, y + _TEXT_MARGIN_PX - top)
    draw.text(position, text, fill=(0, 0, 0), font=font)
