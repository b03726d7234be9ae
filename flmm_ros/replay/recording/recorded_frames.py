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

"""Puts together what belongs to one image: its truth, its depth, its camera, by stamp.

Label images, depth and intrinsics are recorded as messages of their own, before or after the image.
An image is given out when all that belongs to it has come, or when the recording is so far beyond
it that nothing will. What an image should have and does not is said in `gaps`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from flmm_ros.engine.errors import ConfigError, ImageError
from flmm_ros.replay.recording.bag import Bag, BagError, RecordedMessage
from flmm_ros.replay.recording.bag_topics import check_topics, image_topic
from flmm_ros.replay.recording.matching import KEPT_NS, Moment, TopicMatcher, moment_of
from flmm_ros.replay.recording.true_masks import Masks, labels_from, load_sidecar
from flmm_ros.replay.scenario import Scenario, ScenarioTopics
from flmm_ros.ros.images.decoding import rgb_from_msg

TRUTH, DEPTH = "truth", "depth"  # what an image may lack


@dataclass(frozen=True)
class RecordedFrame:
    """One image of the recording and what belongs to it; messages are decoded when asked for.

    index: among the images of the recording. stamp_ns: of its header; of one with stamp 0, when it
    was recorded. t_s: seconds of recording since the first image. truth: every thing's mask [H, W]
    by name; None = not known for this image. depth: sensor_msgs/Image (or CompressedImage) and
    CameraInfo with their fields, where the recording has both. gaps: why it has no truth or no
    depth, where the scenario names topics of them.
    """

    index: int
    stamp_ns: int
    t_s: float
    message: RecordedMessage
    image: Any
    truth: Masks | None = None
    depth: Any = None
    camera_info: Any = None
    gaps: Mapping[str, str] = field(default_factory=dict)

    def rgb(self) -> NDArray[np.uint8]:
        """The picture, RGB uint8 [H, W, 3].

        Raises:
            ImageError: it cannot be decoded.
        """
        return rgb_from_msg(self.image)


def frames(bag: Bag, scenario: Scenario) -> Iterator[RecordedFrame]:
    """Every image of a recording, in order, with what belongs to it.

    Raises:
        BagError: the recording has not what the scenario names.
    """
    return _FrameAssembler(bag, scenario).frames()


class _FrameAssembler:
    """The images that wait, and the newest messages of the other topics."""

    def __init__(self, bag: Bag, scenario: Scenario) -> None:
        check_topics(bag, scenario)
        topics, truth = scenario.topics, scenario.truth
        self._bag, self._topics, self._source = bag, topics, truth
        self._image_topic = image_topic(bag, scenario)
        tolerance_ns, depth_ns = (
            round(ms * 1e6) for ms in (truth.tolerance_ms, topics.depth_tolerance_ms)
        )
        self._sidecar: TopicMatcher | None = None
        if truth.sidecar:
            path = scenario.path.parent / truth.sidecar
            self._sidecar = TopicMatcher(truth.sidecar, tolerance_ns)
            for stamp_ns, masks in load_sidecar(path).items():
                self._sidecar.put(Moment(stamp_ns, stamp_ns), masks)
        self._matchers = {
            topic: TopicMatcher(topic, limit_ns, is_static=topic == topics.camera_info)
            for topic, limit_ns in (
                (topics.depth, depth_ns),
                (topics.camera_info, depth_ns),
                (truth.labels, tolerance_ns),
            )
            if topic
        }
        self._names: list[tuple[Moment, Mapping[int, str]]] = []
        self._waiting: list[tuple[RecordedMessage, Any]] = []
        self._broken: dict[str, str] = {}  # by topic: why a message could not be decoded
        self._count = 0
        self._first_ns = 0

    def frames(self) -> Iterator[RecordedFrame]:
        wanted = {self._image_topic, *self._matchers, self._source.names} - {""}
        for message in self._bag.messages(wanted):
            self._take(message)
            yield from self._ready(message.log_ns)
        yield from self._ready(None)

    def _take(self, message: RecordedMessage) -> None:
        is_image = message.topic == self._image_topic
        try:
            content = self._bag.decode(message)
        except BagError as error:
            self._broken[message.topic] = str(error)
            if is_image:
                self._waiting.append((message, _UnreadableImage()))
            return
        if is_image:
            self._waiting.append((message, content))
        elif message.topic == self._source.names:
            names = {int(c.class_id): str(c.class_name) for c in content.class_map}
            self._names.append((moment_of(content, message.log_ns), names))
        if message.topic in self._matchers:
            self._matchers[message.topic].put(moment_of(content, message.log_ns), content)

    def _ready(self, now_ns: int | None) -> Iterator[RecordedFrame]:
        while self._waiting:
            message, image = self._waiting[0]
            is_late = now_ns is None or now_ns - message.log_ns > KEPT_NS
            if not is_late and not self._is_complete(_moment(message, image)):
                return
            self._waiting.pop(0)
            yield self._frame(message, image)

    def _is_complete(self, image: Moment) -> bool:
        return all(m.is_settled(image) for m in self._matchers.values()) and (
            not self._source.names or bool(self._names)
        )

    def _frame(self, message: RecordedMessage, image: Any) -> RecordedFrame:
        if self._count == 0:
            self._first_ns = message.log_ns
        moment, gaps = _moment(message, image), dict[str, str]()
        truth = self._truth(moment, image, gaps)
        depth, info = self._depth(moment, gaps)
        frame = RecordedFrame(
            index=self._count,
            stamp_ns=moment.stamp_ns or message.log_ns,
            t_s=(message.log_ns - self._first_ns) / 1e9,
            message=message,
            image=image,
            truth=truth,
            depth=depth,
            camera_info=info,
            gaps=gaps,
        )
        self._count += 1
        for matcher in self._matchers.values():
            matcher.forget(moment)
        return frame

    def _depth(self, image: Moment, gaps: dict[str, str]) -> tuple[Any, Any]:
        """Depth and camera_info, both or none: one alone gives no place."""
        if not (self._topics.depth and self._topics.camera_info):
            return None, None
        found = []
        for topic in (self._topics.depth, self._topics.camera_info):
            found.append(self._matchers[topic].match(image))
            if found[-1] is None:
                gaps.setdefault(DEPTH, self._why_none(topic, image))
        return (None, None) if DEPTH in gaps else (found[0], found[1])

    def _truth(self, image: Moment, content: Any, gaps: dict[str, str]) -> Masks | None:
        masks, why = None, ""
        if self._sidecar is not None:
            stamped = Moment(image.stamp_ns or image.log_ns, image.log_ns)
            masks = self._sidecar.match(stamped)
            why = "" if masks is not None else self._sidecar.why_none(stamped)
        elif self._source.labels:
            masks, why = self._labelled(image)
        if masks and not why:
            why = _other_size(masks, content)
        if why:
            gaps[TRUTH] = why
        return None if why else masks

    def _labelled(self, image: Moment) -> tuple[Masks | None, str]:
        """True masks from the label image, or why there are none."""
        topic = self._source.labels
        labels = self._matchers[topic].match(image)
        if labels is None:
            return None, self._why_none(topic, image)
        names = next((n for m, n in reversed(self._names) if m.after_ns(image) <= 0), None)
        if names is None:
            names = self._source.fixed_names
        if not names:
            return None, (
                f"expected names of the labels on {self._source.names or 'truth.names'} before it, "
                "got none; set truth.names or truth.fixed_names"
            )
        try:
            pixels = labels_from(labels)
        except ImageError as error:
            return None, f"{topic}: {error}"
        return {name: pixels == number for number, name in names.items()}, ""

    def _why_none(self, topic: str, image: Moment) -> str:
        broken = f"; {self._broken[topic]}" if topic in self._broken else ""
        return self._matchers[topic].why_none(image) + broken


def _moment(message: RecordedMessage, image: Any) -> Moment:
    if isinstance(image, _UnreadableImage):
        return Moment(0, message.log_ns)
    return moment_of(image, message.log_ns)


class _UnreadableImage:
    """In the place of an image whose bytes are no image message: it cannot be decoded either."""

    height = width = step = is_bigendian = 0
    encoding = ""
    data = b""


def _other_size(masks: Masks, image: Any) -> str:
    """Why masks cannot be those of an image: their size; empty where it is the same."""
    size_hw = _size_of(image)
    for name, mask in masks.items():
        if size_hw is not None and mask.shape != size_hw:
            return (
                f"expected true masks of {size_hw[1]}x{size_hw[0]} pixels like the image, got "
                f"{mask.shape[1]}x{mask.shape[0]} for {name!r}"
            )
    return ""


def _size_of(image: Any) -> tuple[int, int] | None:
    """Height and width in pixels; None: it is no picture, which its decoder says."""
    if not hasattr(image, "format"):
        return (image.height, image.width) if image.height and image.width else None
    try:
        with PillowImage.open(io.BytesIO(bytes(image.data))) as picture:  # reads the header only
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return None


def recorded_commands(bag: Bag, topics: ScenarioTopics) -> list[tuple[int, str]]:
    """Sentences that were said while recording: time of recording in ns, and text.

    Raises:
        ConfigError: one of them is no text.
    """
    if not topics.command:
        return []
    try:
        return [(m.log_ns, str(bag.decode(m).data)) for m in bag.messages([topics.command])]
    except BagError as error:
        raise ConfigError(f"{bag.path}: {error}; name no topics.command in the scenario") from error
