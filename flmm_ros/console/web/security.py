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

"""Who may use the console, and how much of it: hosts, token, origins, headers, rates.

Safe by default. On the loopback interface the machine's own users come in without a token, but only
under a loopback name, so that a foreign page cannot reach it by renaming an address (DNS
rebinding). On any other interface everybody needs the token. A socket is opened only by a page of
this very server (origin check), and pages run nothing but the files of this package (CSP).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard
from urllib.parse import urlsplit

from flmm_ros.engine.errors import ConfigError

MIN_TOKEN_CHARS = 16
_TOKEN_BYTES = 24
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


@dataclass(frozen=True)
class Access:
    """The rule of one server.

    token: what a browser has to show once; empty = none is asked for, on loopback only.
    is_loopback: the server listens on the loopback interface only.
    """

    token: str
    is_loopback: bool

    def is_known_host(self, host: str) -> bool:
        """Whether a request's Host header may be answered. Without a token only loopback names:
        anything else is a foreign name that was made to point here."""
        name = _name_of(host)
        return bool(name) and (bool(self.token) or is_loopback_name(name))

    def is_own_origin(self, origin: str | None, host: str) -> bool:
        """Whether the page that asks was served under this very host and port.

        Browsers send the origin with every socket; a request without one is not from a page.
        """
        if not origin or not host:
            return False
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def is_right_token(self, given: str) -> bool:
        """Compares in constant time. Without a token every guess is wrong."""
        return bool(self.token) and hmac.compare_digest(given.encode(), self.token.encode())


def access_for(host: str, token: str | None) -> Access:
    """The rule for an address to listen on; makes a token where one is needed and none is given.

    Raises:
        ConfigError: the token is too short to keep anybody out.
    """
    is_loopback = is_loopback_name(host)
    if token is not None and len(token) < MIN_TOKEN_CHARS:
        raise ConfigError(
            f"token: expected at least {MIN_TOKEN_CHARS} characters, got {len(token)}; leave it "
            "out and one is made"
        )
    if token is None and not is_loopback:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
    return Access(token=token or "", is_loopback=is_loopback)


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value from JSON is text that can be encoded: a lone surrogate cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_loopback_name(host: str) -> bool:
    """localhost, 127.x.x.x, ::1. An empty host means every interface and is not."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The name in a Host header, without port and brackets; empty where it is not well-formed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def headers_for(host: str, *, is_encrypted: bool) -> dict[str, str]:
    """What every response carries.

    host: the request's Host header, already known to be ours; Safari wants the socket spelled out.
    """
    socket = f"{'wss' if is_encrypted else 'ws'}://{host}"
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
            f"connect-src 'self' {socket}; manifest-src 'self'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
            "trusted-types 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Server": "flmm_ros console",
    }


class Rate:
    """At most `count` events in any stretch of `period_s`, roughly: a bucket that refills evenly.

    Args:
        now_s: a monotonic clock, for tests.
    """

    def __init__(
        self, count: int, period_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._per_s, self._now_s = count, count / period_s, now_s
        self._left, self._seen_s = float(count), now_s()

    def take(self) -> bool:
        """Whether one more is allowed now; counts it if so."""
        now_s = self._now_s()
        self._left = min(self._count, self._left + (now_s - self._seen_s) * self._per_s)
        self._seen_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True

    @property
    def wait_s(self) -> float:
        """Seconds until the next one is allowed."""
        return max(0.0, (1 - self._left) / self._per_s)


class Guesses:
    """Limits tries of the token: of each address, and of all together.

    Remembers only the newest addresses, so that it cannot be made to grow.
    """

    PER_ADDRESS, IN_ALL, PERIOD_S, ADDRESSES = 5, 50, 60.0, 1000

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._all = Rate(self.IN_ALL, self.PERIOD_S, now_s)
        self._by_address: OrderedDict[str, Rate] = OrderedDict()

    def take(self, address: str) -> bool:
        """Whether this address may try a token now; counts the try."""
        rate = self._by_address.pop(address, None)
        rate = rate or Rate(self.PER_ADDRESS, self.PERIOD_S, self._now_s)
        self._by_address[address] = rate
        while len(self._by_address) > self.ADDRESSES:
            self._by_address.popitem(last=False)
        return rate.take() and self._all.take()
