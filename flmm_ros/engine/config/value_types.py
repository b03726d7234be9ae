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

"""The types that a setting can have: values of YAML converted to them, and refused by name.

bool, int, float, str, Path, an Enum (by value), a dataclass (a section), tuple[X, ...], Mapping[K,
V], and X | None.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from flmm_ros.engine.errors import ConfigError

INF = math.inf
Bounds = tuple[float, float]
SectionBuilder = Callable[[type[Any], Any, str], Any]  # dataclass, mapping, path of the section

# YAML 1.1 reads 1e-4, without a point, as a text.
_SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def converted(kind: Any, value: Any, where: str, section: SectionBuilder) -> Any:
    """A value of YAML in the type of its field; left as it is where it does not fit.

    where: path of its key, for errors. section: makes a dataclass of a mapping.
    """
    if value is None:
        return None
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return converted(_given(kind), value, where, section)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else section(kind, value, where)
    if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        item = typing.get_args(kind)[0]
        return tuple(converted(item, v, f"{where}[{i}]", section) for i, v in enumerate(value))
    if typing.get_origin(kind) is Mapping and isinstance(value, Mapping):
        key_kind, item = typing.get_args(kind)
        return {
            _scalar(key_kind, k): converted(item, v, f"{where}.{k}", section)
            for k, v in value.items()
        }
    return _scalar(kind, value)


def _given(kind: Any) -> Any:
    """X of X | None."""
    return next(each for each in typing.get_args(kind) if each is not type(None))


def _scalar(kind: Any, value: Any) -> Any:
    if kind is float and (
        type(value) is int or (isinstance(value, str) and _SCIENTIFIC.fullmatch(value))
    ):
        try:
            return float(value)
        except OverflowError:  # an integer of more than 308 digits
            return value
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next((member for member in kind if member.value == value), value)
    return value


def require_type(kind: Any, value: Any, where: str) -> None:
    """Refuses a converted value that has another type than its field."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is not None:
            require_type(_given(kind), value, where)
    elif origin is tuple and isinstance(value, tuple):
        for index, item in enumerate(value):
            require_type(arguments[0], item, f"{where}[{index}]")
    elif origin is Mapping and isinstance(value, Mapping):
        for key, item in value.items():
            require_type(arguments[0], key, f"{where}: key {key!r}")
            require_type(arguments[1], item, f"{where}.{key}")
    elif not _is_of(kind, value):
        raise ConfigError(
            f"{where}: expected {_name_of(kind)}, got {type(value).__name__} {value!r}"
        )


def _is_of(kind: Any, value: Any) -> bool:
    """Whether a value has a type that is neither a union, nor a collection that it is one of."""
    if kind is Any:
        return True
    if not isinstance(kind, type) or typing.get_origin(kind) is not None:
        return False
    if kind in (bool, int, float, str):
        return type(value) is kind  # True is no int here, 1 no float
    return isinstance(value, kind)


def _name_of(kind: Any) -> str:
    """What an error calls the type that it expected."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        items = {str: "texts", int: "whole numbers", float: "numbers"}
        return f"a list of {items.get(arguments[0], 'entries')}"
    if origin is Mapping or dataclasses.is_dataclass(kind):
        return "'key: value' lines"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    return "a path" if kind is Path else str(getattr(kind, "__name__", kind))


def range_text(bounds: Bounds) -> str:
    """What an error calls the numbers that are allowed."""
    low, high = bounds
    if high == INF:
        return f"a number of at least {low:g}"
    return f"a number of at most {high:g}" if low == -INF else f"{low} to {high}"
