"""One training run in one file: which model, which data, how the heads are trained, what is kept.

A recipe is a YAML file of `config/training`; any line can be replaced on the command line
("key=value"). Unknown keys are errors that name the nearest known one.
Does not know about: models, data sets, tensors.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from flmm_ros.engine.config import model_roots
from flmm_ros.engine.errors import ConfigError

Bounds = tuple[float, float]


def _setting(
    default: Any, doc: str, *, bounds: Bounds | None = None, choices: tuple[str, ...] | None = None
) -> Any:
    """A field that explains itself."""
    return field(default=default, metadata={"doc": doc, "bounds": bounds, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """Everything a run depends on, besides the files it names. Defaults are the paper's."""

    model: str = _setting(
        "llava_1_5_7b", "Frozen language model: what `model` of a grounder takes."
    )
    start: str = _setting(
        "sam",
        "What the heads begin as. sam: a new mask decoder, and the refiner of the segment-anything "
        "checkpoint that the model file names; model: the model's own heads; or a head file.",
    )
    base_channels: int = _setting(64, "Width of a new mask decoder.", bounds=(1, 1024))
    encoder: str = _setting(
        "frozen",
        "The refiner's image encoder. frozen: as the paper does; trained: along with the rest.",
        choices=("frozen", "trained"),
    )

    data_root: str = _setting("data", "Folder with the published data sets.")
    data: tuple[str, ...] = _setting(
        (), "Data to train on, each NAME:SPLIT or NAME:SPLIT:OPTION=VALUE."
    )
    validation: tuple[str, ...] = _setting((), "Data to choose the best step by, each NAME:SPLIT.")
    max_phrases: int = _setting(
        16, "Phrases of one sample in one step, drawn anew each epoch.", bounds=(1, 1024)
    )
    absent: bool = _setting(True, "Whether phrases that name nothing in the image are learned.")
    workers: int = _setting(4, "Processes a GPU that prepare samples. 0: none.", bounds=(0, 256))

    epochs: int = _setting(8, "Passes over the data.", bounds=(1, 100_000))
    max_steps: int = _setting(0, "End earlier, after this many steps. 0: after all epochs.")
    batch: int = _setting(1, "Samples a GPU and forward.", bounds=(1, 4096))
    accumulate: int = _setting(1, "Forwards a step.", bounds=(1, 4096))
    peak_rate: float = _setting(1e-4, "Highest learning rate.", bounds=(0.0, 1.0))
    warmup: float = _setting(0.03, "Share of the steps until it is reached.", bounds=(0.0, 1.0))
    weight_decay: float = _setting(0.01, "AdamW's.", bounds=(0.0, 1.0))
    clip: float = _setting(1.0, "Longest gradient. 0: any.", bounds=(0.0, 1e9))
    ema: float = _setting(
        0.0, "Decay of averaged weights, the ones then measured and kept. 0: none.", bounds=(0, 1)
    )
    seed: int = _setting(0, "Of new weights, order and draws.", bounds=(0, 2**31))

    coarse_weight: float = _setting(1.0, "Loss on the mask decoder's masks.", bounds=(0, 1e6))
    refined_weight: float = _setting(
        1.0, "Loss on the refiner's masks at image size.", bounds=(0, 1e6)
    )
    score_weight: float = _setting(1.0, "Loss on the predicted IoU.", bounds=(0, 1e6))
    selector_weight: float = _setting(0.0, "Loss on the phrase selector.", bounds=(0, 1e6))

    device: str = _setting("auto", "auto, cpu or cuda; which GPU is the launcher's choice.")
    precision: str = _setting(
        "auto",
        "What the heads compute with. auto: bf16 on a GPU, float32 on a CPU.",
        choices=("auto", "bf16", "float32"),
    )
    dtype: str = _setting(
        "auto",
        "Number format of the language model, as for a grounder.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    lmm_sharding: str = _setting(
        "none",
        "fsdp: each GPU keeps a part of the language model and fetches the rest layer by layer; "
        "for models that do not fit one GPU.",
        choices=("none", "fsdp"),
    )
    quantisation: str = _setting(
        "none", "Weights of the language model.", choices=("none", "8bit", "4bit")
    )
    download: bool = _setting(False, "Fetch a hub model that is not on this machine yet.")

    cache: str = _setting(
        "",
        "Folder of a feature cache (training.features). Empty: the frozen parts run each time.",
    )
    cache_maps: str = _setting("8bit", "Attention maps there.", choices=("fp16", "8bit"))
    cache_states: str = _setting("fp16", "Hidden states there.", choices=("fp16", "8bit"))
    cache_features: str = _setting("fp16", "Image features there.", choices=("fp16", "8bit"))

    out: str = _setting("out/training", "Folder of the run: checkpoints, logs, heads.")
    save_every: int = _setting(500, "Steps between checkpoints.", bounds=(1, 10**9))
    keep: int = _setting(2, "Checkpoints kept; the best is kept besides.", bounds=(1, 1000))
    validate_every: int = _setting(2000, "Steps between validations.", bounds=(1, 10**9))
    validate_count: int = _setting(500, "Samples a validation looks at.", bounds=(1, 10**9))
    picture_every: int = _setting(
        500, "Steps between pictures of masks and attention. 0: none.", bounds=(0, 10**9)
    )
    tensorboard: bool = _setting(True, "Write TensorBoard files.")
    wandb: str = _setting("", "Weights & Biases project. Empty: none.")

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each, getattr(self, each.name))
        if not self.data:
            raise ConfigError("data: expected at least one NAME:SPLIT, got none")
        if self.cache and self.encoder == "trained":
            raise ConfigError(
                "encoder: expected frozen with a feature cache, got trained; its features would "
                "change with every step, leave 'cache' empty"
            )


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe file, or the name of one that comes with the package, with some lines replaced by
    "key=value" texts.

    Raises:
        ConfigError: missing file, broken YAML, unknown key, wrong value.
    """
    path = _located(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a readable YAML recipe, got: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, got {type(content).__name__}")
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"override: expected key=value, got {text!r}")
        content[key.strip()] = yaml.safe_load(value) if value else ""
    return recipe_from(content, str(path))


def recipe_from(content: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A recipe from keys and values; errors as for `load_recipe`."""
    hints = typing.get_type_hints(Recipe)
    for key in content:
        if key not in hints:
            nearest = difflib.get_close_matches(str(key), list(hints), n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise ConfigError(
                f"{source}: unknown key {key!r}{hint}; known: {', '.join(sorted(hints))}"
            )
    return Recipe(**{key: _converted(hints[key], value) for key, value in content.items()})


def _located(path: str | Path) -> Path:
    """The file itself, or config/training/NAME.yaml of the repository or the installed package."""
    given = Path(path)
    named = [root / "config" / "training" / f"{given.name}.yaml" for root in model_roots()]
    if not given.suffix and not given.exists():
        return next((file for file in named if file.is_file()), given)
    return given


def as_text(recipe: Recipe) -> str:
    """The recipe as YAML that `load_recipe` reads."""
    content = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(recipe).items()
    }
    return yaml.safe_dump(content, sort_keys=False)


def _converted(kind: Any, value: Any) -> Any:
    """YAML knows lists for tuples, and reads 1e-4 as a text."""
    if isinstance(kind, types.GenericAlias):
        return tuple(value) if isinstance(value, list) else (value,)
    if kind is float and type(value) in (int, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _check(each: dataclasses.Field[Any], value: Any) -> None:
    kind = typing.get_type_hints(Recipe)[each.name]
    wanted = tuple if isinstance(kind, types.GenericAlias) else kind
    if type(value) is not wanted:
        raise ConfigError(
            f"{each.name}: expected {wanted.__name__}, got {type(value).__name__} {value!r}"
        )
    bounds, choices = each.metadata["bounds"], each.metadata["choices"]
    if bounds is not None and not bounds[0] <= value <= bounds[1]:
        raise ConfigError(f"{each.name}: expected {bounds[0]} to {bounds[1]}, got {value}")
    if choices is not None and value not in choices:
        raise ConfigError(f"{each.name}: expected one of {', '.join(choices)}, got {value!r}")
