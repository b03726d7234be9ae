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

"""docs/troubleshooting.md has an entry for every sentence and code of the node, and no other."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("rclpy") is None:
    pytest.skip("no rclpy here", allow_module_level=True)

from flmm_ros.ros.interface.error_codes import CODE_NAMES
from flmm_ros.ros.interface.problems import STATES, Complaint, Problem

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text()


def entries(chapter):
    """Heading -> text of each entry of a chapter."""
    body = PAGE.split(f"\n## {chapter}\n")[1].split("\n## ")[0]
    parts = re.split(r"^### ", body, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].strip("`"): part.partition("\n")[2].strip() for part in parts}


@pytest.mark.parametrize(
    ("chapter", "said"),
    [
        ("What /diagnostics says", [problem.value for problem in Problem]),
        ("States", list(STATES.values())),
        ("Refusals", [name for name in CODE_NAMES.values() if name != "OK"]),
    ],
)
def test_every_message_has_its_entry_and_every_entry_its_message(chapter, said):
    found = entries(chapter)
    assert sorted(found) == sorted(said)
    assert all(len(text) > 15 or heading == "active" for heading, text in found.items())


def test_every_problem_can_be_filled_in():
    for problem in Problem:
        names = re.findall(r"{(\w+)", problem.value)
        complaint = Complaint.of(problem, **dict.fromkeys(names, 7.0))
        assert "7" in complaint.text or not names
        assert "{" not in complaint.text
