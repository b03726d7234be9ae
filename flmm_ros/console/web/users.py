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

"""One person at the console: what they asked, what came back, how much they may ask.

A person is a browser (a cookie). Everything is in memory and bounded; what is old goes first. A
page that is loaded again finds the history; several pages of one browser show the same.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flmm_ros.console.web.security import Rate

HISTORY = 40  # answers of one person that are remembered
USERS = 200
MAX_PAGES = 6  # open at once in one browser
MAX_AT_WORK = 3  # commands of one person that wait for an answer
_IDENTITY_BYTES = 24

Event = dict[str, Any]
Send = Callable[[Event], None]


@dataclass(eq=False)
class User:
    """A browser.

    pages: what sends an event to each of its open pages.
    cancels: how to stop each command that waits for its answer.
    chat_id: of the conversation that the next command may belong to; empty = none.
    entries: events by command, in order: the question first, then whatever became of it.
    """

    identity: str
    commands: Rate
    pages: set[Send] = field(default_factory=set)
    cancels: dict[str, Callable[[], None]] = field(default_factory=dict)
    chat_id: str = ""
    _entries: OrderedDict[str, OrderedDict[str, Event]] = field(default_factory=OrderedDict)

    def tell(self, event: Event) -> None:
        """Sends an event to every page, and keeps it for those to come.

        Of one command and type only the newest is kept; what comes of a forgotten one is dropped.
        """
        identity = event["id"]
        if event["type"] != "question" and identity not in self._entries:
            return
        entry = self._entries.setdefault(identity, OrderedDict())
        entry[event["type"]] = event
        if event["type"] in ("answer", "failed"):
            entry.pop("progress", None)
        while len(self._entries) > HISTORY:
            self._entries.popitem(last=False)
        for send in list(self.pages):
            send(event)

    def history(self) -> list[Event]:
        """All that is remembered, oldest command first."""
        return [event for entry in self._entries.values() for event in entry.values()]

    def forget(self) -> None:
        """Drops the history, except for what is still at work."""
        for identity in list(self._entries):
            if identity not in self.cancels:
                del self._entries[identity]
        for send in list(self.pages):
            send({"type": "forgotten", "kept": list(self._entries)})


class Users:
    """All that are known, by the value of their cookie. The longest silent goes first.

    Args:
        commands_per_minute: of each person.
    """

    def __init__(self, commands_per_minute: int) -> None:
        self._per_minute = commands_per_minute
        self._users: OrderedDict[str, User] = OrderedDict()

    def new(self) -> User:
        """Somebody who was let in just now."""
        user = User(secrets.token_urlsafe(_IDENTITY_BYTES), Rate(self._per_minute, 60.0))
        self._users[user.identity] = user
        while len(self._users) > USERS:
            self._users.pop(self._longest_silent())
        return user

    def get(self, identity: str) -> User | None:
        """Who has this cookie; None for a wrong or forgotten one."""
        user = self._users.get(identity)
        if user is not None:
            self._users.move_to_end(identity)
        return user

    def all(self) -> list[User]:
        """Everybody that is known."""
        return list(self._users.values())

    def _longest_silent(self) -> str:
        """Nobody with an open page, where that is possible."""
        return next((i for i, u in self._users.items() if not u.pages), next(iter(self._users)))
