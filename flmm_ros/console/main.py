"""Starts the console: arguments, the ROS side, the web server, and what to type into a browser.

    ros2 run flmm_ros console
    ros2 run flmm_ros console --host 0.0.0.0            # from other machines: prints a token
    ros2 run flmm_ros console --ros-args -r image:=/camera/color/image_raw

Exit codes: 0 ended by a signal, 2 arguments that cannot be used.
Does not know about: requests, commands.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import psutil
import rclpy
from aiohttp import web
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_default_context, remove_ros_args

from flmm_ros.console.command_service import Desk
from flmm_ros.console.node.bridge import Bridge
from flmm_ros.console.web.security import Access, access_for, is_loopback_name
from flmm_ros.console.web.server import ConsoleServer
from flmm_ros.console.web.users import Users
from flmm_ros.engine.errors import ConfigError

TOKEN_VARIABLE = "FLMM_CONSOLE_TOKEN"
_BAD_ARGUMENTS = 2
_GOODBYE_S = 2.0  # for open pages


def main(argv: list[str] | None = None) -> int:
    """Entry point of the executable; `argv` without the program's name."""
    arguments = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(remove_ros_args(["console", *arguments])[1:])
    try:
        access = access_for(args.host, args.token or os.environ.get(TOKEN_VARIABLE))
        tls = _tls(args.tls_cert, args.tls_key)
        listener = _listener(args.host, args.port)
    except (ConfigError, OSError) as error:
        print(f"console: {error}", file=sys.stderr)
        return _BAD_ARGUMENTS
    logging.basicConfig(format="console: %(message)s", level=logging.WARNING)
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        asyncio.run(_serve(args, access, tls, listener))
    finally:
        listener.close()
        rclpy.try_shutdown()
    return 0


async def _serve(
    args: argparse.Namespace,
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
        desk = Desk(executor, timeout_s=args.timeout, rate_hz=args.rate)
        with Bridge(get_default_context(), loop, desk, args.node) as bridge:
            desk.connect(bridge)
            server = ConsoleServer(
                desk,
                Users(args.commands_per_minute),
                access,
                cookie=f"flmm_console_{port}",
                is_encrypted=tls is not None,
            )
            runner = web.AppRunner(
                server.application(), access_log=None, shutdown_timeout=_GOODBYE_S
            )
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=tls).start()
            for line in _greeting(args.host, port, access, is_encrypted=tls is not None):
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
    elif host in ("", "0.0.0.0", "::"):
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="console",
        description="A web page to talk to the grounding node and to see what it sees.",
        epilog="ROS arguments as always, e.g. --ros-args -r image:=/camera/color/image_raw.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 = every interface. All but loopback ask for the token",
    )
    parser.add_argument("--port", type=_port, default=8642, help="0 = any free one")
    parser.add_argument(
        "--token",
        help="what browsers have to know, 16 characters or more; better in the variable "
        f"{TOKEN_VARIABLE}, where other users do not see it; default: made where one is needed",
    )
    parser.add_argument("--tls-cert", metavar="PEM", help="certificate, for https")
    parser.add_argument("--tls-key", metavar="PEM", help="its private key")
    parser.add_argument("--node", default="grounding_node", help="the grounding node's name")
    parser.add_argument(
        "--timeout", type=_positive, default=60.0, help="seconds after which a command is given up"
    )
    parser.add_argument(
        "--rate", type=_positive, default=10.0, help="live pictures per second, at most"
    )
    parser.add_argument(
        "--commands-per-minute", type=_count, default=60, help="of each person, at most"
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"expected 0..65535, got {port}")
    return port


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
