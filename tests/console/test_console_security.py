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

"""Hosts, tokens, origins and rates, by value."""

import re
from pathlib import Path

import pytest

from flmm_ros.console.web import security
from flmm_ros.console.web.security import Access, Guesses, Rate, access_for, headers_for
from flmm_ros.engine.errors import ConfigError

PAGE = Path(security.__file__).parent / "page"
TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1"])
def test_loopback_needs_no_token(host):
    assert access_for(host, None) == Access(token="", is_loopback=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "robot", "127.evil.example"])
def test_everything_else_gets_a_token_of_its_own(host):
    first, second = access_for(host, None), access_for(host, None)
    assert not first.is_loopback
    assert len(first.token) >= 32 and first.token != second.token


def test_a_given_token_holds_on_loopback_too():
    access = access_for("127.0.0.1", TOKEN)
    assert access.is_right_token(TOKEN)
    assert not access.is_right_token(TOKEN[:-1])
    assert not access.is_right_token("")
    assert not access.is_right_token("tökén")


def test_without_a_token_no_guess_is_right():
    assert not Access("", True).is_right_token("")


@pytest.mark.parametrize("token", ["", "short", "x" * 15])
def test_a_short_token_is_refused(token):
    with pytest.raises(ConfigError, match="token: expected at least 16 characters, got"):
        access_for("0.0.0.0", token)


@pytest.mark.parametrize(
    ("host", "without_token", "with_token"),
    [
        ("localhost:8642", True, True),
        ("127.0.0.1", True, True),
        ("[::1]:8642", True, True),
        ("evil.example:8642", False, True),
        ("127.0.0.1.evil.example", False, True),
        ("192.168.1.5:8642", False, True),
        ("", False, False),
        ("[::1", False, False),
    ],
)
def test_a_foreign_name_for_this_address_is_not_answered(host, without_token, with_token):
    assert Access("", True).is_known_host(host) is without_token
    assert Access(TOKEN, False).is_known_host(host) is with_token


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://localhost:8642", True),
        ("https://LOCALHOST:8642", True),
        ("http://localhost:8643", False),
        ("http://127.0.0.1:8642", False),
        ("http://evil.example", False),
        ("http://localhost:8642.evil.example", False),
        ("http://evil@localhost:8642", False),
        ("file://localhost:8642", False),
        ("null", False),
        ("", False),
        (None, False),
        ("http://[", False),
    ],
)
def test_only_the_own_page_may_open_a_socket(origin, is_own):
    assert Access("", True).is_own_origin(origin, "localhost:8642") is is_own


def test_the_policy_lets_nothing_run_but_our_files():
    headers = headers_for("robot:8642", is_encrypted=True)
    policy = dict(
        ([*part.split(" ", 1), ""])[:2] for part in headers["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' wss://robot:8642"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize("file", sorted(PAGE.iterdir()), ids=lambda file: file.name)
def test_the_page_never_parses_markup_and_loads_nothing_from_elsewhere(file):
    text = file.read_text()
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    assert not re.search(forbidden, text)
    assert not re.search(r"\son\w+\s*=\s*[\"']", text), "a handler in markup"
    elsewhere = set(re.findall(r"https?://[^\"')\s]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not elsewhere


def test_a_rate_refills_evenly(clock):
    rate = Rate(3, 6.0, clock)
    assert [rate.take() for _ in range(4)] == [True, True, True, False]
    assert rate.wait_s == pytest.approx(2.0)
    clock.now_s += 1.9
    assert not rate.take()
    clock.now_s += 0.2
    assert rate.take() and not rate.take()
    clock.now_s += 1000
    assert [rate.take() for _ in range(4)] == [True, True, True, False]


def test_tries_are_limited_for_each_address_and_in_all(clock):
    guesses = Guesses(clock)
    assert [guesses.take("10.0.0.1") for _ in range(6)] == [True] * 5 + [False]
    assert guesses.take("10.0.0.2")
    others = [guesses.take(f"10.0.1.{i}") for i in range(100)]
    assert others == [True] * 44 + [False] * 56, "50 in all, six of them before"
    clock.now_s += 60
    assert guesses.take("10.0.0.1")


def test_tries_do_not_fill_the_memory(clock):
    guesses = Guesses(clock)
    for i in range(3 * Guesses.ADDRESSES):
        guesses.take(str(i))
    assert len(guesses._by_address) == Guesses.ADDRESSES
