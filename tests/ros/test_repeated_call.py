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

"""A service whose first answer is lost is asked again, in time, and not more often."""

import pytest

from flmm_ros.ros.client import repeated_call
from flmm_ros.ros.client.repeated_call import RepeatedCall


class Future:
    """As rclpy's, set by the test."""

    def __init__(self) -> None:
        self.value: str | None = None

    def done(self) -> bool:
        return self.value is not None

    def result(self) -> str | None:
        return self.value


class Client:
    """Keeps what was asked; nothing is answered before the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Future]] = []

    def call_async(self, request: str) -> Future:
        self.asked.append((request, Future()))
        return self.asked[-1][1]


def test_it_asks_again_until_an_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(repeated_call.time, "monotonic", lambda: now_s)
    client = Client()
    call = RepeatedCall(client, "state?")
    assert call.answer() is None
    assert call.answer() is None
    assert len(client.asked) == 1  # it waits before it asks again
    now_s += 3.0
    assert call.answer() is None
    assert [request for request, _ in client.asked] == ["state?", "state?"]
    client.asked[1][1].value = "active"
    assert call.answer() == "active"
    now_s += 30.0
    assert call.answer() == "active"
    assert len(client.asked) == 2


def test_the_first_answer_counts_even_when_it_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(repeated_call.time, "monotonic", lambda: now_s)
    client = Client()
    call = RepeatedCall(client, "state?")
    for _ in range(3):
        call.answer()
        now_s += 5.0
    client.asked[0][1].value = "inactive"
    assert call.answer() == "inactive"
