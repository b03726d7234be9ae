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

"""A number written into an image's own pixels: it tells which image an answer was computed from,
whatever the answer's header says.

The first two pixels of the first row hold a mark and 32 bits; an answer names the number at the end
of its text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MARK = (0xA5, 0x5A)
MAX_NUMBER = 2**32 - 1
_SUFFIX = re.compile(r" \[frame (\d+) opened at (\d+\.\d+)\]$")


@dataclass(frozen=True)
class OpenedImage:
    """Which image an answer is about, and when (monotonic seconds) the engine opened it."""

    number: int
    opened_s: float

    def __str__(self) -> str:
        return f" [frame {self.number} opened at {self.opened_s:.6f}]"

    @classmethod
    def of(cls, answer: str) -> OpenedImage | None:
        """What an answer's text says, None where it says nothing."""
        found = _SUFFIX.search(answer)
        return cls(int(found[1]), float(found[2])) if found else None


def with_number(rgb: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A copy of an image [H, W, 3] that holds the number.

    Raises:
        ValueError: the number is not in 0..MAX_NUMBER.
    """
    if not 0 <= number <= MAX_NUMBER:
        raise ValueError(f"frame number: expected 0..{MAX_NUMBER}, got {number}")
    marked = rgb.copy()
    marked[0, :2] = np.frombuffer(bytes(_MARK) + number.to_bytes(4, "big"), np.uint8).reshape(2, 3)
    return marked


def number_of(rgb: NDArray[np.uint8]) -> int | None:
    """The number in an image [H, W, 3]; None where it holds none."""
    head = bytes(rgb[0, :2].ravel())
    return int.from_bytes(head[2:], "big") if head[:2] == bytes(_MARK) else None
