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

"""Values that replace those of a settings file: a mapping, or "key=value" texts of a command line.

A dot leads into a section: "frames.limit=5".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flmm_ros.engine.config.yaml_file import parse_yaml
from flmm_ros.engine.errors import ConfigError

Overrides = Mapping[str, Any] | Sequence[str]


def nested(kind: type[Any], overrides: Overrides) -> dict[str, Any]:
    """Overrides as nested mappings: {"frames.limit": 5} becomes {"frames": {"limit": 5}}."""
    pairs = overrides if isinstance(overrides, Mapping) else dict(map(_pair, overrides))
    prefix = kind.__name__.removesuffix("Config").lower() + "."
    found: dict[str, Any] = {}
    for key, value in pairs.items():
        *sections, name = str(key).removeprefix(prefix).split(".")
        for section in reversed(sections):
            name, value = section, {name: value}
        found = merged(found, {name: value})
    return found


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"expected key=value, got {text!r}")
    return key.strip(), parse_yaml(value, text) if value.strip() else ""


def merged(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    """Both, with `above` in the place of equal keys; mappings of one key are merged too."""
    both = dict(below)
    for key, value in above.items():
        present = both.get(key)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            value = merged(present, value)
        both[key] = value
    return both
