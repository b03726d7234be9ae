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

"""Fills the templates of pages. Every value is escaped unless it is `Markup`.

A template is named "PACKAGE/FILE": the file in the folder `templates` of that Python package, found
wherever the package is installed. All pages extend "flmm_ros.report/base.html", the one place of
their look: light and dark, without scripts and without anything from the network.
"""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import jinja2


def render(template: str, **content: Any) -> str:
    """A page as HTML text."""
    return _environment().get_template(template).render(content)


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _source(name: str) -> str:
    package, _, file = name.partition("/")
    return files(package).joinpath("templates").joinpath(file).read_text(encoding="utf-8")
