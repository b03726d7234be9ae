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

"""The settings mechanism: sections, lists of sections, types, overrides, and its one error text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from flmm_ros.engine.config.schema import (
    INF,
    REQUIRED,
    build,
    changed_settings,
    check,
    load,
    setting,
    settings_of,
    single_as_list,
    to_yaml,
    with_overrides,
)
from flmm_ros.engine.errors import ConfigError


class Mode(Enum):
    FAST = "fast"
    EXACT = "exact"


@dataclass(frozen=True)
class Frames:
    start_s: float = setting(0.0, "Seconds.", bounds=(0.0, INF))
    limit: int | None = setting(None, "Most images.", bounds=(0, 9), live=True)

    def __post_init__(self) -> None:
        check(self)
        if self.limit == 7:
            raise ConfigError("limit: expected another number than 7, got 7")


@dataclass(frozen=True)
class Spoken:
    say: str = setting(REQUIRED, "The sentence.")
    words: tuple[str, ...] = setting((), "Words of the answer.", convert=single_as_list)
    is_ambiguous: bool | None = None  # without `setting`


@dataclass(frozen=True)
class ScenarioConfig:
    name: str = setting(REQUIRED, "Name.")
    frames: Frames = setting(Frames(), "Which images.")
    spoken: tuple[Spoken, ...] = setting((), "What is said.")
    names: Mapping[int, str] = setting({}, "What the labels mean.")
    rates: tuple[float, ...] = setting((0.5,), "Rates.", bounds=(0.0, 1.0))
    folder: Path = setting(Path(), "A folder.")
    mode: Mode = setting(Mode.FAST, "A mode.")
    hold: str = setting("off", "On or off.", choices=("off", "on"))


TEXT = """
name: mugs
frames: {start_s: 2, limit: 3}
spoken:
  - say: the mug
    words: red
  - {say: the cube, words: [a, b], is_ambiguous: true}
names: {1: mug}
rates: [1e-4, 1]
folder: a/b
mode: exact
hold: on
"""
READ = ScenarioConfig(
    name="mugs",
    frames=Frames(2.0, 3),
    spoken=(Spoken("the mug", ("red",)), Spoken("the cube", ("a", "b"), True)),
    names={1: "mug"},
    rates=(1e-4, 1.0),
    folder=Path("a/b"),
    mode=Mode.EXACT,
    hold="on",
)


def read(tmp_path: Path, text: str, overrides: tuple[str, ...] = ()) -> ScenarioConfig:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return load(ScenarioConfig, path, overrides)


def test_a_file_is_read_with_sections_lists_and_types(tmp_path: Path) -> None:
    found = read(tmp_path, TEXT)
    assert found == READ
    assert type(found.frames.start_s) is float and type(found.rates[1]) is float


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read(tmp_path, to_yaml(READ)) == READ


def test_sections_with_nothing_behind_them_have_their_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "name: x\nframes:\nspoken:\nnames:\n") == ScenarioConfig("x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: fast", "file.yaml: expected a value for 'name', got none"),
        ("name: x\nname: y", r"file.yaml: expected readable YAML, got: the key 'name' a second"),
        ("name: x\nframes: {limit: 1, limit: 2}", "the key 'limit' a second time"),
        ("name: x\nframe: 1", r"file.yaml: unknown key 'frame' \(did you mean 'frames'\?\); known"),
        ("name: x\nspoken: [{say: a}, {sey: a}]", r"file.yaml: spoken\[1\]: unknown key 'sey' \("),
        ("name: x\nspoken: [{words: a}]", r"spoken\[0\]: expected a value for 'say', got none"),
        ("name: x\nspoken: [a]", r"spoken\[0\]: expected 'key: value' lines, got 'a'"),
        ("name: x\nspoken: a", r"spoken: expected a list of entries, got str 'a'"),
        ("name: x\nspoken: [{say: a, words: [1]}]", r"spoken\[0\].words\[0\]: expected str, got i"),
        ("name: x\nspoken: [{say: a, is_ambiguous: 3}]", r"\.is_ambiguous: expected bool, got in"),
        ("name: x\nframes: {start_s: -1}", r"frames\.start_s: expected a number of at least 0, g"),
        ("name: x\nframes: {start_s: .nan}", "expected a number of at least 0, got nan"),
        ("name: x\nframes: {limit: 10}", r"frames\.limit: expected 0 to 9, got 10"),
        ("name: x\nframes: {limit: 7}", "file.yaml: frames: limit: expected another number than 7"),
        ("name: x\nnames: {a: b}", "names: key 'a': expected int, got str 'a'"),
        ("name: x\nrates: [0.5, 2]", r"rates\[1\]: expected 0.0 to 1.0, got 2.0"),
        ("name: x\nrates: 0.5", "rates: expected a list of numbers, got float 0.5"),
        ("name: x\nfolder: 3", "folder: expected a path, got int 3"),
        ("name: x\nmode: slow", "mode: expected one of fast, exact, got str 'slow'"),
        ("name: x\nhold: maybe", "hold: expected one of off, on, got 'maybe'"),
        ("name: 2024-13-45", "expected readable YAML"),
        ("[" * 3000, "expected readable YAML"),
    ],
)
def test_errors_name_file_key_expectation_and_value(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_merge_keys_of_yaml_may_be_replaced(tmp_path: Path) -> None:
    text = "name: x\nframes: &f {limit: 1}\n"
    assert read(tmp_path, text + "spoken:\n  - {say: a}\n").frames.limit == 1
    text = "name: x\nnames: {<<: {1: a, 2: b}, 1: c}\n"
    assert read(tmp_path, text).names == {1: "c", 2: "b"}


def test_overrides_replace_lines_and_reach_into_sections(tmp_path: Path) -> None:
    found = read(tmp_path, TEXT, ("frames.start_s=5", "hold=off", "rates=[0.25]", "name="))
    assert (found.frames, found.hold, found.rates) == (Frames(5.0, 3), "off", (0.25,))
    assert found.name == "" and found.spoken == READ.spoken
    changed = with_overrides(READ, {"scenario.frames.limit": 1, "mode": "fast"})
    assert changed.frames == Frames(2.0, 1) and changed.mode is Mode.FAST
    assert [s.name for s in changed_settings(READ, changed)] == ["frames", "mode"]
    with pytest.raises(ConfigError, match=r"override: frames: unknown key 'limt' \(did you mean"):
        with_overrides(READ, ["frames.limt=1"])
    with pytest.raises(ConfigError, match="expected key=value, got 'x'"):
        with_overrides(READ, ["x"])


def test_settings_describe_themselves() -> None:
    start, limit = settings_of(Frames)
    assert (start.name, start.default, start.doc, start.bounds) == (
        "start_s",
        0.0,
        "Seconds.",
        (0, INF),
    )
    assert (limit.live, start.live) == (True, False)
    assert limit.refusal(10) == "limit: expected 0 to 9, got 10"
    assert limit.refusal(None) is None and start.refusal(3) is None
    hold = settings_of(ScenarioConfig)[-1]
    assert hold.converted(True) == "on" and hold.choices == ("off", "on")


def test_values_made_in_python_are_checked_alike() -> None:
    with pytest.raises(ConfigError, match="start_s: expected float, got int 1"):
        Frames(start_s=1)
    with pytest.raises(ConfigError, match="start_s: expected a number of at least 0, got -1.0"):
        Frames(start_s=-1.0)


def test_equal_sections_are_not_shared() -> None:
    first, second = build(ScenarioConfig, {"name": "a"}), build(ScenarioConfig, {"name": "b"})
    assert first.names == {} and first.names is not second.names
