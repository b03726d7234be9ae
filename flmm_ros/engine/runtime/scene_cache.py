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

"""Which images stay encoded: one bound for all scenes of a model.

Encoding an image costs most of a command's time, asking about it again costs little. So the tensors
of the newest few images are kept, whoever holds their scenes: a camera's last image, conversations,
a caller's own. The longest unused image gives its tensors up first; its scene stays usable, and is
encoded again when it is asked.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.runtime.encoded_image import EncodedImage, content_key

T = TypeVar("T")


@dataclass(frozen=True)
class SceneMemory:
    """Images that are open now, and their memory.

    open_images: in the cache, or held by a conversation or a caller. encoded_images: those of them
    whose tensors are kept, at most `encoded_limit`. pixel_bytes are in main memory, tensor_bytes on
    the model's device.
    """

    open_images: int
    encoded_images: int
    encoded_limit: int
    pixel_bytes: int
    tensor_bytes: int


class SceneCache(Generic[T]):
    """The newest scenes by image content, and the tensors of the images that were used last.

    size: how many images are remembered and stay encoded. 0: none is remembered, and only the one
    that is being used is encoded.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.encoded_limit = max(1, size)
        self._newest: OrderedDict[bytes, tuple[EncodedImage, T]] = OrderedDict()
        self._open: WeakValueDictionary[bytes, EncodedImage] = WeakValueDictionary()
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._newest)

    def open(self, pixels: NDArray[np.uint8], make: Callable[[EncodedImage], T]) -> T:
        """The scene of this image, made now if it is not remembered.

        An image that only a conversation holds any more is shared with the new scene.
        """
        if self.size == 0:
            return make(self.add(pixels))
        key = content_key(pixels)
        remembered = self._newest.get(key)
        if remembered is not None:
            self._newest.move_to_end(key)
            return remembered[1]
        image = self._open.get(key) or self.add(pixels, key)
        scene = make(image)
        self.use(image, scene)
        return scene

    def add(self, pixels: NDArray[np.uint8], key: bytes | None = None) -> EncodedImage:
        """An image that counts, and is not remembered by its content where it has no key."""
        image = EncodedImage(pixels, key or b"unnamed %d" % next(self._count))
        self._open[image.key] = image
        return image

    def use(self, image: EncodedImage, scene: T) -> None:
        """Makes this the newest; before it is encoded, the longest unused give up their tensors."""
        if self.size == 0:
            self._drop_all_but(image)
            return
        self._newest.pop(image.key, None)
        while len(self._newest) >= self.size:
            _, (oldest, _) = self._newest.popitem(last=False)
            oldest.drop_tensors()
        self._newest[image.key] = (image, scene)

    def forget(self, image: EncodedImage) -> None:
        """Drops an image before its turn."""
        self._newest.pop(image.key, None)
        image.drop_tensors()

    def clear(self) -> None:
        """Forgets every scene, and drops the tensors of those that somebody still holds."""
        self._newest.clear()
        self._drop_all_but(None)

    def memory(self) -> SceneMemory:
        """What is open now. May be asked by any thread."""
        images = self._open_images()
        return SceneMemory(
            open_images=len(images),
            encoded_images=sum(image.is_encoded for image in images),
            encoded_limit=self.encoded_limit,
            pixel_bytes=sum(image.pixels.nbytes for image in images),
            tensor_bytes=sum(image.tensor_bytes for image in images),
        )

    def _open_images(self) -> list[EncodedImage]:
        # valuerefs copies at once: another thread may open or free images meanwhile
        return [image for ref in self._open.valuerefs() if (image := ref()) is not None]

    def _drop_all_but(self, kept: EncodedImage | None) -> None:
        for image in self._open_images():
            if image is not kept:
                image.drop_tensors()
