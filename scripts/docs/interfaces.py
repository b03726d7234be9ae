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

"""Keeps the tables of docs/interfaces.md true: topics, messages and parameters, from the code.

    python -m scripts.docs.interfaces            # writes the tables
    python -m scripts.docs.interfaces --check    # exit code 1 where they differ

What stands between two markers is replaced; all other text is left alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.config.schema import Setting, settings_of
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.ros.interface import endpoints, launch_arguments
from flmm_ros.ros.interface.endpoints import Endpoint
from flmm_ros.ros.interface.node_config import NodeConfig, SpaceConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "interfaces.md"

_FIELD = re.compile(r"^(\S+)\s+([A-Za-z]\w*)\s*(?:=\s*(\S+))?\s*(?:#\s*(.*))?$")


@dataclass(frozen=True)
class Field:
    """One line of a message file; `value` for constants only."""

    type: str
    name: str
    value: str
    doc: str


def fields_of(text: str) -> tuple[list[Field], str]:
    """The fields of a message's text and the comment at its top.

    A comment stands behind its field and may go on in indented lines; a comment of its own line
    holds for the fields below it that have none, until an empty line.
    """
    found: list[Field] = []
    above: list[str] = []
    top = ""
    for line in text.splitlines():
        stripped = line.strip()
        match = _FIELD.match(stripped)
        if not stripped:
            top = top or ("" if found else " ".join(above))
            above = []
        elif stripped.startswith("#"):
            comment = stripped.lstrip("# ").strip()
            if line[0] != "#" and found:
                last = found[-1]
                found[-1] = Field(last.type, last.name, last.value, f"{last.doc} {comment}")
            else:
                above.append(comment)
        elif match:
            kind, name, value, doc = match.groups()
            found.append(Field(kind, name, value or "", doc or " ".join(above)))
        else:
            raise ValueError(f"message: expected a field, a comment or nothing, got {line!r}")
    return found, top


def tables() -> dict[str, str]:
    """Every table by the name in its markers."""
    answer, answer_top = fields_of((ROOT / "msg" / "GroundedAnswer.msg").read_text())
    thing, thing_top = fields_of((ROOT / "msg" / "GroundedObject.msg").read_text())
    goal, result, feedback = (ROOT / "action" / "Ground.action").read_text().split("---\n")
    return {
        "inputs": _endpoints(endpoints.INPUTS),
        "outputs": _endpoints(endpoints.OUTPUTS),
        "services": _endpoints(endpoints.SERVICES),
        "action": _endpoints(endpoints.ACTIONS),
        "goal": _fields(fields_of(goal)[0]),
        "result": _fields(fields_of(result)[0]),
        "feedback": _fields(fields_of(feedback)[0]),
        "answer": f"{answer_top}\n\n{_fields(f for f in answer if not f.value)}",
        "codes": _codes(f for f in answer if f.value),
        "object": f"{thing_top}\n\n{_fields(thing)}",
        "node-parameters": _settings(settings_of(NodeConfig)),
        "space-parameters": _settings(settings_of(SpaceConfig)),
        "target-parameters": _settings(settings_of(TargetConfig)),
        "engine-parameters": _settings(settings_of(GrounderConfig)),
        "launch-arguments": _launch_arguments(),
    }


def filled(page: str) -> str:
    """The page with every table as the code says.

    Raises:
        ValueError: a table has no markers in the page.
    """
    for name, table in tables().items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, found, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"{PAGE}: expected the markers {begin} and {end}, found none")
        page = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def _endpoints(group: Sequence[Endpoint]) -> str:
    def type_of(endpoint: Endpoint) -> str:
        package, kind = endpoint.type.__module__.split(".")[:2]
        return f"`{package}/{kind}/{endpoint.type.__name__}`"

    rows = [(f"`{e.name}`", type_of(e), e.doc) for e in group]
    return _table(("name", "type", "meaning"), rows)


def _fields(fields: Iterable[Field]) -> str:
    return _table(
        ("field", "type", "meaning"), [(f"`{f.name}`", f"`{f.type}`", f.doc) for f in fields]
    )


def _launch_arguments() -> str:
    """The arguments that are no parameters of the node; those are in the tables above it."""
    own = (
        each
        for each in launch_arguments.ARGUMENTS
        if each.name == "autostart" or each.name not in launch_arguments.SETTINGS
    )
    rows = [
        (f"`{a.name}`", f"`{a.default}`", ", ".join(f"`{c}`" for c in a.choices if c), a.doc)
        for a in own
    ]
    return _table(("argument", "default", "values", "meaning"), rows)


def _codes(fields: Iterable[Field]) -> str:
    return _table(("code", "name", "about"), [(f.value, f"`{f.name}`", f.doc) for f in fields])


def _settings(settings: Sequence[Setting]) -> str:
    def range_of(s: Setting) -> str:
        if s.choices:
            return ", ".join(f"`{c}`" for c in s.choices)
        return "" if s.bounds is None else f"{s.bounds[0]:g} .. {s.bounds[1]:g}"

    def default_of(s: Setting) -> str:
        return f"`{str(s.default).lower() if isinstance(s.default, bool) else s.default}`"

    rows = [
        (
            f"`{s.name}`",
            type(s.default).__name__,
            default_of(s),
            range_of(s),
            "next command" if s.live else "configure",
            s.doc,
        )
        for s in settings
    ]
    return _table(("parameter", "type", "default", "values", "read at", "meaning"), rows)


def interfaces(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether they are true; 1 if not.")
    ] = False,
) -> int:
    """Write the tables of docs/interfaces.md."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = filled(page)
    if check and page != wanted:
        print(f"{PAGE} is out of date; run: python -m scripts.docs.interfaces", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command(interfaces, argv)


if __name__ == "__main__":
    sys.exit(main())
