"""Puts together what belongs to one image: its truth, its depth, its camera, by stamp.

Label images, depth and intrinsics are recorded as messages of their own, before or after the image.
An image is given out when all that belongs to it has come, or when the recording is so far beyond
it that nothing will. Does not know about: commands, models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import ConfigError, ImageError
from flmm_ros.engine.masks import rle
from flmm_ros.replay.recording.bag import Bag, BagError, RecordedMessage
from flmm_ros.replay.scenario import Scenario, ScenarioTopics
from flmm_ros.ros.images.decoding import rgb_from_msg

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
LABEL_INFO = "vision_msgs/msg/LabelInfo"
HOLD_NS = 1_000_000_000  # how long an image waits for what belongs to it, in recorded time
_LABEL_DTYPES = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2"}

Masks = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class RecordedFrame:
    """One image of the recording and what belongs to it; messages are decoded when asked for.

    index: among the images of the recording. t_s: seconds of recording since the first image.
    truth: every thing's mask [H, W] by name; None = not known for this image.
    depth: sensor_msgs/Image and CameraInfo with their fields, where the recording has both.
    """

    index: int
    stamp_ns: int
    t_s: float
    message: RecordedMessage
    image: Any
    truth: Masks | None = None
    depth: Any = None
    camera_info: Any = None

    def rgb(self) -> NDArray[np.uint8]:
        """The picture, RGB uint8 [H, W, 3].

        Raises:
            ImageError: it cannot be decoded.
        """
        return rgb_from_msg(self.image)


def image_topic(bag: Bag, scenario: Scenario) -> str:
    """The topic of the camera images.

    Raises:
        BagError: the one that the scenario names is not there, or several could be meant.
    """
    topics, named = bag.topics, scenario.topics.image
    there = ", ".join(f"{n} ({t.type}, {t.count})" for n, t in topics.items()) or "no topics"
    there += f"; it is damaged: {bag.damage}" if bag.damage else ""
    if named:
        if named not in topics or topics[named].type not in IMAGE_TYPES:
            raise BagError(f"{bag.path}: expected images on {named}, got {there}")
        return named
    others = {scenario.topics.depth, scenario.truth.labels}
    images = [n for n, t in topics.items() if t.type in IMAGE_TYPES and n not in others]
    if len(images) != 1:
        raise BagError(
            f"{bag.path}: expected one topic of images or its name in the scenario "
            f"(topics.image), got {there}"
        )
    return images[0]


def check_topics(bag: Bag, scenario: Scenario) -> None:
    """Whether the recording has all topics the scenario names.

    Raises:
        BagError: naming the one that is missing, and those that are there.
    """
    image_topic(bag, scenario)
    t, truth = scenario.topics, scenario.truth
    for name in (t.depth, t.camera_info, t.command, truth.labels, truth.names):
        if name and name not in bag.topics:
            there = ", ".join(bag.topics) or "none"
            raise BagError(f"{bag.path}: expected the topic {name}, got {there}")


def frames(bag: Bag, scenario: Scenario) -> Iterator[RecordedFrame]:
    """Every image of a recording, in order, with what belongs to it."""
    return _Joiner(bag, scenario).frames()


class _Joiner:
    """The images that wait, and the newest messages of the other topics by stamp."""

    def __init__(self, bag: Bag, scenario: Scenario) -> None:
        check_topics(bag, scenario)
        self._bag, self._topics, self._source = bag, scenario.topics, scenario.truth
        self._image_topic = image_topic(bag, scenario)
        self._tolerance_ns = int(scenario.truth.tolerance_ms * 1e6)
        self._sidecar = load_sidecar(_beside(scenario)) if scenario.truth.sidecar else None
        self._others = [t for t in (scenario.topics.depth, scenario.topics.camera_info) if t]
        self._others += [scenario.truth.labels] if scenario.truth.labels else []
        self._kept: dict[str, dict[int, Any]] = {topic: {} for topic in self._others}
        self._names: dict[int, Mapping[int, str]] = {}
        self._waiting: list[tuple[RecordedMessage, Any]] = []
        self._count = 0
        self._first_ns = 0

    def frames(self) -> Iterator[RecordedFrame]:
        wanted = [self._image_topic, *self._others]
        wanted += [self._source.names] if self._source.names else []
        for message in self._bag.messages(wanted):
            try:
                content = self._bag.decode(message)
            except BagError:
                if message.topic == self._image_topic:
                    self._waiting.append((message, None))
                continue  # its image is judged without it, and counted as without truth
            if message.topic == self._image_topic:
                self._waiting.append((message, content))
            elif message.topic == self._source.names:
                names = {int(c.class_id): str(c.class_name) for c in content.class_map}
                self._names[stamp_of(content)] = names
            else:
                self._kept[message.topic][stamp_of(content)] = content
            yield from self._ready(message.log_ns)
        yield from self._ready(None)

    def _ready(self, now_ns: int | None) -> Iterator[RecordedFrame]:
        while self._waiting:
            message, image = self._waiting[0]
            is_late = now_ns is None or now_ns - message.log_ns > HOLD_NS
            if not is_late and image is not None and not self._is_complete(stamp_of(image)):
                return
            self._waiting.pop(0)
            yield self._frame(message, image)

    def _is_complete(self, stamp_ns: int) -> bool:
        return all(self._of(topic, stamp_ns) is not None for topic in self._others) and (
            not self._source.names or bool(self._names)
        )

    def _of(self, topic: str, stamp_ns: int) -> Any:
        """The message of a topic that has this stamp, or the nearest within the tolerance."""
        kept = self._kept.get(topic, {})
        if stamp_ns in kept or not kept:
            return kept.get(stamp_ns)
        nearest = min(kept, key=lambda other: abs(other - stamp_ns))
        return kept[nearest] if abs(nearest - stamp_ns) <= self._tolerance_ns else None

    def _frame(self, message: RecordedMessage, image: Any) -> RecordedFrame:
        if self._count == 0:
            self._first_ns = message.log_ns
        stamp_ns = message.log_ns if image is None else stamp_of(image) or message.log_ns
        frame = RecordedFrame(
            index=self._count,
            stamp_ns=stamp_ns,
            t_s=(message.log_ns - self._first_ns) / 1e9,
            message=message,
            image=image if image is not None else _Nothing(),
            truth=self._truth(stamp_ns),
            depth=self._of(self._topics.depth, stamp_ns),
            camera_info=self._of(self._topics.camera_info, stamp_ns),
        )
        self._count += 1
        for kept in self._kept.values():
            for old in [s for s in kept if s < stamp_ns - HOLD_NS]:
                del kept[old]
        return frame

    def _truth(self, stamp_ns: int) -> Masks | None:
        if self._sidecar is not None:
            return _nearest(self._sidecar, stamp_ns, self._tolerance_ns)
        labels = self._of(self._source.labels, stamp_ns)
        if labels is None:
            return None
        older = [stamp for stamp in self._names if stamp <= stamp_ns]
        names = self._names[max(older)] if older else self._source.fixed_names
        pixels = labels_from(labels)
        return {name: pixels == number for number, name in names.items()}


class _Nothing:
    """In the place of an image whose bytes are no image message: it cannot be decoded either."""

    height = width = step = is_bigendian = 0
    encoding = ""
    data = b""


def labels_from(msg: Any) -> NDArray[np.uint16]:
    """A label image [H, W].

    Raises:
        ImageError: not mono8 or mono16, or sizes that do not fit together.
    """
    dtype = _LABEL_DTYPES.get(msg.encoding)
    if dtype is None:
        raise ImageError(f"labels: expected mono8 or mono16, got {msg.encoding!r}")
    width_bytes = msg.width * int(dtype[1])
    if msg.step < width_bytes or len(msg.data) != msg.height * msg.step:
        raise ImageError(
            f"labels: expected {msg.height} rows of at least {width_bytes} bytes, got "
            f"{len(msg.data)} bytes with a step of {msg.step}"
        )
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :width_bytes]
    order = ">" if msg.is_bigendian else "<"
    return np.ascontiguousarray(rows).view(order + dtype).astype(np.uint16)


def stamp_of(msg: Any) -> int:
    """Nanoseconds of a message's header."""
    return int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec)


def load_sidecar(path: Path) -> dict[int, Masks]:
    """True masks by stamp, from COCO JSON whose images have a `stamp_ns`.

    Several annotations of one category in one image are one mask.

    Raises:
        ConfigError: missing, no JSON, or not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        categories = {c["id"]: str(c["name"]) for c in content["categories"]}
        stamps = {image["id"]: int(image["stamp_ns"]) for image in content["images"]}
        found: dict[int, dict[str, NDArray[np.bool_]]] = {s: {} for s in stamps.values()}
        for annotation in content["annotations"]:
            masks = found[stamps[annotation["image_id"]]]
            name, mask = (
                categories[annotation["category_id"]],
                rle.decode(annotation["segmentation"]),
            )
            masks[name] = masks[name] | mask if name in masks else mask
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected true masks (COCO JSON), nothing there") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected COCO JSON with images (id, stamp_ns), categories (id, name) and "
            f"annotations (image_id, category_id, segmentation as RLE), got {error!r}"
        ) from error
    return dict(found)


def _beside(scenario: Scenario) -> Path:
    return scenario.path.parent / scenario.truth.sidecar


def _nearest(by_stamp: Mapping[int, Masks], stamp_ns: int, tolerance_ns: int) -> Masks | None:
    if stamp_ns in by_stamp or not by_stamp:
        return by_stamp.get(stamp_ns)
    nearest = min(by_stamp, key=lambda other: abs(other - stamp_ns))
    return by_stamp[nearest] if abs(nearest - stamp_ns) <= tolerance_ns else None


def recorded_commands(bag: Bag, topics: ScenarioTopics) -> list[tuple[int, str]]:
    """Sentences that were said while recording: time of recording in ns, and text."""
    if not topics.command:
        return []
    return [(m.log_ns, str(bag.decode(m).data)) for m in bag.messages([topics.command])]
