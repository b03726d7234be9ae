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

"""Images: what is accepted as one, and how one is read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from flmm_ros.engine.errors import ImageError

MIN_SIDE_PX = 16


def checked_image(image: object, max_megapixels: float) -> NDArray[np.uint8]:
    """A private copy of an RGB uint8 [H, W, 3] image.

    Raises:
        ImageError: another type, shape or number format, too small to look at, or too large.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"image: expected a numpy array, got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(
            f"image: expected RGB uint8 [H, W, 3], got {image.dtype} {list(image.shape)}; convert "
            "it"
        )
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise ImageError(
            f"image: expected at least {MIN_SIDE_PX}x{MIN_SIDE_PX} pixels, got "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    if image.shape[0] * image.shape[1] > max_megapixels * 1e6:
        raise ImageError(
            f"image: expected at most {max_megapixels:g} megapixels, got {image.shape[1]}x"
            f"{image.shape[0]}, {image.shape[0] * image.shape[1] / 1e6:.3g}; shrink it, or raise "
            "max_image_megapixels where there is memory"
        )
    return np.array(image, order="C")  # the caller may reuse its buffer for the next frame


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as RGB uint8 [H, W, 3], upright: a photograph says which side was up.

    Raises:
        ImageError: missing, or not an image.
    """
    try:
        with Image.open(path) as file:
            return np.array(ImageOps.exif_transpose(file).convert("RGB"), np.uint8)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: expected an image file, got nothing there") from error
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: expected a complete image file, got: {error}") from error
