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

"""The live picture: the newest camera image as JPEG, encoded once for everybody who waits for one.

A page asks for the next picture when it has shown the last, so a slow telephone gets fewer and
never old ones. Nothing is encoded while nobody waits."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor

from flmm_ros.console.answers import jpeg_of_msg, live_frame
from flmm_ros.console.node.frames import Frame, Frames
from flmm_ros.engine.errors import ImageError

_log = logging.getLogger(__name__)


class LiveView:
    """Encodes at most `rate_hz` pictures a second.

    Args:
        executor: where the encoding is done, away from the event loop.
    """

    def __init__(self, frames: Frames, executor: Executor, rate_hz: float) -> None:
        self._frames, self._executor, self._period_s = frames, executor, 1.0 / rate_hz
        self._came = asyncio.Event()
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[bytes]] = []
        self._shown = 0  # number of the last frame that was encoded
        self._problem = ""

    def on_frame(self, frame: Frame) -> None:
        """The camera has a new image."""
        if frame.number > self._shown:
            self._came.set()

    async def next(self) -> bytes:
        """The next picture, for a socket."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        return await future

    async def run(self) -> None:
        """Serves those who wait, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            await self._came.wait()
            self._came.clear()
            frame = self._frames.newest()
            if frame is None or frame.number <= self._shown:
                continue
            start_s = loop.time()
            self._shown = frame.number
            data = await loop.run_in_executor(self._executor, self._encode, frame)
            if data:
                self._serve(data)
            await asyncio.sleep(max(0.0, self._period_s - (loop.time() - start_s)))

    def _serve(self, data: bytes) -> None:
        waiting, self._waiting = self._waiting, []
        self._wanted.clear()
        for future in waiting:
            if not future.done():
                future.set_result(data)

    def _encode(self, frame: Frame) -> bytes:
        """Nothing for an image that cannot be decoded; why is logged once."""
        try:
            jpeg = jpeg_of_msg(frame.msg)
        except ImageError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                _log.warning("live picture: %s", error)
            return b""
        return live_frame(jpeg, self._frames.rate_hz)
