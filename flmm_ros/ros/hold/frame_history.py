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

"""Images that passed while objects were being grounded again, so that new masks can catch up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEPT = 8  # images at the tracker's working size: 3 MB


@dataclass(frozen=True)
class PassedFrame:
    """An image, `reduced`, and the masks [H, W] bool that were followed to it."""

    stamp_ns: int
    small: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]


class FrameHistory:
    """At most KEPT images, evenly spread over the time since `clear`."""

    def __init__(self) -> None:
        self._frames: list[PassedFrame] = []
        self._every = self._count = 1

    def clear(self) -> None:
        """Begins anew."""
        self._frames, self._every, self._count = [], 1, 0

    def add(self, frame: PassedFrame) -> None:
        """Keeps every first, second, fourth... image, the fewer the longer it lasts."""
        self._count += 1
        if (self._count - 1) % self._every:
            return
        self._frames.append(frame)
        if len(self._frames) > KEPT:
            self._frames, self._every = self._frames[::2], 2 * self._every

    def nearest(self, stamp_ns: int) -> PassedFrame | None:
        """The image nearest in time."""
        return min(self._frames, key=lambda f: abs(f.stamp_ns - stamp_ns), default=None)

    def since(self, stamp_ns: int) -> Sequence[PassedFrame]:
        """Those later than this, the earliest first."""
        return [frame for frame in self._frames if frame.stamp_ns > stamp_ns]
