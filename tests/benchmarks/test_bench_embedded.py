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

"""The embedded model's seconds: which commands are measured, and the arithmetic of the table."""

import json

import pytest
from rich.console import Console

from benchmarks.engine import embedded as bench_embedded
from benchmarks.engine.embedded import TimedCommand, commands_of, measure, summary, table
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder


def took(kind, turn, seconds):
    return TimedCommand(kind, turn, seconds, {s: seconds / 10 for s in bench_embedded.STAGES})


def test_the_summary_is_of_each_kind_and_turn():
    many = [took("point", "first", s) for s in (0.1, 0.2, 0.9)]
    many += [took("point", "next", s) for s in (0.2, 0.3)]
    many += [took("question", turn, 0.15) for turn in ("first", "next")]
    found = summary(many)
    assert list(found) == ["point first", "point next", "question first", "question next"]
    first = found["point first"]
    assert (first["commands"], first["median_s"], first["most_s"]) == (3, 0.2, 0.9)
    assert first["p90_s"] == pytest.approx(0.2 + 0.8 * 0.7)
    assert first["stages_s"]["encode"] == pytest.approx(0.02)
    assert [row["holds"] for row in found.values()] == [True, False, True, True]
    assert found["point next"]["median_s"] == pytest.approx(0.25)
    content = {"machine": {"cores": 2}, "settings": {"threads": 2}, "embedded": found}
    console = Console(width=200, record=True)
    console.print(table(json.loads(json.dumps(content))))
    text = console.export_text()
    assert "0.250 s (<= 0.15 FAILS)" in text and "0.200 s (<= 0.5 holds)" in text


def test_the_first_command_finds_a_new_image_and_the_next_a_known_one(world):
    scene = world.render(bench_embedded.FIRST_SEED)
    assert scene.rgb.shape == (240, 320, 3)
    config = GrounderConfig(model="tabletop", device="cpu", threads=1, scene_cache=0)
    found = measure(Grounder.from_config(config), [scene])
    assert [(t.kind, t.turn) for t in found] == [
        ("point", "first"),
        ("point", "next"),
        ("question", "first"),
        ("question", "next"),
    ]
    for t in found:
        encoded = t.stages_s["encode"] > 0
        assert encoded == (t.turn == "first"), t
        assert (t.stages_s["generate"] > 0) == (t.kind == "question"), t
        assert t.stages_s["read"] > 0 and 0 < sum(t.stages_s.values()) <= t.seconds
    commands = commands_of(scene)
    assert commands["point"][0] == f"pick up the {scene.objects[0].name}"
    assert len({text for pair in commands.values() for text in pair}) == 4
