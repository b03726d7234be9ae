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

"""Pictures of an answer for people: masks and attention over the camera image."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.overlay import draw_overlay

READABLE_WIDTH_PX = 640  # below this the phrases written on a picture cannot be read


def overlay_picture(image: NDArray[np.uint8], objects: Sequence[Grounding]) -> NDArray[np.uint8]:
    """The overlay of `draw_overlay`, enlarged by a whole number where the image is small.

    image: RGB uint8 [H, W, 3]. Returns RGB uint8 [k*H, k*W, 3].
    """
    scale = max(1, READABLE_WIDTH_PX // image.shape[1])
    return draw_overlay(_enlarged(image, scale), [_scaled(o, scale) for o in objects])


def data_uri(image: NDArray[np.uint8]) -> str:
    """An RGB image as a JPEG inside a `data:` address, for a page without other files."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=88, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _enlarged(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    if scale == 1:
        return image
    size_wh = (image.shape[1] * scale, image.shape[0] * scale)
    return np.array(Image.fromarray(image).resize(size_wh, Image.Resampling.BICUBIC), np.uint8)


def _scaled(grounding: Grounding, scale: int) -> Grounding:
    def grown(array: NDArray[Any]) -> NDArray[Any]:
        return array.repeat(scale, axis=0).repeat(scale, axis=1)

    x0, y0, x1, y1 = (value * scale for value in grounding.box_xyxy_px)
    return dataclasses.replace(
        grounding,
        mask=grown(grounding.mask),
        soft_mask=grown(grounding.soft_mask),
        heat=grown(grounding.heat),
        box_xyxy_px=(x0, y0, x1, y1),
        candidates=(),
    )
