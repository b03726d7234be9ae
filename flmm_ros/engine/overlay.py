"""Shows a person what was grounded: coloured masks and phrases drawn over the image.

The node's overlay topic, the command line and the HTML report share these colours, so that the same
object has the same colour everywhere. Does not know about: models, files, ROS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flmm_ros.engine.types import Grounding, ImageError

# RGB. Told apart by people with colour-blindness too; then repeated with `color_of`.
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
            text = f"{grounding.phrase} {grounding.score:.2f}"
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
