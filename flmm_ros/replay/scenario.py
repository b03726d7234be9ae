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

"""What a replay asks, what right answers are, and how good is good enough: a YAML file.

    name: mugs on a table
    topics: {image: /camera/image, depth: /camera/depth, camera_info: /camera/camera_info}
    truth: {labels: /truth/labels, names: /truth/label_info}
    commands:
      - say: pick up the red mug
        every_s: 0            # on every frame
        expect: {objects: [red mug]}
    thresholds:
      masks.cIoU: ">= 0.7"

Unknown keys and wrong values are errors that say what was expected.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flmm_ros.engine.answer import REQUESTED_INTENTS, Intent
from flmm_ros.engine.config.schema import INF, REQUIRED, build, check, refuse_unknown, setting
from flmm_ros.engine.config.yaml_file import read_yaml
from flmm_ros.engine.errors import ConfigError

_RULE = re.compile(r"^(<=|>=|<|>|==)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)$")
_FILE_KEYS = ("name", "topics", "frames", "truth", "commands", "thresholds")
_SECONDS = (0.0, INF)


def _split_words(value: Any) -> Any:
    """A text stands for its words."""
    return value.split() if isinstance(value, str) else value


@dataclass(frozen=True)
class ScenarioTopics:
    """Names in the recording."""

    image: str = setting("", "Camera images, raw or compressed; empty: the only topic of images.")
    depth: str = setting("", "Depth that is registered to the image.")
    camera_info: str = setting("", "The colour camera's intrinsics.")
    command: str = setting("", "std_msgs/String: sentences that were recorded are asked again.")
    depth_tolerance_ms: float = setting(
        50.0,
        "How far the stamps of depth and camera_info may be from the image's, as the node's "
        "parameter depth_tolerance.",
        bounds=_SECONDS,
    )


@dataclass(frozen=True)
class FrameSelection:
    """Which images are looked at. Seconds count from the first image."""

    start_s: float = setting(0.0, "Earlier ones are not.", bounds=_SECONDS)
    stop_s: float = setting(INF, "This one and later ones are not.", bounds=_SECONDS)
    every_s: float = setting(0.0, "At most one in so many seconds; 0: every one.", bounds=_SECONDS)
    limit: int = setting(0, "Most images; 0: all.", bounds=(0, 10**9))


@dataclass(frozen=True)
class TruthSource:
    """Where the true masks are: a topic of label images, or a COCO file beside the scenario."""

    labels: str = setting("", "Topic of images, mono8 or mono16, stamped like the camera's.")
    names: str = setting("", "Topic of vision_msgs/LabelInfo: what the numbers mean.")
    fixed_names: Mapping[int, str] = setting({}, "The same, for the whole recording.")
    sidecar: str = setting("", "COCO JSON whose images have a `stamp_ns`.")
    tolerance_ms: float = setting(0.0, "How far a stamp may be from the image's.", bounds=_SECONDS)

    def __post_init__(self) -> None:
        check(self)
        if self.labels and self.sidecar:
            raise ConfigError("expected labels or sidecar, got both")


@dataclass(frozen=True)
class Expectation:
    """A right answer. None = not judged."""

    objects: tuple[str, ...] | None = setting(
        None,
        "Names of the truth that are pointed at, all of them and nothing else; of an ambiguous "
        "command, the candidates.",
    )
    answer: tuple[str, ...] = setting((), "Words that stand in it.", convert=_split_words)
    answer_without: tuple[str, ...] = setting((), "Words that do not.", convert=_split_words)
    ambiguous: bool | None = setting(None, "Whether it asks which of several is meant.")
    error: str = setting("OK", "The code of a refusal.")


@dataclass(frozen=True)
class ScenarioCommand:
    """One sentence and when it is said. Seconds count from the first image."""

    say: str = setting(REQUIRED, "The sentence.")
    at_s: float = setting(0.0, "When it is said first.", bounds=_SECONDS)
    until_s: float = setting(INF, "Not from here on.", bounds=_SECONDS)
    every_s: float | None = setting(
        None,
        "Said again after so many seconds, 0: on every image (online: as soon as the last one is "
        "answered); left out: once.",
        bounds=_SECONDS,
    )
    intent: Intent | None = setting(None, "What it wants; left out: the engine decides.")
    chat: str = setting("", "Sentences with the same name are a conversation.")
    cancel_after_s: float | None = setting(
        None, "Online: the goal is cancelled so many seconds after it was sent.", bounds=_SECONDS
    )
    expect: Expectation = setting(Expectation(), "The right answer.")

    def __post_init__(self) -> None:
        check(self)
        if self.intent is not None and self.intent not in REQUESTED_INTENTS:
            names = ", ".join(each.value for each in REQUESTED_INTENTS)
            raise ConfigError(f"intent: expected one of {names}, got {self.intent.value!r}")


@dataclass(frozen=True)
class Threshold:
    """A metric and the value it has to reach, such as "masks.cIoU" ">= 0.7"."""

    metric: str
    sign: str
    value: float

    @property
    def rule(self) -> str:
        """As it was written."""
        return f"{self.sign} {self.value:g}"

    def is_met_by(self, measured: float | None) -> bool:
        """A metric without a value meets nothing."""
        if measured is None:
            return False
        return {
            "<=": measured <= self.value,
            ">=": measured >= self.value,
            "<": measured < self.value,
            ">": measured > self.value,
            "==": measured == self.value,
        }[self.sign]


def _thresholds(value: Any) -> Any:
    """From lines of metric and rule."""
    if not isinstance(value, Mapping):
        return value
    found = []
    for metric, rule in value.items():
        parts = _RULE.match(str(rule).strip())
        if parts is None:
            raise ConfigError(f'{metric}: expected a rule like ">= 0.7", got {rule!r}')
        found.append(Threshold(str(metric), parts[1], float(parts[2])))
    return tuple(found)


@dataclass(frozen=True)
class Scenario:
    """See the module's docstring. sha256: of the file, to distinguish runs with another one."""

    name: str = setting(REQUIRED, "In reports; left out: the name of the file.")
    commands: tuple[ScenarioCommand, ...] = setting((), "What is asked.")
    topics: ScenarioTopics = setting(ScenarioTopics(), "Names in the recording.")
    frames: FrameSelection = setting(FrameSelection(), "Which images are looked at.")
    truth: TruthSource = setting(TruthSource(), "Where the true masks are.")
    thresholds: tuple[Threshold, ...] = setting(
        (), "Lines of metric and rule, all of which a run has to meet.", convert=_thresholds
    )
    path: Path = Path()
    sha256: str = ""


def load_scenario(path: Path | str) -> Scenario:
    """Reads a scenario.

    Raises:
        ConfigError: missing file, broken YAML, unknown key, wrong value.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"{path}: expected a scenario (YAML), nothing there")
    content = read_yaml(path)
    refuse_unknown(content, _FILE_KEYS, str(path))
    content["name"] = str(content.get("name") or path.stem)
    found = build(Scenario, content, str(path))
    if not found.commands and not found.topics.command:
        raise ConfigError(
            f"{path}: commands: expected at least one, or topics.command for recorded ones"
        )
    text = path.read_text(encoding="utf-8")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return dataclasses.replace(found, path=path, sha256=sha256)
