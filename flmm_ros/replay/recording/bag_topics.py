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

"""Whether a recording has the topics that a scenario names, under types that can be used."""

from __future__ import annotations

from flmm_ros.replay.recording.bag import CDR, Bag, BagError
from flmm_ros.replay.scenario import Scenario

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (RAW, COMPRESSED)
_STRING, _CAMERA_INFO = "std_msgs/msg/String", "sensor_msgs/msg/CameraInfo"
_LABEL_INFO = "vision_msgs/msg/LabelInfo"


def image_topic(bag: Bag, scenario: Scenario) -> str:
    """The topic of the camera images.

    Raises:
        BagError: the one that the scenario names is not there, several could be meant, or it has no
            images.
    """
    named = scenario.topics.image
    if named:
        if named not in bag.topics or bag.topics[named].type not in IMAGE_TYPES:
            raise BagError(f"{bag.path}: expected images on {named}, got {bag.described_topics()}")
        return _with_images(bag, named)
    others = {scenario.topics.depth, scenario.truth.labels}
    images = [n for n, t in bag.topics.items() if t.type in IMAGE_TYPES and n not in others]
    if len(images) != 1:
        which = f"images on {', '.join(images)}, out of " if images else ""
        raise BagError(
            f"{bag.path}: expected one topic of images or its name in the scenario "
            f"(topics.image), got {which}{bag.described_topics()}"
        )
    return _with_images(bag, images[0])


def check_topics(bag: Bag, scenario: Scenario) -> None:
    """Whether the recording has all topics the scenario names.

    Raises:
        BagError: naming the one that is missing or of another type, and those that are there.
    """
    topics, truth = scenario.topics, scenario.truth
    used = {
        "topics.image": (image_topic(bag, scenario), IMAGE_TYPES),
        "topics.depth": (topics.depth, IMAGE_TYPES),
        "topics.camera_info": (topics.camera_info, (_CAMERA_INFO,)),
        "topics.command": (topics.command, (_STRING,)),
        "truth.labels": (truth.labels, (RAW,)),
        "truth.names": (truth.names, (_LABEL_INFO,)),
    }
    for key, (name, types) in used.items():
        if not name:
            continue
        if name not in bag.topics:
            there = ", ".join(bag.topics) or "none"
            raise BagError(
                f"{bag.path}: expected the topic {name} ({key} of the scenario), got {there}"
            )
        found = bag.topics[name]
        if found.type not in types:
            raise BagError(
                f"{bag.path}: {name} ({key} of the scenario): expected messages of "
                f"{' or '.join(types)}, got {found.type}; name another topic out of "
                f"{bag.described_topics()}"
            )
        if found.encoding != CDR:
            raise BagError(
                f"{bag.path}: {name}: expected messages of ROS 2 (encoding cdr), got "
                f"{found.encoding}"
            )
        bag.check_definition(name)


def _with_images(bag: Bag, name: str) -> str:
    if not bag.topics[name].count:
        raise BagError(f"{bag.path}: expected images on {name}, got {bag.described_topics()}")
    return name
