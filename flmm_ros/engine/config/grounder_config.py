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

"""What a user of the engine chooses: which model, on which device, with which limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flmm_ros.engine.config.schema import check, load, setting
from flmm_ros.engine.errors import ConfigError


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
    scene_cache: int = setting(
        2,
        "How many images are kept encoded, those of conversations included; the others are encoded "
        "again when they are asked about. 0: only the one in use.",
        bounds=(0, 64),
    )
    threads: int = setting(
        0,
        "CPU threads of the process. 0: half of the cores that it may use, at least 1, or what "
        "OMP_NUM_THREADS says: on all cores a command takes ten times as long as soon as something "
        "else runs on one of them.",
        bounds=(0, 1024),
    )

    def __post_init__(self) -> None:
        check(self)
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (number and not number.isdecimal()):
            raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N, got {self.device!r}")


def load_grounder_config(path: str | Path) -> GrounderConfig:
    """Reads a GrounderConfig from YAML.

    Raises:
        ConfigError: missing file, broken YAML, unknown key, wrong value.
    """
    return load(GrounderConfig, path)
