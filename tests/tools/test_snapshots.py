"""Pictures of the tabletop with the names of what lies on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flmm_ros.tools.snapshots import main
from flmm_ros.tools.tabletop import Tabletop


def test_pictures_and_their_phrases(tmp_path: Path) -> None:
    assert main(["--seeds", "2000100:2000102", "--out", str(tmp_path)]) == 0
    with Tabletop() as table:
        scene = table.render(2_000_101)
    with Image.open(tmp_path / "scene_2000101.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), scene.rgb)
    phrases = (tmp_path / "scene_2000101.txt").read_text().splitlines()
    assert phrases == [f"the {thing.name}" for thing in scene.objects]
    with pytest.raises(SystemExit):
        main(["--seeds", "5:5"])
