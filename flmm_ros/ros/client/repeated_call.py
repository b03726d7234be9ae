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

"""A service call that is made again while no answer comes.

A service that has only just been discovered may not know yet where to send its answer to, and the
answer is lost: DDS discovers each way by itself. So whatever may be asked twice should be.
"""

from __future__ import annotations

import time
from typing import Any

AGAIN_S = 3.0


class RepeatedCall:
    """One question to a service; must mean the same when it is asked twice.

    client: rclpy's client of the service, spun by somebody else.
    """

    def __init__(self, client: Any, request: Any) -> None:
        self._client, self._request = client, request
        self._futures: list[Any] = []
        self._next_s = 0.0

    def answer(self) -> Any | None:
        """The service's response, or None so far. Asks, or asks again, where it is time to."""
        for future in self._futures:
            if future.done():
                return future.result()
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + AGAIN_S
            self._futures.append(self._client.call_async(self._request))
        return None
