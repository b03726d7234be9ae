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

"""Chooses what ONNX Runtime computes with, and opens the graphs with it.

TensorRT, then CUDA, then the CPU, as far as the device of the configuration goes and the installed
ONNX Runtime has them. The mask decoder is never given to TensorRT: its sizes follow the grid of the
language model, and an engine would be built anew, for minutes, in the middle of a command.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import ConfigError

log = logging.getLogger(__name__)
TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
NOT_FOR_TENSORRT = {"mask_decoder"}
MAX_PHRASES = 8  # that run at once; more go in parts
MAX_TOKENS = 256  # of one phrase, for TensorRT
_TYPICAL_PHRASES, _TYPICAL_TOKENS = 2, 4


@dataclass(frozen=True)
class Choice:
    """What to compute with. `warning`: what is missing and how to get it, or empty."""

    providers: tuple[str, ...]
    precision: str
    device_id: int = 0
    warning: str = ""


def choose(device: str, available: Sequence[str], precision: str) -> Choice:
    """From the engine's device (cpu, cuda, cuda:N), the providers of this ONNX Runtime, and what
    precision is wished (auto, float32, float16). auto: float16 on a GPU.

    Raises:
        ConfigError: not even the CPU's provider is there.
    """
    if CPU not in available:
        raise ConfigError(
            f"refiner_backend onnx: expected an ONNX Runtime with {CPU}, got one with "
            f"{', '.join(available) or 'no provider'}; install onnxruntime or onnxruntime-gpu"
        )
    kind, _, number = device.partition(":")
    wanted = (TENSORRT, CUDA, CPU) if kind == "cuda" else (CPU,)
    providers = tuple(p for p in wanted if p in available)
    if precision == "auto":
        precision = "float32" if providers[0] == CPU else "float16"
    warning = "" if providers[0] == wanted[0] else _missing(wanted[0], providers[0])
    return Choice(providers, precision, int(number or 0), warning)


def _missing(wanted: str, instead: str) -> str:
    return (
        f"heads run on {instead}, not on {wanted}: this ONNX Runtime cannot use it; install "
        "onnxruntime-gpu with the CUDA and TensorRT libraries that belong to its version"
    )


class Sessions:
    """The opened graphs of one folder, by name.

    Opening may build TensorRT engines, which takes minutes, and ONNX Runtime holds Python's global
    lock all the while; running gives it free.

    threads: of the CPU provider. engines: where TensorRT keeps its engines and timings. text: what
    really runs the graphs, each provider once, and the precision that was chosen.
    """

    def __init__(
        self,
        runtime: ModuleType,
        graphs: Mapping[str, Path],
        choice: Choice,
        *,
        engines: Path,
        threads: int,
    ) -> None:
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors: what matters of the rest is said here
        options.intra_op_num_threads = threads
        # Threads that wait in a loop for the next graph would take the time of the language model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._sessions = {}
        for name, path in graphs.items():
            providers, settings = _settings(runtime, name, path, choice, engines)
            self._sessions[name] = runtime.InferenceSession(
                str(path), options, providers=providers, provider_options=settings
            )
        used = dict.fromkeys(s.get_providers()[0] for s in self._sessions.values())
        self.text = f"{', '.join(used)} ({choice.precision})"
        warning = self._fallback(choice) or choice.warning
        if warning:
            log.warning(warning)

    def uses(self, provider: str) -> bool:
        """Whether a graph runs on it."""
        return any(s.get_providers()[0] == provider for s in self._sessions.values())

    def run(self, name: str, **inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The outputs of one graph, in its order."""
        outputs: list[NDArray[np.float32]] = self._sessions[name].run(None, inputs)
        return outputs

    def _fallback(self, choice: Choice) -> str:
        """ONNX Runtime goes on with less where a library is missing, and only prints that."""
        for name, session in self._sessions.items():
            wanted, used = _providers_for(name, choice)[0], session.get_providers()[0]
            if used != wanted:
                return _missing(wanted, used)
        return ""


def _providers_for(name: str, choice: Choice) -> list[str]:
    return [p for p in choice.providers if p != TENSORRT or name not in NOT_FOR_TENSORRT]


def _settings(
    runtime: ModuleType, name: str, path: Path, choice: Choice, engines: Path
) -> tuple[list[str], list[dict[str, str]]]:
    """Providers of one graph, and the options of each."""
    options: dict[str, dict[str, str]] = {
        CPU: {},
        CUDA: {"device_id": str(choice.device_id)},
        TENSORRT: {
            "device_id": str(choice.device_id),
            "trt_fp16_enable": str(choice.precision == "float16"),
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(engines),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(engines),
        },
    }
    providers = _providers_for(name, choice)
    if TENSORRT in providers:
        options[TENSORRT] |= tensorrt_profile(_free_inputs(runtime, path))
    return providers, [options[p] for p in providers]


def _free_inputs(runtime: ModuleType, path: Path) -> dict[str, list[int | str]]:
    """The inputs of a graph that have free axes, which are texts."""
    plain = runtime.InferenceSession(str(path), providers=[CPU])
    shapes: dict[str, list[int | str]] = {i.name: list(i.shape) for i in plain.get_inputs()}
    return {n: s for n, s in shapes.items() if any(isinstance(side, str) for side in s)}


def tensorrt_profile(free_inputs: Mapping[str, Sequence[int | str]]) -> dict[str, str]:
    """The sizes that an engine is built for, so that none is built later; nothing to say where
    every axis is fixed."""
    if not free_inputs:
        return {}

    def sizes(**axes: int) -> str:
        texts = {
            n: "x".join(str(axes.get(str(s), s)) for s in shape) for n, shape in free_inputs.items()
        }
        return ",".join(f"{name}:{text}" for name, text in texts.items())

    return {
        "trt_profile_min_shapes": sizes(N=1, T=1),
        "trt_profile_opt_shapes": sizes(N=_TYPICAL_PHRASES, T=_TYPICAL_TOKENS),
        "trt_profile_max_shapes": sizes(N=MAX_PHRASES, T=MAX_TOKENS),
    }
