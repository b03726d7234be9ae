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

"""The message types that recordings are read and written with."""

from __future__ import annotations

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

# Of vision_msgs, which rosbags does not know: what the numbers of a label image mean.
_LABEL_TYPES = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": (
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
    ),
}


def message_types() -> Typestore:
    """All of ROS 2's common types, and those of label images."""
    store = get_typestore(Stores.LATEST)
    for name, text in _LABEL_TYPES.items():
        store.register(get_types_from_msg(text, name))
    return store


def definition_problem(store: Typestore, kind: str, definition: str) -> str:
    """How a type was defined where it was recorded, where that differs from `store`; else empty.

    definition: the text of the recorder (.msg), with the types it uses behind it. One that cannot
    be read says nothing: the messages are then decoded as the type that they are said to be.
    """
    try:
        recorded = get_types_from_msg(definition, kind) if definition else {}
    except Exception:  # noqa: BLE001 - a grammar's parser, which raises anything
        return ""
    for name, (_, fields) in recorded.items():
        if name not in store.fielddefs:
            continue
        there, known = dict(fields), dict(store.fielddefs[name][1])
        if there != known:
            differing = [f for f in {**known, **there} if there.get(f) != known.get(f)]
            return (
                f"expected {name} with the fields {', '.join(known)}, got a recording in which it "
                f"has {', '.join(there)} (they differ in {', '.join(differing)})"
            )
    return ""
