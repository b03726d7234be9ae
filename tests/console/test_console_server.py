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

"""The real server and ROS side, without a node: who gets in, what is refused, what is kept."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import ClientResponse, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from flmm_ros.console.command_service import MAX_COMMAND_CHARS, CommandService
from flmm_ros.console.node.bridge import Bridge
from flmm_ros.console.web.connection import MAX_MESSAGE_BYTES
from flmm_ros.console.web.security import Access
from flmm_ros.console.web.server import MAX_BODY_BYTES, ConsoleServer
from flmm_ros.console.web.users import MAX_PAGES, Users

OPEN, GUARDED = Access("", is_loopback=True), Access("a token that is long", is_loopback=False)
COOKIE = "flmm_console_test"


class Console:
    """The test's browser, and the parts behind the server."""

    def __init__(self, client: TestClient, commands: CommandService, users: Users) -> None:
        self.client, self.commands, self.users = client, commands, users
        self.origin = str(client.make_url("/")).rstrip("/")

    async def login(self, token: Any, origin: str | None = None) -> ClientResponse:
        headers = {"Origin": origin or self.origin}
        return await self.client.post("/login", json={"token": token}, headers=headers)

    async def socket(self, **headers: str) -> Any:
        return await self.client.ws_connect(
            "/socket", headers={"Origin": self.origin, **headers}, max_msg_size=0
        )

    async def said(self, socket: Any, *kinds: str) -> dict[str, Any]:
        """The next event of one of these kinds."""
        while True:
            message = await socket.receive(timeout=10)
            assert message.type is WSMsgType.TEXT, f"expected {kinds}, got {message}"
            event = json.loads(message.data)
            if event["type"] in kinds:
                return event

    async def ended(self, socket: Any) -> tuple[int, str]:
        """The code and the reason with which the server closes."""
        while True:
            message = await socket.receive(timeout=10)
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
                return socket.close_code, message.extra or ""


def run(
    context: Any, access: Access, story: Callable[[Console], Awaitable[None]], per_minute: int = 60
) -> None:
    """Runs a story against a server of its own."""

    async def play() -> None:
        with ThreadPoolExecutor(1) as executor:
            commands, users = (
                CommandService(executor, timeout_s=5.0, rate_hz=10.0),
                Users(per_minute),
            )
            loop = asyncio.get_running_loop()
            with Bridge(context, loop, commands, "no_such_node") as bridge:
                commands.connect(bridge)
                server = ConsoleServer(commands, users, access, cookie=COOKIE, is_encrypted=False)
                async with TestClient(TestServer(server.application())) as client:
                    await story(Console(client, commands, users))

    asyncio.run(play())


def test_on_loopback_the_page_is_just_there(context):
    async def story(console: Console) -> None:
        reply = await console.client.get("/")
        assert reply.status == 200 and 'id="composer"' in await reply.text()
        cookie = reply.cookies[COOKIE]
        assert cookie["httponly"] and cookie["samesite"] == "Strict"
        assert "script-src 'self'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Server"] == "flmm_ros console"
        again = await console.client.get("/")
        assert COOKIE not in again.cookies and len(console.users.all()) == 1

    run(context, OPEN, story)


def test_a_foreign_name_is_not_answered(context):
    async def story(console: Console) -> None:
        reply = await console.client.get("/", headers={"Host": "evil.example"})
        assert reply.status == 421 and not reply.cookies
        assert (await console.client.get("/static/app.js")).status == 200

    run(context, OPEN, story)


def test_the_token_opens_and_nothing_else_does(context):
    async def story(console: Console) -> None:
        page = await console.client.get("/")
        assert page.status == 401 and 'id="login"' in await page.text()
        with pytest.raises(WSServerHandshakeError, match="403"):
            await console.socket()
        picture = console.commands.pictures.put(b"secret", "image/jpeg")
        assert (await console.client.get(f"/picture/{picture}")).status == 403
        for wrong in ("wrong", ""):
            assert (await console.login(wrong)).status == 403
        for no_text in (7, None, ["a token that is long"]):
            assert (await console.login(no_text)).status == 401
        assert (await console.login(GUARDED.token)).status == 429, "too many tries"
        assert not console.users.all()

    run(context, GUARDED, story)


@pytest.mark.parametrize("no_text", ["\ud800", "a token that is long\udfff", True, {}, 1e308])
def test_a_token_that_is_not_text_is_answered_with_401(context, no_text):
    async def story(console: Console) -> None:
        reply = await console.login(no_text)
        assert reply.status == 401 and "expected the token as text" in (await reply.text()).lower()
        assert (await console.login(GUARDED.token)).status == 204

    run(context, GUARDED, story)


def test_after_the_login_everything_is_there(context):
    async def story(console: Console) -> None:
        assert (await console.login(GUARDED.token, "http://evil.example")).status == 403
        assert (await console.login(GUARDED.token)).status == 204
        assert 'id="composer"' in await (await console.client.get("/")).text()
        picture = console.commands.pictures.put(b"data", "image/jpeg")
        reply = await console.client.get(f"/picture/{picture}")
        assert (await reply.read(), reply.content_type) == (b"data", "image/jpeg")
        assert "private" in reply.headers["Cache-Control"]
        socket = await console.socket()
        assert (await console.said(socket, "health"))["state"] == ""

    run(context, GUARDED, story)


def test_a_socket_is_only_for_the_own_page(context):
    async def story(console: Console) -> None:
        await console.client.get("/")
        for origin in ("http://evil.example", console.origin + "1", "null", ""):
            with pytest.raises(WSServerHandshakeError, match="403"):
                await console.socket(Origin=origin)
        with pytest.raises(WSServerHandshakeError, match="403"):
            await console.client.ws_connect("/socket")
        await console.said(await console.socket(), "ready")

    run(context, OPEN, story)


@pytest.mark.parametrize(
    "path",
    [
        "/static/index.html",
        "/static/server.py",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/static/",
        "/etc/passwd",
        "/picture/..%2f..%2fetc%2fpasswd",
        "/picture/app.js",
    ],
)
def test_no_path_leads_to_the_disk(context, path):
    async def story(console: Console) -> None:
        await console.client.get("/")
        reply = await console.client.get(URL(path, encoded=True))
        assert reply.status == 404
        assert len(await reply.read()) < 200

    run(context, OPEN, story)


def test_without_a_node_a_command_says_so_and_is_remembered(context):
    async def story(console: Console) -> None:
        await console.client.get("/")
        socket = await console.socket()
        health = await console.said(socket, "health")
        assert "no node serves the action /no_such_node/ground" in health["message"]
        assert not health["is_well"]
        await socket.send_json(
            {"type": "ask", "command": "<i>the mug</i>", "intent": "", "follows": False}
        )
        question = await console.said(socket, "question")
        failed = await console.said(socket, "failed")
        assert question["command"] == "<i>the mug</i>" and failed["id"] == question["id"]
        assert "is the grounding node running" in failed["text"]
        again = await console.socket()
        events = [await console.said(again, "question", "failed", "ready") for _ in range(3)]
        assert [e["type"] for e in events] == ["question", "failed", "ready"]

    run(context, OPEN, story)


def test_commands_are_limited_in_length_and_rate(context):
    async def story(console: Console) -> None:
        await console.client.get("/")
        socket = await console.socket()
        ask = {"type": "ask", "command": "the mug", "intent": "", "follows": False}
        await socket.send_json({**ask, "command": "x" * (MAX_COMMAND_CHARS + 1)})
        refused = await console.said(socket, "refused", "question")
        assert refused["text"] == f"at most {MAX_COMMAND_CHARS} characters, please"
        for _ in range(3):
            await socket.send_json(ask)
            assert (await console.said(socket, "failed", "refused"))["type"] == "failed"
        await socket.send_json(ask)
        assert "too fast" in (await console.said(socket, "failed", "refused"))["text"]

    run(context, OPEN, story, per_minute=3)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("x" * (MAX_MESSAGE_BYTES + 1), 1009, ""),
        ("not json", 1008, "expected JSON"),
        ("[" * 8000, 1008, "expected JSON"),
        ("[]", 1008, "expected a JSON object"),
        ("{}", 1008, "type: not one that is known"),
        ('{"type": "ask"}', 1008, "command: expected text"),
        ('{"type": "ask", "command": 7, "intent": ""}', 1008, "command: expected text"),
        ('{"type": "ask", "command": "a", "intent": "b"}', 1008, "intent: not one that is known"),
        (
            '{"type": "ask", "command": "a", "intent": "", "follows": 1}',
            1008,
            "follows: expected true or false",
        ),
        ('{"type": "cancel", "id": "%s"}' % ("x" * 100), 1008, "id: expected text"),
        (b"bytes", 1003, "expected text"),
    ],
)
def test_a_page_that_breaks_the_rules_is_disconnected(context, message, code, reason):
    async def story(console: Console) -> None:
        await console.client.get("/")
        socket = await console.socket()
        await console.said(socket, "ready")
        send = socket.send_bytes if isinstance(message, bytes) else socket.send_str
        await send(message)
        ended, why = await console.ended(socket)
        assert ended == code and reason in why
        await console.said(await console.socket(), "ready")

    run(context, OPEN, story)


def test_a_flood_of_messages_is_cut(context):
    async def story(console: Console) -> None:
        await console.client.get("/")
        socket = await console.socket()
        for _ in range(400):
            if socket.closed:
                break
            await socket.send_json({"type": "picture"})
        assert await console.ended(socket) == (1008, "too many messages")

    run(context, OPEN, story)


def test_open_pages_are_limited(context):
    async def story(console: Console) -> None:
        await console.client.get("/")
        sockets = [await console.socket() for _ in range(MAX_PAGES)]
        for socket in sockets:
            await console.said(socket, "ready")
        with pytest.raises(WSServerHandshakeError, match="503"):
            await console.socket()
        await sockets[0].close()
        for _ in range(50):
            await asyncio.sleep(0.05)
            if len(console.users.all()[0].pages) < MAX_PAGES:
                break
        await console.said(await console.socket(), "ready")

    run(context, OPEN, story)


def test_a_large_or_broken_body_is_refused(context):
    async def story(console: Console) -> None:
        headers = {"Origin": console.origin}
        for body, status in (("x" * (MAX_BODY_BYTES + 1), 413), ("[" * 4000, 400), ("7", 400)):
            reply = await console.client.post("/login", data=body, headers=headers)
            assert reply.status == status
        assert (await console.client.put("/login")).status == 405

    run(context, GUARDED, story)


def test_lone_surrogates_do_not_reach_ros(context):
    async def story(console: Console) -> None:
        await console.client.get("/")
        socket = await console.socket()
        await socket.send_str('{"type":"ask","command":"a\\ud800b","intent":"","follows":false}')
        assert (await console.said(socket, "question"))["command"] == "a?b"

    run(context, OPEN, story)
