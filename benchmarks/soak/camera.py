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

"""The soak's camera and clock: numbered images at a rate, on a clock that can be set back.

The images are scenes of the tabletop, rendered once; each has its number in its pixels and the
simulated time in its header.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from benchmarks.soak.event_log import EventLog, PublishedImage
from benchmarks.soak.image_number import with_number
from flmm_ros.ros.messages.conversions import image_to_msg

CLOCK_PERIOD_S = 0.05
IMAGES_PER_SCENE = 20
FRAME_ID = "camera_color_optical_frame"


class SimulatedClock:
    """Seconds that pass as real ones do, and can be set back."""

    def __init__(self) -> None:
        self._offset_s = 1000.0 - time.monotonic()
        self._lock = threading.Lock()
        self.jumps = 0

    def read(self) -> tuple[int, int]:
        """Nanoseconds now, and how often it was set back before."""
        with self._lock:
            return int((time.monotonic() + self._offset_s) * 1e9), self.jumps

    def set_back(self, by_s: float) -> None:
        """Repeats the last `by_s` seconds."""
        with self._lock:
            self._offset_s -= by_s
            self.jumps += 1


class SoakCamera:
    """Publishes images on `image` and the time on /clock, on a thread of its own.

    Args:
        pictures: RGB uint8 [H, W, 3], shown in turn.
    """

    def __init__(
        self, node: Node, pictures: Sequence[NDArray[np.uint8]], rate_hz: float, log: EventLog
    ) -> None:
        self._namespace = node.get_namespace()
        self._pictures, self._log = pictures, log
        self._period_s = 1.0 / rate_hz
        self.clock = SimulatedClock()
        self._ticks = node.create_publisher(Clock, "/clock", 10)
        self._lock = threading.Lock()
        self._publisher: Any = None
        self._frozen: Any = None
        self._driver: Node | None = None
        self._number = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="soak-camera", daemon=True)
        self.start()
        self._thread.start()

    def start(
        self, reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE, *, kind: Any = Image
    ) -> None:
        """Offers the topic, in place of the present publisher: as a restarted driver would, with a
        DDS participant of its own."""
        self.stop()
        context = Context()
        context.init()
        driver = Node("camera", namespace=self._namespace, context=context)
        profile = QoSProfile(depth=2, reliability=reliability)
        with self._lock:
            self._driver = driver
            self._publisher = driver.create_publisher(kind, "image", profile)

    def stop(self) -> None:
        """Leaves the topic."""
        with self._lock:
            self._stop()

    def freeze(self) -> None:
        """Stops publishing but stays on the topic, as a driver that hangs."""
        with self._lock:
            self._publisher, self._frozen = None, self._publisher

    def thaw(self) -> None:
        """Ends `freeze`."""
        with self._lock:
            self._publisher, self._frozen = self._frozen, None

    def _stop(self) -> None:
        self._publisher = self._frozen = None
        if self._driver is not None:
            self._driver.destroy_node()
            self._driver.context.shutdown()
            self._driver = None

    def close(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self._thread.join()
        self.stop()

    def _loop(self) -> None:
        next_picture_s = next_tick_s = time.monotonic()
        while not self._is_over.is_set():
            now_s = time.monotonic()
            if now_s >= next_tick_s:
                next_tick_s = max(next_tick_s + CLOCK_PERIOD_S, now_s)
                self._ticks.publish(Clock(clock=_to_time(self.clock.read()[0])))
            if now_s >= next_picture_s:
                next_picture_s = max(next_picture_s + self._period_s, now_s)
                with self._lock:
                    self._publish()
            self._is_over.wait(max(0.0, min(next_picture_s, next_tick_s) - time.monotonic()))

    def _publish(self) -> None:
        if self._publisher is None or self._publisher.msg_type is CompressedImage:
            return
        self._number += 1
        picture = self._pictures[self._number // IMAGES_PER_SCENE % len(self._pictures)]
        stamp_ns, jumps = self.clock.read()
        header = Header(stamp=_to_time(stamp_ns), frame_id=FRAME_ID)
        msg = image_to_msg(with_number(picture, self._number), header)
        self._log.record_image(PublishedImage(self._number, stamp_ns, time.monotonic(), jumps))
        self._publisher.publish(msg)


def _to_time(nanoseconds: int) -> Any:
    stamp = Header().stamp
    stamp.sec, stamp.nanosec = divmod(nanoseconds, 1_000_000_000)
    return stamp
