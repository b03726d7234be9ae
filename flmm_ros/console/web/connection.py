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

"""One open page: what it asks for comes in, what happens goes out, over one socket.

Everything that comes in is checked here: size (by the server), form, kinds, lengths, rate. A page
that breaks the rules of the protocol is disconnected; a person who asks too much is told so.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from flmm_ros.console.command_service import CommandService, Refused
from flmm_ros.console.web.security import Rate
from flmm_ros.console.web.users import Event, User
from flmm_ros.ros.commands.command import INTENTS

MAX_MESSAGE_BYTES = 16 * 1024
_MESSAGES, _MESSAGES_S = 120, 2.0  # a page acknowledges live pictures, and a person types
_OUTBOX = 400  # events; a page that does not read them is not worth more memory
_MAX_ID_CHARS = 64

_log = logging.getLogger(__name__)


class BadMessage(Exception):
    """Not what our page sends."""


class Connection:
    """A socket, its user, and the two directions."""

    def __init__(self, socket: web.WebSocketResponse, user: User, commands: CommandService) -> None:
        self._socket, self._user, self._commands = socket, user, commands
        self._outbox: asyncio.Queue[str | bytes] = asyncio.Queue(_OUTBOX)
        self._wants_picture = asyncio.Event()
        self._rate = Rate(_MESSAGES, _MESSAGES_S)

    async def run(self) -> None:
        """Serves the page until it or the server closes."""
        for event in self._user.history():
            self.send(event)
        self.send({"type": "ready"})
        self._user.pages.add(self.send)
        tasks = [asyncio.create_task(work) for work in (self._write(), self._show())]
        try:
            await self._read()
        finally:
            self._user.pages.discard(self.send)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def send(self, event: Event) -> None:
        """Puts an event on its way; a page that has stopped reading is disconnected."""
        self._put(json.dumps(event, allow_nan=False, separators=(",", ":")))

    def _put(self, data: str | bytes) -> None:
        try:
            self._outbox.put_nowait(data)
        except asyncio.QueueFull:
            _log.warning("a page does not read what is sent to it; disconnected")
            asyncio.get_running_loop().create_task(self.close(WSCloseCode.POLICY_VIOLATION))

    async def close(self, code: int, reason: str = "") -> None:
        """Ends the connection; the page tries again where that makes sense."""
        with suppress(ConnectionError, RuntimeError):  # it has gone already
            await self._socket.close(code=code, message=reason.encode())

    async def _write(self) -> None:
        with suppress(ConnectionError):  # the reader ends the connection
            while True:
                data = await self._outbox.get()
                if isinstance(data, bytes):
                    await self._socket.send_bytes(data)
                else:
                    await self._socket.send_str(data)

    async def _show(self) -> None:
        """One live picture for each time the page asks; the next one waits for the page."""
        while True:
            await self._wants_picture.wait()
            self._wants_picture.clear()
            self._put(await self._commands.live.next())

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                await self.close(WSCloseCode.UNSUPPORTED_DATA, "expected text")
                return
            if not self._rate.take():
                await self.close(WSCloseCode.POLICY_VIOLATION, "too many messages")
                return
            try:
                self._obey(_parsed(message.data))
            except BadMessage as error:
                await self.close(WSCloseCode.POLICY_VIOLATION, str(error))
                return
            except Refused as refusal:
                self.send({"type": "refused", "text": str(refusal)})

    def _obey(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "picture":
            self._wants_picture.set()
        elif kind == "ask":
            command, intent = _text(message, "command", None), _text(message, "intent", 32)
            if intent not in ("", *INTENTS):
                raise BadMessage("intent: not one that is known")
            follows = message.get("follows")
            if not isinstance(follows, bool):
                raise BadMessage("follows: expected true or false")
            self._commands.ask(self._user, command, intent, follows=follows)
        elif kind == "cancel":
            self._commands.cancel(self._user, _text(message, "id", _MAX_ID_CHARS))
        elif kind == "forget":
            self._user.forget()
        else:
            raise BadMessage("type: not one that is known")


def _parsed(data: str) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadMessage("expected JSON") from error
    if not isinstance(message, dict):
        raise BadMessage("expected a JSON object")
    return message


def _text(message: dict[str, Any], name: str, most_chars: int | None) -> str:
    """A field that is text; also such that can be sent on (no lone surrogates)."""
    value = message.get(name)
    if not isinstance(value, str) or (most_chars is not None and len(value) > most_chars):
        raise BadMessage(f"{name}: expected text")
    return value.encode("utf-8", "replace").decode()
