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

"""The one settings mechanism: frozen dataclasses whose fields say what they mean and allow.

    @dataclass(frozen=True)
    class Frames:
        start_s: float = setting(0.0, "Seconds after the first image.", bounds=(0.0, INF))
        limit: int = setting(0, "Most images; 0: all.", bounds=(0, 10**9), live=True)

        def __post_init__(self) -> None:
            check(self)  # built in Python: the same types, bounds and choices as from a file

    @dataclass(frozen=True)
    class Scenario:
        name: str = setting(REQUIRED, "Name in reports.")  # required ones stand first
        frames: Frames = setting(Frames(), "Which images.")  # a section
        commands: tuple[Command, ...] = setting((), "What is asked.")  # a list of sections
        labels: Path = setting(Path(), "A folder.")
        data: tuple[str, ...] = setting((), "Data sets.", convert=single_as_list)

    scenario = load(Scenario, "mugs.yaml", ["frames.start_s=2"])  # a file, and overrides
    scenario = build(Scenario, {"name": "mugs"}, "mugs.yaml")  # a mapping; "mugs.yaml" for errors
    scenario = with_overrides(scenario, {"frames.limit": 5})  # a copy
    [s.name for s in changed_settings(old, new)]  # what differs; s.live: may change at run time
    to_yaml(scenario)  # a text that `load` reads

`settings_of(Frames)` are the fields as `Setting` objects (name, doc, default, bounds, choices,
live), for ROS descriptors, tables and `--help`; `Setting.refusal(value)` is the error text for one
value, or None. Field types: bool, int, float, str, Path, an Enum (by value), a dataclass, tuple[X,
...], Mapping[K, V], and X | None. Fields made without `setting` work too. All errors are
`ConfigError` and read "source: section[0].key: expected ..., got ...".
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from flmm_ros.engine.config.overrides import Overrides, merged, nested
from flmm_ros.engine.config.value_types import INF, Bounds, converted, range_text, require_type
from flmm_ros.engine.config.yaml_file import read_yaml
from flmm_ros.engine.errors import ConfigError

__all__ = [  # with what belongs to it from value_types
    "INF",
    "Bounds",
    "Setting",
    "build",
    "changed_settings",
    "check",
    "load",
    "refuse_unknown",
    "setting",
    "settings_of",
    "single_as_list",
    "to_mapping",
    "to_yaml",
    "with_overrides",
]

REQUIRED: Any = MISSING
T = TypeVar("T")
_ON_OFF = {True: "on", False: "off"}


def setting(
    default: Any,
    doc: str,
    *,
    bounds: Bounds | None = None,
    choices: Sequence[str] | None = None,
    live: bool = False,
    convert: Callable[[Any], Any] | None = None,
) -> Any:
    """A dataclass field that explains itself.

    Args:
        default: the value where none is given, or REQUIRED.
        doc: one or more full sentences, shown to users.
        bounds: least and greatest number, both allowed; INF for no limit. Of a tuple: of each item.
        choices: the only texts that are allowed. Of a tuple: of each item.
        live: may change while the program runs.
        convert: applied to what a user wrote, before its type is checked; may raise ConfigError.
    """
    metadata = {
        "doc": doc,
        "bounds": bounds,
        "choices": tuple(choices) if choices else None,
        "live": live,
        "convert": convert,
    }
    if isinstance(default, (dict, list, set)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def single_as_list(value: Any) -> Any:
    """For `convert`: one text stands for a list of one."""
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True)
class Setting:
    """One field of a settings dataclass, as it describes itself. kind: its type."""

    name: str
    kind: Any
    default: Any
    doc: str
    bounds: Bounds | None
    choices: tuple[str, ...]
    live: bool
    convert: Callable[[Any], Any] | None

    def converted(self, value: Any, where: str = "") -> Any:
        """`value`, as a user wrote it, in the field's own type.

        Raises:
            ConfigError: wrong type, out of bounds, or none of the choices. where: path of the key.
        """
        where = where or self.name
        if self.convert is not None:
            with _named(where):
                value = self.convert(value)
        if type(value) is bool and _ON_OFF[value] in self.choices:
            value = _ON_OFF[value]  # YAML reads on and off as truth values
        value = converted(self.kind, value, where, _section)
        self.require(value, where)
        return value

    def require(self, value: Any, where: str = "") -> None:
        """Refuses a value that is not of the field's type, bounds or choices; errors as above."""
        where = where or self.name
        require_type(self.kind, value, where)
        self._require_allowed(value, where)

    @property
    def is_collection(self) -> bool:
        """Whether it is a section, a list or a mapping: with nothing written, its default holds."""
        is_section = dataclasses.is_dataclass(self.kind)
        return is_section or typing.get_origin(self.kind) in (tuple, Mapping)

    def refusal(self, value: Any) -> str | None:
        """Why `value` cannot be used, or None."""
        try:
            self.converted(value)
        except ConfigError as error:
            return str(error)
        return None

    def _require_allowed(self, value: Any, where: str) -> None:
        """Bounds and choices, of each item of a tuple."""
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                self._require_allowed(item, f"{where}[{index}]")
            return
        if self.choices and value is not None and value not in self.choices:
            raise ConfigError(f"{where}: expected one of {', '.join(self.choices)}, got {value!r}")
        is_number = type(value) in (int, float)
        if self.bounds and is_number and not self.bounds[0] <= value <= self.bounds[1]:
            raise ConfigError(f"{where}: expected {range_text(self.bounds)}, got {value}")


_declared: dict[type[Any], tuple[Setting, ...]] = {}  # type hints take long to resolve


def settings_of(kind: type[Any]) -> tuple[Setting, ...]:
    """The fields of a settings dataclass, in order."""
    if kind not in _declared:
        _declared[kind] = _read_fields(kind)
    return _declared[kind]


def _read_fields(kind: type[Any]) -> tuple[Setting, ...]:
    hints = typing.get_type_hints(kind)
    return tuple(
        Setting(
            name=f.name,
            kind=hints[f.name],
            default=f.default if f.default_factory is MISSING else f.default_factory(),
            doc=f.metadata.get("doc", ""),
            bounds=f.metadata.get("bounds"),
            choices=f.metadata.get("choices") or (),
            live=f.metadata.get("live", False),
            convert=f.metadata.get("convert"),
        )
        for f in fields(kind)
        if f.init
    )


def load(kind: type[T], path: str | Path, overrides: Overrides = ()) -> T:
    """Reads settings from a YAML file; `overrides`, as for `with_overrides`, replace its lines.

    Raises:
        ConfigError: missing file, broken YAML, a key twice, an unknown key, a wrong value.
    """
    content = read_yaml(Path(path))
    return build(kind, merged(content, nested(kind, overrides)), str(path))


def build(kind: type[T], content: Mapping[Any, Any], source: str = "") -> T:
    """Settings from keys and values, with sections as mappings.

    source: a file or the like, with which the errors begin.

    Raises:
        ConfigError: unknown key (with the nearest known one), missing key, or wrong value.
    """
    with _named(source):
        return _section(kind, content, "")


def with_overrides(config: T, overrides: Overrides) -> T:
    """A copy with some values replaced.

    Args:
        config: settings.
        overrides: a mapping, or "key=value" texts as on a command line, the value in YAML. A dot
            leads into a section: "frames.limit". The name of the dataclass may stand before it,
            without "Config": "grounder.device".

    Raises:
        ConfigError: an unknown key, or a wrong value.
    """
    with _named("override"):
        return _replaced(config, nested(type(config), overrides), "")


def changed_settings(old: T, new: T) -> tuple[Setting, ...]:
    """The settings whose values differ."""
    each = settings_of(type(old))
    return tuple(s for s in each if getattr(old, s.name) != getattr(new, s.name))


def to_mapping(config: Any) -> dict[str, Any]:
    """Settings as nested mappings and lists of plain values, for YAML and JSON."""
    return {s.name: _plain(getattr(config, s.name)) for s in settings_of(type(config))}


def to_yaml(config: Any) -> str:
    """Settings as YAML that `load` reads."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True)


def check(config: Any) -> None:
    """Types, bounds and choices of every field; for `__post_init__`.

    Raises:
        ConfigError: the first value that does not fit.
    """
    for each in settings_of(type(config)):
        value = getattr(config, each.name)
        each.require(value, each.name)


def refuse_unknown(content: Iterable[Any], known: Iterable[str], where: str = "") -> None:
    """Refuses keys that are not known, and names the nearest one.

    Raises:
        ConfigError: the first such key.
    """
    names = list(known)
    for key in content:
        if key not in names:
            nearest = difflib.get_close_matches(str(key), names, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise ConfigError(
                f"{_before(where)}unknown key {key!r}{hint}; known: {', '.join(sorted(names))}"
            )


def _section(kind: type[T], content: Any, where: str) -> T:
    """One settings dataclass from a mapping. where: path of the section, empty at the top."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{_before(where)}expected 'key: value' lines, got {content!r}")
    known = {s.name: s for s in settings_of(kind)}
    refuse_unknown(content, known, where)
    values = {
        name: known[name].converted(value, _path(where, name))
        for name, value in content.items()
        if not (value is None and known[name].is_collection)  # "commands:" and nothing behind it
    }
    for name, each in known.items():
        if name not in values and each.default is REQUIRED:
            raise ConfigError(f"{_before(where)}expected a value for {name!r}, got none")
    with _named(where):
        return kind(**values)


def _replaced(config: T, overrides: Mapping[str, Any], where: str) -> T:
    known = {s.name: s for s in settings_of(type(config))}
    refuse_unknown(overrides, known, where)
    values: dict[str, Any] = {}
    for name, value in overrides.items():
        present, path = getattr(config, name), _path(where, name)
        if dataclasses.is_dataclass(present) and isinstance(value, Mapping):
            values[name] = _replaced(present, value, path)
        else:
            values[name] = known[name].converted(value, path)
    with _named(where):
        return dataclasses.replace(config, **values)  # type: ignore[type-var]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Errors raised within begin with the file or key that they are about."""
    try:
        yield
    except ConfigError as error:
        if not where:
            raise
        raise ConfigError(f"{where}: {error}") from error


def _before(where: str) -> str:
    return f"{where}: " if where else ""


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
