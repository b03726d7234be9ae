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

"""Which depth image and camera_info belong to a colour image: the ones nearest to its stamp.

Both are kept as the bytes that came, and read only for the command that needs one. A command takes
longer than the few depth images that are kept: it watches for the best match from its start on, so
that depth which comes later than its image is found as well.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from flmm_ros.engine.errors import TargetError
from flmm_ros.ros.images.adaptive_subscription import Arrival
from flmm_ros.ros.images.serialized_image import image_from_bytes, stamp_of_bytes

KEPT_DEPTHS = 8
KEPT_INFOS = 30
WAIT_S = 0.5
ALIVE_S = 3.0
# Lenses change slowly, and small messages are the first to get lost between large ones; DDS sends
# a lost one again with its next heartbeat, up to three seconds later.
INFO_TOLERANCE_S = 5.0
LIKE_THE_IMAGE_NS = 1_000_000  # some drivers round a stamp to microseconds on its way


@dataclass(frozen=True)
class DepthFrame:
    """A depth image (Image or CompressedImage) and the camera_info that belong to one image."""

    depth: Any
    info: CameraInfo


@dataclass(frozen=True)
class _Stamped:
    """A message that is read when it is needed, and its stamp. number: in order of arrival."""

    stamp_ns: int
    number: int
    load: Callable[[], Any]


@dataclass(frozen=True)
class DepthSource:
    """Where depth and camera_info come from.

    fetch: puts what waits in the middleware. wake: watches have begun to look, so that the
    executor takes what comes. has_publisher: somebody publishes depth.
    """

    fetch: Callable[[], None] = lambda: None
    wake: Callable[[], None] = lambda: None
    has_publisher: Callable[[], bool] = lambda: False


class DepthWatch:
    """Collects the best match for one colour image. Made by `DepthImages.watch`."""

    def __init__(self, header: Header, images: DepthImages) -> None:
        self._stamp_ns, self._frame_id = stamp_ns(header), header.frame_id
        self._images = images
        self._depth: _Stamped | None = None
        self._info: _Stamped | None = None
        self._begun_s, self._is_matching = time.monotonic(), False

    def offer_depth(self, depth: _Stamped) -> None:
        """Takes it if it is nearer than what is there."""
        if self._depth is None or self._off(depth) < self._off(self._depth):
            self._depth = depth

    def offer_info(self, info: _Stamped) -> None:
        """Takes it if it fits better than what is there. One stamped like the image fits best; then
        the newest without a stamp, which holds for all times; then the nearest."""
        if self._info is None or self._info_rank(info) <= self._info_rank(self._info):
            self._info = info

    def match(self, tolerance_s: float, wait_s: float = WAIT_S) -> DepthFrame:
        """What belongs to the image.

        wait_s: for depth that comes later than its image, or has only begun to come; not where it
        has stopped coming.

        Raises:
            TargetError: there is none, or the nearest is too far off in time.
        """
        self._is_matching = True
        try:
            self._images.look()
            with self._images.changed:
                self._images.changed.wait_for(lambda: self._is_settled(tolerance_s), wait_s)
                depth, info = self._depth, self._info
        finally:
            self._is_matching = False
        if self._stamp_ns == 0:
            raise TargetError(
                "expected an image with a stamp, to find its depth; got stamp 0; does the camera "
                "driver (or the client that sent the image) set header.stamp?"
            )
        if depth is None:
            raise TargetError(
                "no depth image has come since the node was activated; remap depth:=... to the "
                "depth that is registered to the colour image"
            )
        if info is None:
            raise TargetError(
                "no camera_info has come since the node was activated; remap camera_info:=... to "
                "the colour camera's"
            )
        self._check("depth image", self._off(depth), tolerance_s)
        self._check("camera_info", self._info_off(info), max(tolerance_s, INFO_TOLERANCE_S))
        found = DepthFrame(depth.load(), info.load())
        frame_id = found.depth.header.frame_id
        if frame_id and self._frame_id and frame_id != self._frame_id:
            raise TargetError(
                f"expected depth in the image's frame {self._frame_id!r}, got "
                f"{frame_id!r}; remap depth to the topic that is registered to the "
                "colour image (aligned_depth_to_color, depth_registered)"
            )
        return found

    @property
    def is_looking(self) -> bool:
        """Something better may still come. Asked by the executor before each wait."""
        if self._stamp_ns == 0:
            return False
        if self._is_matching:
            return True
        if time.monotonic() - self._begun_s > ALIVE_S:
            return False
        depth, info = self._depth, self._info
        if depth is None or info is None:
            return True
        return not (self._off(depth) == 0 or self._images.newest_ns > self._stamp_ns)

    def _is_settled(self, tolerance_s: float) -> bool:
        """Nothing better is to be expected: both are there, or nothing has come lately."""
        if self._stamp_ns == 0:
            return True
        if self._depth is None:  # the first one may be on its way
            return not self._images.has_publisher
        if not self._images.is_alive:
            return True
        has_info = self._info is not None and self._info_off(self._info) <= INFO_TOLERANCE_S * 1e9
        has_depth = self._off(self._depth) <= tolerance_s * 1e9
        has_passed = self._images.newest_ns > self._stamp_ns + tolerance_s * 1e9
        return has_info and (has_depth or has_passed)

    def _off(self, other: _Stamped) -> int:
        return abs(other.stamp_ns - self._stamp_ns)

    def _info_off(self, info: _Stamped) -> int:
        return self._off(info) if info.stamp_ns else 0

    def _info_rank(self, info: _Stamped) -> tuple[int, int]:
        """The lowest one is best."""
        if not info.stamp_ns:
            return 1, -info.number
        off_ns = self._off(info)
        return (0, off_ns) if off_ns <= LIKE_THE_IMAGE_NS else (2, off_ns)

    def _check(self, what: str, off_ns: int, tolerance_s: float) -> None:
        if off_ns > tolerance_s * 1e9:
            raise TargetError(
                f"expected a {what} within {tolerance_s:g} s of the image (see the parameter "
                f"depth_tolerance), the nearest is {off_ns * 1e-9:.3f} s off; does it come, and "
                "with the same clock?"
            )


class DepthImages:
    """The newest depth images and camera_infos of one camera. Safe to use from several threads.

    kind: sensor_msgs Image or CompressedImage.
    """

    def __init__(self, kind: type[Any] = Image) -> None:
        self._kind = kind
        self.changed = threading.Condition()
        self.newest_ns = 0
        self._count = 0  # of depth images
        self._number = 0  # of all messages
        self._source = DepthSource()
        self._arrived_s = -np.inf
        self._depths: deque[_Stamped] = deque(maxlen=KEPT_DEPTHS)
        self._infos: deque[_Stamped] = deque(maxlen=KEPT_INFOS)
        self._watches: weakref.WeakSet[DepthWatch] = weakref.WeakSet()

    def connect(self, source: DepthSource) -> None:
        """Fetches from there whenever somebody looks."""
        self._source = source

    def put_depth(self, data: bytes, arrival: Arrival | None = None) -> None:
        """A serialized depth image; arrival: now, where it is not given."""
        arrived_s = time.monotonic() if arrival is None else arrival.at_s
        with self.changed:
            depth = self._stamped(stamp_of_bytes(data), lambda: image_from_bytes(data, self._kind))
            self._count += 1
            self.newest_ns, self._arrived_s = depth.stamp_ns, arrived_s
            self._depths.append(depth)
            for watch in self._watches:
                watch.offer_depth(depth)
            self.changed.notify_all()

    def put_info(self, info: CameraInfo) -> None:
        """A camera_info."""
        self._put_info(stamp_ns(info.header), lambda: info)

    def put_serialized_info(self, data: bytes, _: Arrival) -> None:
        """The same for the bytes of a message."""
        self._put_info(stamp_of_bytes(data), lambda: deserialize_message(data, CameraInfo))

    def _put_info(self, at_ns: int, load: Callable[[], CameraInfo]) -> None:
        with self.changed:
            info = self._stamped(at_ns, load)
            self._infos.append(info)
            for watch in self._watches:
                watch.offer_info(info)
            self.changed.notify_all()

    def _stamped(self, at_ns: int, load: Callable[[], Any]) -> _Stamped:
        self._number += 1
        return _Stamped(at_ns, self._number, load)

    def look(self) -> None:
        """Fetches what waits in the middleware, and lets the executor take what comes next."""
        self._source.fetch()
        self._source.wake()

    @property
    def count(self) -> int:
        """Depth images that were taken so far."""
        self._source.fetch()
        return self._count

    @property
    def is_alive(self) -> bool:
        """Depth has come lately."""
        return time.monotonic() - self._arrived_s < ALIVE_S

    @property
    def has_publisher(self) -> bool:
        """Somebody publishes depth."""
        return self._source.has_publisher()

    def is_wanted(self) -> bool:
        """A watch still looks: every message counts."""
        with self.changed:
            return any(watch.is_looking for watch in self._watches)

    def clear(self) -> None:
        """Forgets what has come; watches keep what they have found."""
        self._source.fetch()  # what waits in the middleware is as old
        with self.changed:
            self._depths.clear()
            self._infos.clear()

    def watch(self, header: Header) -> DepthWatch:
        """Begins to look for what belongs to the image with this header; ends with its owner."""
        watch = DepthWatch(header, self)
        self._source.fetch()
        with self.changed:
            for depth in self._depths:
                watch.offer_depth(depth)
            for info in self._infos:
                watch.offer_info(info)
            self._watches.add(watch)
        self._source.wake()
        return watch


def stamp_ns(header: Header) -> int:
    """Nanoseconds of a header's stamp."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
