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

"""One image and what the models made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.lmm.prefix import Prefix


class EncodedImage:
    """The pixels of one image, and the tensors computed from them so far.

    The tensors are filled in on first use, so that opening an image is free. They may be dropped at
    any time between two commands; the next command computes them again, with the same values.

    prefix: the language model's cache of the image. prefix_ids, keep_states: how that is encoded
    where a caller chose it. features: those of SAM's image encoder.
    """

    def __init__(self, pixels: NDArray[np.uint8], key: bytes) -> None:
        self.pixels = pixels
        self.key = key
        self.prefix: Prefix | None = None
        self.prefix_ids: tuple[int, ...] | None = None
        self.keep_states = False
        self.features: torch.Tensor | None = None

    @property
    def image_hw(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def is_encoded(self) -> bool:
        """Whether any tensors are kept."""
        return self.prefix is not None or self.features is not None

    @property
    def tensor_bytes(self) -> int:
        """Memory of the tensors, with the room that the cache keeps for text."""
        storages = [tensor.untyped_storage() for tensor in self._tensors()]
        return sum({s.data_ptr(): s.nbytes() for s in storages}.values())

    def drop_tensors(self) -> None:
        """Frees the tensors; the pixels stay."""
        self.prefix = self.features = None

    def _tensors(self) -> Iterator[torch.Tensor]:
        prefix, features = self.prefix, self.features  # another thread may drop them meanwhile
        if features is not None:
            yield features
        if prefix is None:
            return
        for tensor in (prefix.columns, prefix.states, prefix.positions):
            if tensor is not None:
                yield tensor
        for layer in prefix.cache.layers:
            for tensor in (layer.keys, layer.values):
                if isinstance(tensor, torch.Tensor):
                    yield tensor


def content_key(pixels: NDArray[np.uint8]) -> bytes:
    """Equal for equal pixels in equal shape."""
    digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
