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

"""Pictures of the tabletop with the names of what lies on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flmm_sim.recording import command
from flmm_sim.recording.snapshots import main
from flmm_sim.tabletop.tabletop import Tabletop


def test_pictures_and_their_phrases(tmp_path: Path) -> None:
    assert main(["--seeds", "2000100:2000102", "--out", str(tmp_path)]) == 0
    with Tabletop() as table:
        scene = table.render(2_000_101)
    with Image.open(tmp_path / "scene_2000101.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), scene.rgb)
    phrases = (tmp_path / "scene_2000101.txt").read_text().splitlines()
    assert phrases == [f"the {thing.name}" for thing in scene.objects]


@pytest.mark.parametrize("seeds", ["5:5", "4999999:5000001", "-1:3", "5", "a:b"])
@pytest.mark.parametrize("tool", [main, command.main])
def test_scenes_that_there_are_not_are_refused(
    tool: Callable[[list[str]], int], seeds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [str(tmp_path / "out")] if tool is command.main else ["--out", str(tmp_path / "out")]
    assert tool([*out, f"--seeds={seeds}"]) == 2
    assert f"got '{seeds}'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
