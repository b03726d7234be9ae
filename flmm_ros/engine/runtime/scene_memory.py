"""What is remembered of an image, and of how many images.

Encoding an image costs most of a command's time, asking about it again costs little: so the
language model's prefix cache and SAM's image features are kept per image, for the newest few
images.

Does not know about: commands, phrases, how anything is computed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.errors import ImageError
from flmm_ros.engine.lmm.prefix import Prefix

MIN_SIDE_PX = 16
T = TypeVar("T")


class SceneMemory:
    """One image and what was computed from it so far; filled on first use, so that opening is
    free."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.image = image
        self.prefix: Prefix | None = None
        self.features: torch.Tensor | None = None

    @property
    def image_hw(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]


class SceneCache(Generic[T]):
    """The newest `size` scenes by image content; the longest unused one goes first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._scenes: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._scenes)

    def get(self, image: NDArray[np.uint8], make: Callable[[], T]) -> T:
        """The scene of this image, made now if it is not remembered."""
        if self.size == 0:
            return make()
        key = content_key(image)
        scene = self._scenes.pop(key, None)
        if scene is None:
            while len(self._scenes) >= self.size:
                self._scenes.popitem(last=False)  # before making the new one: memory is the limit
            scene = make()
        self._scenes[key] = scene
        return scene

    def clear(self) -> None:
        """Forgets every scene."""
        self._scenes.clear()


def content_key(image: NDArray[np.uint8]) -> bytes:
    """Equal for equal pixels in equal shape."""
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


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
