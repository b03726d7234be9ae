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

"""What the console keeps is bounded, and what it gives back is what went in."""

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from flmm_ros.console.node.frames import Frames, find
from flmm_ros.console.web.pictures import PictureStore
from flmm_ros.console.web.users import HISTORY, USERS, Users
from flmm_ros.ros.messages.conversions import image_to_msg


def image(second: int, value: int = 0):
    header = Header(frame_id="camera")
    header.stamp.sec = second
    return image_to_msg(np.full((10, 20, 3), value, np.uint8), header)


def test_pictures_come_back_and_the_oldest_go_first():
    store = PictureStore(max_bytes=10)
    first, second = store.put(b"aaaa", "image/jpeg"), store.put(b"bbbb", "image/png")
    assert (store.get(first).data, store.get(second).media_type) == (b"aaaa", "image/png")
    third = store.put(b"cccc", "image/jpeg")
    assert store.get(first) is None
    assert store.get(third).data == b"cccc" and store.size_bytes == 8


def test_a_picture_larger_than_the_store_is_alone_in_it():
    store = PictureStore(max_bytes=4)
    first, large = store.put(b"aa", "image/jpeg"), store.put(b"b" * 9, "image/jpeg")
    assert store.get(first) is None and len(store.get(large).data) == 9


def test_identities_cannot_be_guessed():
    store = PictureStore()
    identities = {store.put(b"x", "image/jpeg") for _ in range(100)}
    assert len(identities) == 100 and min(map(len, identities)) >= 21


def test_frames_are_found_by_their_whole_header():
    frames = Frames()
    for second in (1, 2, 3):
        frames.put(image(second, second))
    wanted = image(2).header
    assert find(frames.held(), wanted).data[0] == 2
    wanted.frame_id = "other"
    assert find(frames.held(), wanted) is None
    assert frames.newest().number == 3


def test_of_images_without_a_stamp_the_last_is_meant():
    frames = Frames()
    for value in (1, 2):
        frames.put(image(0, value))
    assert find(frames.held(), image(0).header).data[0] == 2


def test_frames_are_bounded_in_number_and_bytes():
    by_count, by_bytes = Frames(max_count=3), Frames(max_bytes=1500)
    for second in range(10):
        by_count.put(image(second))
        by_bytes.put(image(second))
    assert [frame.number for frame in by_count.held()] == [8, 9, 10]
    assert [frame.number for frame in by_bytes.held()] == [9, 10]
    by_bytes.clear()
    by_bytes.put(CompressedImage(data=b"x" * 5000))
    assert len(by_bytes.held()) == 1, "the newest is always there"


def test_what_was_held_outlives_what_is_kept():
    frames = Frames(max_count=1)
    frames.put(image(1))
    held = frames.held()
    frames.put(image(2))
    assert find(held, image(1).header) is not None
    assert find(frames.held(), image(1).header) is None


def event(kind: str, identity: str, **fields) -> dict:
    return {"type": kind, "id": identity, **fields}


def test_a_new_page_gets_the_history_in_order():
    user = Users(60).new()
    seen: list[dict] = []
    user.pages.add(seen.append)
    for told in (
        event("question", "a"),
        event("progress", "a", stage="read"),
        event("question", "b"),
        event("progress", "a", stage="decode"),
        event("answer", "a"),
        event("heat", "a"),
        event("progress", "b", stage="read"),
    ):
        user.tell(told)
    assert len(seen) == 7
    assert [(e["type"], e["id"]) for e in user.history()] == [
        ("question", "a"),
        ("answer", "a"),
        ("heat", "a"),
        ("question", "b"),
        ("progress", "b"),
    ]


def test_the_history_is_bounded_and_late_news_of_what_was_dropped_is_dropped():
    user = Users(60).new()
    for number in range(HISTORY + 5):
        user.tell(event("question", str(number)))
    seen: list[dict] = []
    user.pages.add(seen.append)
    user.tell(event("answer", "0"))
    assert seen == []
    assert [e["id"] for e in user.history()] == [str(n) for n in range(5, HISTORY + 5)]


def test_forgetting_keeps_what_is_at_work():
    user = Users(60).new()
    user.tell(event("question", "a"))
    user.tell(event("question", "b"))
    user.cancels["b"] = lambda: None
    seen: list[dict] = []
    user.pages.add(seen.append)
    user.forget()
    assert seen == [{"type": "forgotten", "kept": ["b"]}]
    assert [e["id"] for e in user.history()] == ["b"]


def test_users_are_bounded_and_those_with_an_open_page_stay():
    users = Users(60)
    first, second = users.new(), users.new()
    first.pages.add(lambda e: None)
    for _ in range(USERS):
        users.new()
    assert users.get(first.identity) is first
    assert users.get(second.identity) is None
    assert len(users.all()) == USERS
    assert users.get("") is None


@pytest.mark.parametrize("count", [1, 7])
def test_everybody_has_a_rate_of_their_own(count):
    users = Users(commands_per_minute=count)
    one, other = users.new(), users.new()
    assert [one.commands.take() for _ in range(count + 1)] == [True] * count + [False]
    assert other.commands.take()
