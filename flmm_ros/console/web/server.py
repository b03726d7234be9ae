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

"""The console's web server: one page, its files, pictures by identity, one socket.

There is no path to the disk: the page's files are read once at start, everything else is in memory.
Every request is checked against the rules of `security.py` before it is looked at.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.resources import files

from aiohttp import WSCloseCode, web

from flmm_ros.console.command_service import CommandService
from flmm_ros.console.web.connection import MAX_MESSAGE_BYTES, Connection
from flmm_ros.console.web.security import Access, Guesses, headers_for, is_text
from flmm_ros.console.web.users import MAX_PAGES, User, Users

MAX_SOCKETS = 32
MAX_BODY_BYTES = 4096
HEARTBEAT_S = 20.0
_HEALTH_PERIOD_S = 1.0
_COOKIE_AGE_S = 30 * 24 * 3600
_PAGE, _LOGIN = "index.html", "login.html"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ConsoleServer:
    """The handlers, and who is connected.

    Args:
        cookie: its name; cookies are shared by all ports of a host, so it should tell the port.
        is_encrypted: the server speaks TLS.
    """

    def __init__(
        self,
        commands: CommandService,
        users: Users,
        access: Access,
        *,
        cookie: str,
        is_encrypted: bool,
    ) -> None:
        self._commands, self._users, self._access = commands, users, access
        self._cookie, self._is_encrypted = cookie, is_encrypted
        self._guesses = Guesses()
        self._connections: set[Connection] = set()
        self._files = page_files()

    def application(self) -> web.Application:
        """The application, with its background work."""
        application = web.Application(
            middlewares=[self._guard], client_max_size=MAX_BODY_BYTES, handler_args={}
        )
        application.add_routes(
            [
                web.get("/", self._page),
                web.post("/login", self._login),
                web.get("/static/{name}", self._file),
                web.get("/picture/{identity}", self._picture),
                web.get("/socket", self._socket),
            ]
        )
        application.on_response_prepare.append(self._add_headers)
        application.on_shutdown.append(self._close_all)
        application.cleanup_ctx.append(self._background)
        return application

    # For every request.

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._access.is_known_host(request.host):
            raise web.HTTPMisdirectedRequest(
                text="Without a token this console answers only under the name localhost."
            )
        if request.method == "POST" and not self._is_own_page(request):
            raise web.HTTPForbidden(text="Only the console's own page may send this.")
        return await handler(request)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        host = request.host if self._access.is_known_host(request.host) else "localhost"
        response.headers.update(headers_for(host, is_encrypted=self._is_encrypted))
        response.headers.setdefault("Cache-Control", "no-store")

    def _is_own_page(self, request: web.Request) -> bool:
        return self._access.is_own_origin(request.headers.get("Origin"), request.host)

    def _user(self, request: web.Request) -> User | None:
        return self._users.get(request.cookies.get(self._cookie, ""))

    def _let_in(self, response: web.Response) -> web.Response:
        """Gives a browser its cookie; scripts cannot read it, other sites cannot use it."""
        response.set_cookie(
            self._cookie,
            self._users.new().identity,
            max_age=_COOKIE_AGE_S,
            httponly=True,
            samesite="Strict",
            secure=self._is_encrypted,
        )
        return response

    # The handlers.

    async def _page(self, request: web.Request) -> web.Response:
        if self._user(request) is not None:
            return self._served(_PAGE)
        if self._access.token:
            return self._served(_LOGIN, status=401)
        return self._let_in(self._served(_PAGE))

    async def _login(self, request: web.Request) -> web.Response:
        if not self._guesses.take(request.remote or ""):
            raise web.HTTPTooManyRequests(text="Too many tries. Wait a minute.")
        try:
            given = json.loads(await request.text())["token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise web.HTTPBadRequest(text='Expected {"token": "..."}.') from None
        if not is_text(given):
            raise web.HTTPUnauthorized(
                text="Expected the token as text, as the console printed it at its start.",
                headers={"WWW-Authenticate": "Token"},
            )
        if not self._access.is_right_token(given):
            raise web.HTTPForbidden(text="Not the token that the console printed at its start.")
        return self._let_in(web.Response(status=204))

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._files or name.endswith(".html"):
            raise web.HTTPNotFound(text="No such file.")
        return self._served(name)

    def _served(self, name: str, status: int = 200) -> web.Response:
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        response = web.Response(body=self._files[name], status=status, content_type=kind)
        if kind.startswith("text/"):
            response.charset = "utf-8"
        if status == 401:
            response.headers["WWW-Authenticate"] = "Token"
        return response

    async def _picture(self, request: web.Request) -> web.Response:
        if self._user(request) is None:
            raise web.HTTPForbidden(text="Log in first.")
        stored = self._commands.pictures.get(request.match_info["identity"])
        if stored is None:
            raise web.HTTPNotFound(text="No longer kept.")
        return web.Response(
            body=stored.data,
            content_type=stored.media_type,
            headers={"Cache-Control": "private, max-age=86400, immutable"},
        )

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        if user is None or not self._is_own_page(request):
            raise web.HTTPForbidden(text="Only the console's own page may connect.")
        if len(self._connections) >= MAX_SOCKETS or len(user.pages) >= MAX_PAGES:
            raise web.HTTPServiceUnavailable(text="Too many open pages.")
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=HEARTBEAT_S)
        await socket.prepare(request)
        connection = Connection(socket, user, self._commands)
        self._connections.add(connection)
        self._commands.bridge.watch()
        try:
            connection.send({"type": "health", **asdict(self._commands.bridge.health)})
            await connection.run()
        finally:
            self._commands.bridge.unwatch()
            self._connections.discard(connection)
        return socket

    # In the background.

    async def _background(self, _: web.Application):  # type: ignore[no-untyped-def]
        tasks = [asyncio.create_task(self._commands.live.run()), asyncio.create_task(self._beat())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self) -> None:
        """Tells all pages how the node is, whenever that has changed."""
        last = None
        while True:
            health = self._commands.bridge.health
            if health != last:
                last = health
                for connection in list(self._connections):
                    connection.send({"type": "health", **asdict(health)})
            await asyncio.sleep(_HEALTH_PERIOD_S)

    async def _close_all(self, _: web.Application) -> None:
        for connection in list(self._connections):
            await connection.close(WSCloseCode.GOING_AWAY, "the console ends")


def page_files() -> dict[str, bytes]:
    """Everything that a browser may be given, by name."""
    folder = files("flmm_ros.console.web") / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
