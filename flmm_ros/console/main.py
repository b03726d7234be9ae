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

"""Starts the console: arguments, the ROS side, the web server, and what to type into a browser.

    ros2 run flmm_ros console
    ros2 run flmm_ros console --host 0.0.0.0            # from other machines: prints a token
    ros2 run flmm_ros console --ros-args -r image:=/camera/color/image_raw

Exit codes: 0 ended by a signal, 2 arguments that cannot be used.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

import psutil
import rclpy
import typer
from aiohttp import web
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_default_context

from flmm_ros.cli.command_line import ros_arguments, run_command
from flmm_ros.console.command_service import CommandService
from flmm_ros.console.node.bridge import Bridge
from flmm_ros.console.web.security import Access, access_for, is_loopback_name
from flmm_ros.console.web.server import ConsoleServer
from flmm_ros.console.web.users import Users
from flmm_ros.engine.errors import ConfigError

TOKEN_VARIABLE = "FLMM_CONSOLE_TOKEN"
_GOODBYE_S = 2.0  # for open pages


@dataclass(frozen=True)
class ConsoleOptions:
    """What the console is started with.

    timeout_s: after which a command is given up. rate_hz: of live pictures, at most.
    commands_per_minute: of each person, at most.
    """

    host: str
    node: str
    timeout_s: float
    rate_hz: float
    commands_per_minute: int


def console(  # noqa: PLR0913  one parameter an option
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 = every interface. All but loopback ask for the "
            "token."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.")] = 8642,
    token: Annotated[
        str | None,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            help="What browsers have to know, 16 characters or more; safer in the environment "
            "variable, where other users do not see it. By default one is made where it is needed.",
        ),
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option(metavar="PEM", help="Certificate, for https.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="PEM", help="Its private key.")] = None,
    node: Annotated[str, typer.Option(help="The grounding node's name.")] = "grounding_node",
    timeout: Annotated[
        float, typer.Option(min=1e-3, max=1e6, help="Seconds after which a command is given up.")
    ] = 60.0,
    rate: Annotated[
        float, typer.Option(min=1e-3, max=1e6, help="Live pictures per second, at most.")
    ] = 10.0,
    commands_per_minute: Annotated[int, typer.Option(min=1, help="Of each person, at most.")] = 60,
) -> None:
    """Serve a web page to talk to the grounding node and to see what it sees.

    ROS arguments as always, e.g. --ros-args -r image:=/camera/color/image_raw.
    """
    access = access_for(host, token or None)
    tls = _tls(tls_cert, tls_key)
    listener = _listener(host, port)
    options = ConsoleOptions(host, node, timeout, rate, commands_per_minute)
    logging.basicConfig(format="console: %(message)s", level=logging.WARNING)
    rclpy.init(args=ros_arguments(), signal_handler_options=SignalHandlerOptions.NO)
    try:
        asyncio.run(_serve(options, access, tls, listener))
    finally:
        listener.close()
        rclpy.try_shutdown()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the executable; `argv` without the program's name."""
    return run_command(console, argv)


async def _serve(
    options: ConsoleOptions,
    access: Access,
    tls: ssl.SSLContext | None,
    listener: socket.socket,
) -> None:
    """Until a signal."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    port = listener.getsockname()[1]
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="pictures") as executor:
        commands = CommandService(executor, timeout_s=options.timeout_s, rate_hz=options.rate_hz)
        with Bridge(get_default_context(), loop, commands, options.node) as bridge:
            commands.connect(bridge)
            server = ConsoleServer(
                commands,
                Users(options.commands_per_minute),
                access,
                cookie=f"flmm_console_{port}",
                is_encrypted=tls is not None,
            )
            runner = web.AppRunner(
                server.application(), access_log=None, shutdown_timeout=_GOODBYE_S
            )
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=tls).start()
            for line in _greeting(options.host, port, access, is_encrypted=tls is not None):
                print(line, flush=True)
            await stop.wait()
            await runner.cleanup()


def _listener(host: str, port: int) -> socket.socket:
    """A bound socket, so that a taken port is an error before anything else starts.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"expected an address to listen on, cannot use {host} port {port}: "
            f"{error.strerror}; is another console running? --port 0 takes any free one"
        ) from error
    return listener


def _tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """TLS where a certificate is given.

    Raises:
        ConfigError: only one of the two, or they cannot be used.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("expected --tls-cert and --tls-key together, got one of them")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use {certificate} and {key} for TLS: {error}") from error
    return context


def _greeting(host: str, port: int, access: Access, *, is_encrypted: bool) -> list[str]:
    """What to type into a browser. The token stands behind a #, which browsers send nowhere."""
    scheme = "https" if is_encrypted else "http"
    token = f"#token={quote(access.token)}" if access.token else ""
    names = [host]
    if access.is_loopback:
        names = ["localhost" if host.startswith("127.") else host]
    elif host in ("", "0.0.0.0", "::"):  # noqa: S104  only compared
        names = _own_addresses() or [host]
    lines = [f"console: {scheme}://{_bracketed(name)}:{port}/{token}" for name in names]
    if not access.is_loopback and not is_encrypted:
        lines.append(
            "console: not encrypted: for a network you trust; or give --tls-cert and --tls-key"
        )
    return lines


def _own_addresses() -> list[str]:
    """The IPv4 addresses under which other machines may reach this one."""
    return [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == socket.AF_INET and not is_loopback_name(address.address)
    ]


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


if __name__ == "__main__":
    sys.exit(main())
