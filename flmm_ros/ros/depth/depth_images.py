"""Which depth image and camera_info belong to a colour image: the ones nearest to its stamp.

Depth images are kept as the bytes that came, and decoded only for the command that needs one.
A command takes longer than the few depth images that are kept: it watches for the best match from
its start on, so that depth which comes later than its image is found as well.
Does not know about: models, masks, topics.
"""

from __future__ import annotations

import struct
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from flmm_ros.engine.errors import TargetError

KEPT_DEPTHS = 8
KEPT_INFOS = 30
WAIT_S = 0.5
ALIVE_S = 3.0
# Lenses change slowly, and small messages are the first to get lost between large ones; DDS sends
# a lost one again with its next heartbeat, up to three seconds later.
INFO_TOLERANCE_S = 5.0


@dataclass(frozen=True)
class DepthFrame:
    """A depth image (Image or CompressedImage) and the camera_info that belong to one image."""

    depth: Any
    info: CameraInfo


@dataclass(frozen=True)
class _Raw:
    """A serialized message and its stamp."""

    stamp_ns: int
    data: bytes


class DepthWatch:
    """Collects the best match for one colour image. Made by `DepthImages.watch`."""

    def __init__(self, header: Header, source: DepthImages) -> None:
        self._stamp_ns, self._frame_id = stamp_ns(header), header.frame_id
        self._source = source
        self._depth: _Raw | None = None
        self._info: CameraInfo | None = None

    def offer_depth(self, raw: _Raw) -> None:
        """Takes it if it is nearer than what is there."""
        if self._depth is None or self._off(raw.stamp_ns) < self._off(self._depth.stamp_ns):
            self._depth = raw

    def offer_info(self, info: CameraInfo) -> None:
        """Takes it if it is nearer than what is there; one without a stamp holds for all times."""
        if self._info is None or self._info_off(info) < self._info_off(self._info):
            self._info = info

    def match(self, tolerance_s: float, wait_s: float = WAIT_S) -> DepthFrame:
        """What belongs to the image.

        wait_s: for depth that comes later than its image; not where depth has stopped coming.

        Raises:
            TargetError: there is none, or the nearest is too far off in time.
        """
        with self._source.changed:
            self._source.changed.wait_for(lambda: self._is_settled(tolerance_s), wait_s)
            raw, info = self._depth, self._info
        if self._stamp_ns == 0:
            raise TargetError(
                "expected an image with a stamp, to find its depth; got stamp 0; does the camera "
                "driver (or the client that sent the image) set header.stamp?"
            )
        if raw is None:
            raise TargetError(
                "no depth image has come since the node was activated; remap depth:=... to the "
                "depth that is registered to the colour image"
            )
        if info is None:
            raise TargetError(
                "no camera_info has come since the node was activated; remap camera_info:=... to "
                "the colour camera's"
            )
        self._check("depth image", self._off(raw.stamp_ns), tolerance_s)
        self._check("camera_info", self._info_off(info), max(tolerance_s, INFO_TOLERANCE_S))
        depth = deserialize_message(raw.data, self._source.type)
        if depth.header.frame_id and self._frame_id and depth.header.frame_id != self._frame_id:
            raise TargetError(
                f"expected depth in the image's frame {self._frame_id!r}, got "
                f"{depth.header.frame_id!r}; remap depth to the topic that is registered to the "
                "colour image (aligned_depth_to_color, depth_registered)"
            )
        return DepthFrame(depth, info)

    def _is_settled(self, tolerance_s: float) -> bool:
        """Nothing better is to be expected: both are there, or nothing has come lately."""
        if self._stamp_ns == 0 or self._depth is None or not self._source.is_alive:
            return True
        has_info = self._info is not None and self._info_off(self._info) <= INFO_TOLERANCE_S * 1e9
        has_depth = self._off(self._depth.stamp_ns) <= tolerance_s * 1e9
        has_passed = self._source.newest_ns > self._stamp_ns + tolerance_s * 1e9
        return has_info and (has_depth or has_passed)

    def _off(self, other_ns: int) -> int:
        return abs(other_ns - self._stamp_ns)

    def _info_off(self, info: CameraInfo) -> int:
        other_ns = stamp_ns(info.header)
        return self._off(other_ns) if other_ns else 0

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
        self.type = kind
        self.changed = threading.Condition()
        self.count = 0  # of depth images
        self.newest_ns = 0
        self._arrived_s = -np.inf
        self._depths: deque[_Raw] = deque(maxlen=KEPT_DEPTHS)
        self._infos: deque[CameraInfo] = deque(maxlen=KEPT_INFOS)
        self._watches: weakref.WeakSet[DepthWatch] = weakref.WeakSet()

    def put_depth(self, data: bytes) -> None:
        """A serialized depth image, as a raw subscription gets it."""
        raw = _Raw(serialized_stamp_ns(data), data)
        with self.changed:
            self.count += 1
            self.newest_ns, self._arrived_s = raw.stamp_ns, time.monotonic()
            self._depths.append(raw)
            for watch in self._watches:
                watch.offer_depth(raw)
            self.changed.notify_all()

    @property
    def is_alive(self) -> bool:
        """Depth has come lately."""
        return time.monotonic() - self._arrived_s < ALIVE_S

    def put_info(self, info: CameraInfo) -> None:
        """A camera_info."""
        with self.changed:
            self._infos.append(info)
            for watch in self._watches:
                watch.offer_info(info)
            self.changed.notify_all()

    def clear(self) -> None:
        """Forgets what has come; watches keep what they have found."""
        with self.changed:
            self._depths.clear()
            self._infos.clear()

    def watch(self, header: Header) -> DepthWatch:
        """Begins to look for what belongs to the image with this header; ends with its owner."""
        watch = DepthWatch(header, self)
        with self.changed:
            for raw in self._depths:
                watch.offer_depth(raw)
            for info in self._infos:
                watch.offer_info(info)
            self._watches.add(watch)
        return watch


def stamp_ns(header: Header) -> int:
    """Nanoseconds of a header's stamp."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def serialized_stamp_ns(data: bytes) -> int:
    """The stamp of a serialized message that begins with a Header: behind CDR's four bytes, the
    second of which tells the byte order."""
    order = "<" if data[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", data, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)
