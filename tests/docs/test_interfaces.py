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

"""docs/interfaces.md says what the code does."""

import subprocess
import sys

import pytest
from harness import ROOT

from scripts.docs import interfaces


def test_the_page_is_up_to_date():
    page = interfaces.PAGE.read_text(encoding="utf-8")
    assert interfaces.filled(page) == page, "run: python -m scripts.docs.interfaces"


def test_a_change_is_noticed_and_text_around_the_tables_stays(tmp_path, monkeypatch, capsys):
    page = tmp_path / "interfaces.md"
    text = interfaces.PAGE.read_text(encoding="utf-8")
    page.write_text("before\n" + text.replace("`max_queue`", "`max_line`") + "after\n")
    monkeypatch.setattr(interfaces, "PAGE", page)
    assert interfaces.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert interfaces.main([]) == 0
    assert page.read_text() == "before\n" + text + "after\n"
    assert interfaces.main(["--check"]) == 0


def test_a_missing_marker_is_named():
    with pytest.raises(ValueError, match="<!-- begin inputs -->"):
        interfaces.filled("nothing here")


def test_fields_of_a_message():
    text = "# Top\n# of it.\n\nint32 a  # one\n         # two\n\n# both\nint32 b\nint32 c=3\n"
    fields, top = interfaces.fields_of(text)
    assert top == "Top of it."
    assert [(f.name, f.value, f.doc) for f in fields] == [
        ("a", "", "one two"),
        ("b", "", "both"),
        ("c", "3", "both"),
    ]


def test_every_field_has_a_meaning():
    rows = [row for table in interfaces.tables().values() for row in table.splitlines()]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_a_robot_program_needs_no_torch():
    code = "import sys, flmm_ros.ros.client.client; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
