"""What can be set, with its meaning, default and bounds, once for Python, YAML and ROS.

`GrounderConfig` is what a user of the engine chooses; `ModelConfig` is one model, a YAML file of
about fifteen lines beside or pointing to its weights. Unknown keys are errors that list the known
ones.

Does not know about: weights, tensors, ROS.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from flmm_ros.engine.errors import ConfigError

TRAINING_FREE = "training_free"  # in the place of a head file
T = TypeVar("T", bound="GrounderConfig | ModelConfig")


def setting(
    default: Any,
    doc: str,
    *,
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] | None = None,
    live: bool = False,
) -> Any:
    """A dataclass field that explains itself.

    live: may change while the model stays loaded; the others need a new Grounder.
    """
    metadata = {"doc": doc, "bounds": bounds, "choices": choices, "live": live}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class GrounderConfig:
    """What a user of the engine chooses."""

    model: str = setting(
        "tabletop",
        "Model: a name (config/models/NAME.yaml, models/NAME/model.yaml), a YAML file, a directory "
        "with model.yaml or with weights, or a hub id owner/name@revision.",
    )
    device: str = setting("auto", "auto, cpu, cuda or cuda:N. auto: a GPU where there is one.")
    dtype: str = setting(
        "auto",
        "Number format of the language model. auto: float32 on a CPU, bfloat16 on a GPU.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    quantisation: str = setting(
        "none",
        "Weights of the language model in 8 or 4 bits: less memory, some loss.",
        choices=("none", "8bit", "4bit"),
    )
    download: bool = setting(
        False,
        "Fetch a hub model that is not on this machine yet. HF_HUB_OFFLINE=1 forbids it anyway.",
    )
    refiner_backend: str = setting(
        "torch",
        "What runs mask decoder and refiner. onnx: ONNX Runtime with TensorRT, CUDA or CPU, "
        "whichever is there.",
        choices=("torch", "onnx"),
    )
    refiner_precision: str = setting(
        "auto",
        "What onnx computes with. auto: float32 on a CPU, float16 on a GPU, where the masks are "
        "compared with float32 and refused if they differ.",
        choices=("auto", "float32", "float16"),
    )
    refiner_cache: str = setting(
        "", "Folder of exported heads and TensorRT engines. Empty: ~/.cache/flmm_ros."
    )
    compile: bool = setting(
        False, "Compile language model and heads with torch.compile: slow start, faster commands."
    )
    score_threshold: float = setting(
        -1.0,
        "Objects with a lower score are reported absent, 0..1. -1: the model's own threshold.",
        bounds=(-1.0, 1.0),
        live=True,
    )
    mask_threshold: float = setting(
        0.5, "Probability above which a pixel belongs to a mask.", bounds=(0.0, 1.0), live=True
    )
    max_new_tokens: int = setting(
        64, "Longest answer, in tokens of the model.", bounds=(1, 4096), live=True
    )
    max_command_chars: int = setting(
        1000, "Longest command, in characters.", bounds=(1, 100_000), live=True
    )
    max_image_megapixels: float = setting(
        40.0,
        "Larger images are refused: every object has a mask, a probability and a heat value for "
        "each pixel of the image, about 10 bytes a pixel.",
        bounds=(0.001, 10_000.0),
        live=True,
    )
    scene_cache: int = setting(2, "How many images are kept encoded. 0: none.", bounds=(0, 64))
    threads: int = setting(0, "CPU threads of the process. 0: PyTorch's default.", bounds=(0, 1024))

    def __post_init__(self) -> None:
        check(self)
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (number and not number.isdecimal()):
            raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N, got {self.device!r}")


@dataclass(frozen=True)
class ModelConfig:
    """One model: which language model, which heads, and how to talk to it."""

    name: str = setting("", "Name of the model in logs and messages.")
    family: str = setting("llava", "LMM family, a file of flmm_ros/engine/lmm.")
    lmm: str = setting("", "Language model: a directory relative to this file, or a hub id.")
    revision: str = setting("main", "Revision of a hub id.")
    heads: str = setting(
        "",
        "Heads: our .safetensors, an official F-LMM .pth, or training_free (a few localisation "
        "heads of the language model itself).",
    )
    localisation: str = setting(
        "localisation.json", "For training_free: which heads, a file beside this one."
    )
    sam: str = setting("", "segment-anything checkpoint, for official and training-free heads.")
    merge: str = setting("mean", "How a phrase's tokens are merged.", choices=("mean", "max"))
    reading: str = setting(
        "apart",
        "How several phrases are read. apart: each as the only answer to the prompt, all in one "
        "forward, so that no result depends on the other phrases. joined: as one answer, as the "
        "original does for RefCOCO; later phrases then know the earlier ones.",
        choices=("apart", "joined"),
    )
    prompt: str = setting(
        "Please give me a description of the image.", "What the phrases answer when they are read."
    )
    template: str = setting(
        "USER: <image>\n{text} ASSISTANT:", "Chat template; {text} is the command or the prompt."
    )
    next_turn: str = setting(
        "</s>USER: {text} ASSISTANT:",
        "What stands between an answer and the answer to the next command of a conversation.",
    )
    phrases: str = setting(
        "auto",
        "What finds the phrases of an answer. selector: the one trained with the heads; rules: "
        "English grammar; auto: the selector where the heads have one.",
        choices=("auto", "selector", "rules"),
    )
    score: str = setting(
        "iou_head",
        "Score of an object. iou_head: the predicted IoU, where it was trained (the embedded "
        "model's is calibrated to the probability that the IoU is above 0.5). mask_confidence: the "
        "mean probability inside the mask, for official heads, whose IoU head never was.",
        choices=("iou_head", "mask_confidence"),
    )
    score_threshold: float = setting(
        0.5, "Objects with a lower score are reported absent.", bounds=(0.0, 1.0)
    )
    max_image_tokens: int = setting(
        3000,
        "Most tokens of one image, where their number grows with the image (Qwen-VL): the model "
        "sees a larger image shrunk, masks keep its size. Other families have a most of their own, "
        "which the packaged model files name: the memory check reckons with it.",
        bounds=(16, 100_000),
    )

    def __post_init__(self) -> None:
        check(self)
        for key in ("lmm", "heads"):
            if not getattr(self, key):
                raise ConfigError(f"model {self.name!r}: expected a value for {key!r}, got none")


def with_overrides(config: T, overrides: Mapping[str, Any] | Sequence[str]) -> T:
    """A copy with some values replaced: a mapping, or "key=value" texts as on a command line.

    A leading "grounder." or "model." names the dataclass and is optional.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type or out of bounds.
    """
    if not isinstance(overrides, Mapping):
        pairs: dict[str, Any] = {}
        for text in overrides:
            key, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"override: expected key=value, got {text!r}")
            pairs[key.strip()] = _read_value(text, value)
        overrides = pairs
    prefix = "grounder." if isinstance(config, GrounderConfig) else "model."
    plain = {str(key).removeprefix(prefix): value for key, value in overrides.items()}
    _refuse_unknown(type(config), plain, "override")
    return dataclasses.replace(config, **_converted(type(config), plain))


def load_grounder_config(path: str | Path) -> GrounderConfig:
    """Reads a GrounderConfig from YAML."""
    content = _read_yaml(Path(path))
    _refuse_unknown(GrounderConfig, content, str(path))
    return GrounderConfig(**_converted(GrounderConfig, content))


def load_model_config(path: str | Path) -> ModelConfig:
    """Reads a model file; relative paths in it are relative to it.

    Raises:
        ConfigError: missing file, broken YAML, unknown key, wrong value.
    """
    path = Path(path)
    content = _read_yaml(path)
    _refuse_unknown(ModelConfig, content, str(path))
    values = _converted(ModelConfig, content)
    values.setdefault("name", path.parent.name if path.stem == "model" else path.stem)
    config = ModelConfig(**values)
    located: dict[str, Any] = {
        key: _located(path.parent, getattr(config, key), is_hub=key == "lmm")
        for key in ("lmm", "heads", "localisation", "sam")
        if getattr(config, key) not in ("", TRAINING_FREE)
    }
    return dataclasses.replace(config, **located)


def find_model(model: str) -> ModelConfig:
    """Resolves what a user writes for `model`: a YAML file, a directory, or a name.

    Raises:
        ConfigError: nothing of that name; the message lists where it looked and what is there.
    """
    given = Path(model).expanduser()
    if given.suffix in (".yaml", ".yml"):
        return load_model_config(given)
    if (given / "model.yaml").is_file():
        return load_model_config(given / "model.yaml")
    roots = model_roots()
    for root in roots:
        for candidate in (
            root / "config" / "models" / f"{model}.yaml",
            root / "models" / model / "model.yaml",
        ):
            if model and candidate.is_file():
                return load_model_config(candidate)
    known = known_models()
    where = ", ".join(str(root) for root in roots)
    raise ConfigError(
        "model: expected a YAML file, a directory with model.yaml, or a known name, got "
        f"{model!r}; known: {', '.join(known) or 'none'} (looked under {where})"
    )


def model_roots() -> tuple[Path, ...]:
    """Where names are looked up: the repository or installed package, then every ROS share
    folder."""
    package = Path(__file__).resolve().parents[2]
    roots = [package.parent, package]
    # <prefix>/lib/python3.x/site-packages/flmm_ros -> <prefix>/share/flmm_ros, colcon's and pip's
    roots += [parent / "share" / "flmm_ros" for parent in package.parents]
    found = [
        root for root in roots if any((root / d).is_dir() for d in ("models", "config/models"))
    ]
    return tuple(found) or (package.parent,)


def known_models() -> list[str]:
    """Names of the models that come with the package or lie in a ROS share folder."""
    return sorted({name for root in model_roots() for name in _models_in(root)})


def _models_in(root: Path) -> list[str]:
    return [p.stem for p in (root / "config" / "models").glob("*.yaml")] + [
        p.parent.name for p in (root / "models").glob("*/model.yaml")
    ]


def _located(base: Path, value: str, *, is_hub: bool) -> str:
    """A path relative to the model file made absolute; a hub id ("owner/name") left alone."""
    path = Path(value).expanduser()
    absolute = path if path.is_absolute() else base / path
    if is_hub and not absolute.exists() and value.count("/") == 1 and not value.startswith("."):
        return value
    return str(absolute)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected a YAML file, got nothing there") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected readable YAML, got: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, got {type(content).__name__}")
    return content


def _read_value(text: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there is not
        raise ConfigError(f"override: expected a YAML value in {text!r}, got: {error}") from error


def _refuse_unknown(kind: type[Any], content: Mapping[str, Any], source: str) -> None:
    known = [f.name for f in fields(kind)]
    for key in content:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise ConfigError(
                f"{source}: unknown key {key!r}{hint}; known: {', '.join(sorted(known))}"
            )


def _converted(kind: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """An integer where a float is meant is a float; everything else is checked as it is."""
    hints = get_type_hints(kind)
    return {
        key: float(value) if hints[key] is float and type(value) is int else value
        for key, value in content.items()
    }


def check(config: GrounderConfig | ModelConfig) -> None:
    """Types, bounds and choices of every field, from the fields themselves."""
    for f in fields(config):
        value, kind = getattr(config, f.name), type(f.default)
        bounds, choices = f.metadata["bounds"], f.metadata["choices"]
        if type(value) is not kind:
            raise ConfigError(
                f"{f.name}: expected {kind.__name__}, got {type(value).__name__} {value!r}"
            )
        if bounds is not None and not bounds[0] <= value <= bounds[1]:
            raise ConfigError(f"{f.name}: expected {bounds[0]} to {bounds[1]}, got {value}")
        if choices is not None and value not in choices:
            raise ConfigError(f"{f.name}: expected one of {', '.join(choices)}, got {value!r}")
