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

Unknown keys and wrong values are errors that say what was expected. Does not know about: bags,
models.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.errors import ConfigError

_RULE = re.compile(r"^(<=|>=|<|>|==)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)$")
_WANTED = {
    "float": "a number of at least 0",
    "int": "whole numbers",
    "tuple": "a list of texts",
    "bool": "true or false",
    "str": "a text",
}
PartT = TypeVar("PartT")


@dataclass(frozen=True)
class ScenarioTopics:
    """Names in the recording. image: empty = the only one there is that is not another's."""

    image: str = ""
    depth: str = ""
    camera_info: str = ""
    command: str = ""  # std_msgs/String: sentences that were recorded are asked again


@dataclass(frozen=True)
class FrameSelection:
    """Which images are looked at. Seconds count from the first image."""

    start_s: float = 0.0
    stop_s: float = float("inf")
    every_s: float = 0.0  # at most one image in so many seconds; 0 = every one
    limit: int = 0  # 0 = no limit


@dataclass(frozen=True)
class TruthSource:
    """Where the true masks are: a topic of label images, or a COCO file beside the scenario.

    labels: Image mono8 or mono16, stamped like the camera image. names: topic of
    vision_msgs/LabelInfo that says what the numbers mean. fixed_names: the same, for the whole
    recording. sidecar: COCO JSON whose images have a `stamp_ns`. tolerance_ms: how far a stamp may
    be from the image's.
    """

    labels: str = ""
    names: str = ""
    fixed_names: Mapping[int, str] = field(default_factory=dict)
    sidecar: str = ""
    tolerance_ms: float = 0.0


@dataclass(frozen=True)
class Expectation:
    """A right answer. None = not judged.

    objects: names of the truth that are pointed at, all of them and nothing else; of an ambiguous
    command, the candidates. answer: words that stand in it; answer_without: words that do not.
    """

    objects: tuple[str, ...] | None = None
    answer: tuple[str, ...] = ()
    answer_without: tuple[str, ...] = ()
    ambiguous: bool | None = None
    error: str = "OK"


@dataclass(frozen=True)
class ScenarioCommand:
    """One sentence and when it is said. Seconds count from the first image.

    every_s: said again after so many seconds, 0 = on every frame (online: as soon as the last one
    is answered); None = once. chat: sentences with the same name are a conversation.
    cancel_after_s: online, the goal is cancelled so many seconds after it was sent.
    """

    say: str
    at_s: float = 0.0
    until_s: float = float("inf")
    every_s: float | None = None
    intent: str = ""
    chat: str = ""
    cancel_after_s: float | None = None
    expect: Expectation = Expectation()


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


@dataclass(frozen=True)
class Scenario:
    """See the module's docstring. sha256: of the file, so that runs can be told apart."""

    name: str
    commands: tuple[ScenarioCommand, ...]
    topics: ScenarioTopics = ScenarioTopics()
    frames: FrameSelection = FrameSelection()
    truth: TruthSource = TruthSource()
    thresholds: tuple[Threshold, ...] = ()
    path: Path = Path()
    sha256: str = ""


def load_scenario(path: Path | str) -> Scenario:
    """Reads a scenario.

    Raises:
        ConfigError: missing file, broken YAML, unknown key, wrong value.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected a scenario (YAML), nothing there") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected readable YAML, got: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, got {type(content).__name__}")
    try:
        return _scenario(content, path, hashlib.sha256(text.encode()).hexdigest())
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _scenario(content: Mapping[str, Any], path: Path, sha256: str) -> Scenario:
    _refuse_unknown(
        "scenario", content, ("name", "topics", "frames", "truth", "commands", "thresholds")
    )
    commands = content.get("commands") or []
    if not isinstance(commands, list):
        raise ConfigError(f"commands: expected a list, got {type(commands).__name__}")
    topics = _part(ScenarioTopics, "topics", content.get("topics"))
    if not commands and not topics.command:
        raise ConfigError("commands: expected at least one, or topics.command for recorded ones")
    truth = _part(TruthSource, "truth", content.get("truth"))
    if truth.labels and truth.sidecar:
        raise ConfigError("truth: expected labels or sidecar, got both")
    thresholds = content.get("thresholds") or {}
    if not isinstance(thresholds, dict):
        raise ConfigError(f"thresholds: expected 'metric: rule' lines, got {thresholds!r}")
    return Scenario(
        name=str(content.get("name") or path.stem),
        commands=tuple(_command(f"commands[{i}]", c) for i, c in enumerate(commands)),
        topics=topics,
        frames=_part(FrameSelection, "frames", content.get("frames")),
        truth=truth,
        thresholds=tuple(_threshold(str(m), r) for m, r in thresholds.items()),
        path=path,
        sha256=sha256,
    )


def _command(where: str, content: Any) -> ScenarioCommand:
    if not isinstance(content, dict) or not isinstance(content.get("say"), str):
        raise ConfigError(f"{where}: expected at least 'say: a sentence', got {content!r}")
    expect = _part(Expectation, f"{where}.expect", content.get("expect"))
    command = _part(ScenarioCommand, where, {**content, "expect": expect})
    known = [intent.value for intent in Intent]
    if command.intent and command.intent not in known:
        raise ConfigError(
            f"{where}.intent: expected one of {', '.join(known)}, got {command.intent!r}"
        )
    return command


def _threshold(metric: str, rule: Any) -> Threshold:
    found = _RULE.match(str(rule).strip())
    if found is None:
        raise ConfigError(f'thresholds.{metric}: expected a rule like ">= 0.7", got {rule!r}')
    return Threshold(metric, found[1], float(found[2]))


def _part(kind: type[PartT], where: str, content: Any) -> PartT:
    """One dataclass from a mapping, its keys and value types checked."""
    if content is None:
        return kind()
    if isinstance(content, kind):
        return content
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: expected 'key: value' lines, got {content!r}")
    hints = get_type_hints(kind)
    _refuse_unknown(where, content, [f.name for f in fields(kind)])  # type: ignore[arg-type]
    return kind(**{k: _value(f"{where}.{k}", str(hints[k]), v) for k, v in content.items()})


def _value(where: str, hint: str, value: Any) -> Any:
    """A value as its field wants it; the few types that occur here."""
    if "Expectation" in hint or (value is None and "None" in hint):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if "float" in hint and is_number and value >= 0:  # not NaN either
        return float(value)
    if hint == str(type(value)) and "float" not in hint and not (is_number and value < 0):
        return value
    if "tuple" in hint and isinstance(value, str) and "answer" in where:
        return tuple(value.split())
    if "tuple" in hint and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if "Mapping" in hint and isinstance(value, dict) and all(isinstance(k, int) for k in value):
        return {k: str(v) for k, v in value.items()}
    if "bool" in hint and isinstance(value, bool):
        return value
    wanted = next((w for part, w in _WANTED.items() if part in hint), hint)
    raise ConfigError(f"{where}: expected {wanted}, got {value!r}")


def _refuse_unknown(where: str, content: Mapping[str, Any], known: Any) -> None:
    for key in content:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise ConfigError(f"{where}: unknown key {key!r}{hint}; known: {', '.join(known)}")
