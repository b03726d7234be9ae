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

"""One training run in one file: which model, which data, how the heads are trained, what is kept.

A recipe is a YAML file of `config/training`; any line can be replaced on the command line
("key=value"). Unknown keys are errors that name the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flmm_ros.engine.config.model_search import model_roots
from flmm_ros.engine.config.schema import (
    build,
    check,
    load,
    setting,
    settings_of,
    single_as_list,
    to_yaml,
)
from flmm_ros.engine.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """Everything a run depends on, besides the files it names. Defaults are the paper's."""

    model: str = setting("llava_1_5_7b", "Frozen language model: what `model` of a grounder takes.")
    start: str = setting(
        "sam",
        "What the heads begin as. sam: a new mask decoder, and the refiner of the segment-anything "
        "checkpoint that the model file names; model: the model's own heads; new: all new, with "
        "a small image encoder, which needs encoder: trained and no SAM file; or a head file.",
    )
    base_channels: int = setting(64, "Width of a new mask decoder.", bounds=(1, 1024))
    encoder: str = setting(
        "frozen",
        "The refiner's image encoder. frozen: as the paper does; trained: along with the rest.",
        choices=("frozen", "trained"),
    )

    data_root: str = setting("data", "Folder with the published data sets.")
    data: tuple[str, ...] = setting(
        (),
        "Data to train on, each NAME:SPLIT or NAME:SPLIT:OPTION=VALUE.",
        convert=single_as_list,
    )
    validation: tuple[str, ...] = setting(
        (), "Data to choose the best step by, each NAME:SPLIT.", convert=single_as_list
    )
    max_phrases: int = setting(
        16, "Phrases of one sample in one step, drawn anew each epoch.", bounds=(1, 1024)
    )
    absent: bool = setting(True, "Whether phrases that name nothing in the image are learned.")
    workers: int = setting(4, "Processes a GPU that prepare samples. 0: none.", bounds=(0, 256))

    epochs: int = setting(8, "Passes over the data.", bounds=(1, 100_000))
    max_steps: int = setting(
        0, "End earlier, after this many steps. 0: after all epochs.", bounds=(0, 10**9)
    )
    batch: int = setting(1, "Samples a GPU and forward.", bounds=(1, 4096))
    accumulate: int = setting(1, "Forwards a step.", bounds=(1, 4096))
    peak_rate: float = setting(1e-4, "Highest learning rate.", bounds=(0.0, 1.0))
    warmup: float = setting(0.03, "Share of the steps until it is reached.", bounds=(0.0, 1.0))
    weight_decay: float = setting(0.01, "AdamW's.", bounds=(0.0, 1.0))
    clip: float = setting(1.0, "Longest gradient. 0: any.", bounds=(0.0, 1e9))
    ema: float = setting(
        0.0, "Decay of averaged weights, the ones then measured and kept. 0: none.", bounds=(0, 1)
    )
    seed: int = setting(0, "Of new weights, order and draws.", bounds=(0, 2**31))

    coarse_weight: float = setting(1.0, "Loss on the mask decoder's masks.", bounds=(0, 1e6))
    refined_weight: float = setting(
        1.0, "Loss on the refiner's masks at image size.", bounds=(0, 1e6)
    )
    score_weight: float = setting(1.0, "Loss on the predicted IoU.", bounds=(0, 1e6))
    selector_weight: float = setting(0.0, "Loss on the phrase selector.", bounds=(0, 1e6))

    device: str = setting("auto", "auto, cpu or cuda; which GPU is the launcher's choice.")
    precision: str = setting(
        "auto",
        "What the heads compute with. auto: bf16 on a GPU, float32 on a CPU; fp16: for GPUs "
        "without bf16, losses are scaled.",
        choices=("auto", "bf16", "fp16", "float32"),
    )
    dtype: str = setting(
        "auto",
        "Number format of the language model, as for a grounder.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    lmm_sharding: str = setting(
        "none",
        "fsdp: each GPU keeps a part of the language model and fetches the rest layer by layer; "
        "for models that do not fit one GPU.",
        choices=("none", "fsdp"),
    )
    quantisation: str = setting(
        "none", "Weights of the language model.", choices=("none", "8bit", "4bit")
    )
    download: bool = setting(False, "Fetch a hub model that is not on this machine yet.")

    cache: str = setting(
        "",
        "Folder of a feature cache (training.features). Empty: the frozen parts run each time.",
    )
    cache_maps: str = setting("8bit", "Attention maps there.", choices=("fp16", "8bit"))
    cache_states: str = setting("fp16", "Hidden states there.", choices=("fp16", "8bit"))
    cache_features: str = setting("fp16", "Image features there.", choices=("fp16", "8bit"))

    out: str = setting("out/training", "Folder of the run: checkpoints, logs, heads.")
    save_every: int = setting(500, "Steps between checkpoints.", bounds=(1, 10**9))
    keep: int = setting(2, "Checkpoints kept; the best is kept besides.", bounds=(1, 1000))
    validate_every: int = setting(2000, "Steps between validations.", bounds=(1, 10**9))
    validate_count: int = setting(500, "Samples a validation looks at.", bounds=(1, 10**9))
    picture_every: int = setting(
        500, "Steps between pictures of masks and attention. 0: none.", bounds=(0, 10**9)
    )
    tensorboard: bool = setting(True, "Write TensorBoard files.")
    wandb: str = setting("", "Weights & Biases project. Empty: none.")
    push_to_hub: str = setting(
        "",
        "Hub repository (OWNER/NAME) that heads and model file are uploaded to at the end, private "
        "where it is new. Empty: nothing leaves this machine.",
    )
    allow_changed: tuple[str, ...] = setting(
        (),
        "Settings that may differ from those of the checkpoint the run goes on from; the heads' "
        "provenance keeps the change.",
        convert=single_as_list,
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.data:
            raise ConfigError("data: expected at least one NAME:SPLIT, got none")
        unknown = [key for key in self.allow_changed if key not in known_keys()]
        if unknown:
            raise ConfigError(f"allow_changed: expected keys of a recipe, got {unknown[0]!r}")
        if self.start == "new" and self.encoder != "trained":
            raise ConfigError(
                "encoder: expected trained with start: new, got frozen; a new image encoder knows "
                "nothing yet"
            )
        if self.cache and self.encoder == "trained":
            raise ConfigError(
                "encoder: expected frozen with a feature cache, got trained; its features would "
                "change with every step, leave 'cache' empty"
            )


def known_keys() -> tuple[str, ...]:
    """The keys of a recipe."""
    return tuple(each.name for each in settings_of(Recipe))


_SETTINGS_HELP = "Settings: " + "; ".join(f"{s.name}: {s.doc}" for s in settings_of(Recipe))

# What every program that takes a recipe has on its command line.
RecipeArgument = Annotated[str, typer.Argument(help="A file of config/training, or its name.")]
RecipeSettings = Annotated[
    list[str],
    typer.Argument(metavar="[KEY=VALUE]...", help=f"Replaces a line of it. {_SETTINGS_HELP}"),
]


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe file, or the name of one that comes with the package, with some lines replaced by
    "key=value" texts.

    Raises:
        ConfigError: missing file, broken YAML, unknown key, wrong value.
    """
    return load(Recipe, _located(path), overrides)


def recipe_from(content: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A recipe from keys and values; errors as for `load_recipe`."""
    return build(Recipe, content, source)


def as_text(recipe: Recipe) -> str:
    """The recipe as YAML that `load_recipe` reads."""
    return to_yaml(recipe)


def _located(path: str | Path) -> Path:
    """The file itself, or config/training/NAME.yaml of the repository or the installed package."""
    given = Path(path)
    named = [root / "config" / "training" / f"{given.name}.yaml" for root in model_roots()]
    if not given.suffix and not given.exists():
        return next((file for file in named if file.is_file()), given)
    return given
