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

"""Recordings damaged anywhere: what stands before the damage, or why nothing can be read."""

import numpy as np
import pytest
from hypothesis import strategies as st
from malformed import inputs, understood
from rosbags.rosbag2 import StoragePlugin, Writer
from test_images import damaged

from flmm_ros.replay.recording.bag import Bag, BagError, RecordedMessage
from flmm_ros.replay.recording.message_types import message_types

STRING, IMAGE = "std_msgs/msg/String", "sensor_msgs/msg/Image"


def messages():
    types = message_types()
    make = types.types
    stamp = make["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
    header = make["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
    pixels = np.arange(48, dtype=np.uint8)
    image = make[IMAGE](header, 4, 4, "rgb8", 0, 12, pixels)
    text = make[STRING](data="the red mug")
    return [
        RecordedMessage("/command", STRING, 10, bytes(types.serialize_cdr(text, STRING))),
        RecordedMessage("/image", IMAGE, 20, bytes(types.serialize_cdr(image, IMAGE))),
    ]


MESSAGES = messages()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """The bytes of one small recording in each storage, and where to put damaged ones."""
    folder = tmp_path_factory.mktemp("recordings")
    wholes = {}
    for storage, suffix in ((StoragePlugin.MCAP, ".mcap"), (StoragePlugin.SQLITE3, ".db3")):
        path = folder / f"whole{suffix}"
        with Writer(path, version=9, storage_plugin=storage) as writer:
            types = message_types()
            for message in MESSAGES * 3:
                names = [c for c in writer.connections if c.topic == message.topic]
                connection = (
                    names[0]
                    if names
                    else writer.add_connection(message.topic, message.type, typestore=types)
                )
                writer.write(connection, message.log_ns, message.data)
        wholes[suffix] = next(path.glob(f"*{suffix}")).read_bytes()
    return folder, wholes


def test_recordings(recordings):
    folder, wholes = recordings

    @inputs("recordings", st.sampled_from(sorted(wholes)), st.data())
    def read(suffix, data):
        path = folder / f"damaged{suffix}"
        path.write_bytes(data.draw(damaged([wholes[suffix]])))
        bag = understood(Bag, path)
        if bag is None:
            return
        with bag:
            found = list(bag.messages(("/command", "/image")))
            for message in found:
                understood(bag.decode, message)
        assert len(found) <= 6 or bag.damage

    read()


@pytest.fixture(scope="module")
def bag(recordings):
    folder, wholes = recordings
    path = folder / "good.mcap"
    path.write_bytes(wholes[".mcap"])
    with Bag(path) as bag:
        assert [m.type for m in bag.messages(("/command", "/image"))].count(STRING) == 3
        yield bag


def test_recorded_messages(bag):
    @inputs(
        "recorded messages",
        damaged([message.data for message in MESSAGES]),
        st.sampled_from([STRING, IMAGE, "std_msgs/msg/Header", "foo_msgs/msg/Bar"]),
    )
    def decode(data, kind):
        understood(bag.decode, RecordedMessage("/topic", kind, 0, data))

    decode()
    with pytest.raises(BagError, match="/topic: expected a foo_msgs"):
        bag.decode(RecordedMessage("/topic", "foo_msgs/msg/Bar", 0, MESSAGES[0].data))
