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

"""Reads YAML files as mappings, strictly: a key that stands there twice is an error, not a guess.

Everything a user can get wrong in such a file becomes one `ConfigError` that names the file.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from flmm_ros.engine.errors import ConfigError

_MERGE = "tag:yaml.org,2002:merge"  # "<<": its keys may be overridden


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader; it would let the last of several equal keys win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} a second time", key_node.start_mark
                )
            seen |= {key} if isinstance(key, Hashable) else set()
        return dict(super().construct_mapping(node, deep))


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text. source: the file or option it came from, for errors.

    Raises:
        ConfigError: broken YAML, a key twice in one mapping, or a date that does not exist.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader
    # ValueError: a date that does not exist; RecursionError: thousands of open brackets
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: expected readable YAML, got: {error}") from error


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: missing or unreadable file; as `parse_yaml`; or another value than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected a YAML file, got nothing there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected readable YAML, got: {error}") from error
    return as_mapping(parse_yaml(text, str(path)), str(path))


def as_mapping(content: Any, source: str) -> dict[Any, Any]:
    """`content` where it is a mapping; otherwise a ConfigError that names `source`."""
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: expected 'key: value' lines, got {type(content).__name__}")
    return content
