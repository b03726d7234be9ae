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

"""The engine's numbers are the official implementation's, case by case."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.parity import compare_case, parity

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ROOT.parent / "shared" / "golden"
OWN = ROOT / "tests" / "golden"
CASES = sorted(
    {
        p.parent.name: p.parent for p in [*BESIDE.glob("*/meta.json"), *OWN.glob("*/meta.json")]
    }.items()
)


@pytest.mark.parametrize("case", [p for _, p in CASES], ids=lambda p: p.name)
def test_every_tensor_holds(case: Path) -> None:
    failed = [c for c in compare_case(case) if not c.holds]
    assert not failed


def test_a_wrong_number_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = tmp_path / "case"
    shutil.copytree(next(OWN.iterdir()), case)
    meta = json.loads((case / "meta.json").read_text())
    meta["merge"] = "mean" if meta["merge"] == "max" else "max"
    (case / "meta.json").write_text(json.dumps(meta))
    assert run_command(parity, [str(case)]) == 1
    assert "mask_attentions" in capsys.readouterr().out


def test_what_cannot_be_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(parity, [str(tmp_path)]) == 2
    assert "expected a case with meta.json" in capsys.readouterr().err
