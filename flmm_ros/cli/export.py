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

"""`flmm export`: trained heads as ONNX graphs, compared with torch.

flmm export tabletop --out out/onnx                  # graphs for whatever reads ONNX
flmm export tabletop --build-only --device cuda      # fill the cache of refiner_backend onnx
flmm export tabletop --time                          # ONNX Runtime beside torch
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from flmm_ros.engine.config import GrounderConfig, ModelConfig, find_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import load_model_heads, usable_device
from flmm_ros.engine.heads.trained import AnyHeads, Heads
from flmm_ros.engine.onnx.check import IMAGE_HW, Inputs, made_up_inputs, require_equal_masks
from flmm_ros.engine.onnx.export import export_to, fill_cache
from flmm_ros.engine.onnx.graphs import OPSET, export_graphs
from flmm_ros.engine.onnx.loading import chosen, opened

DEFAULT = GrounderConfig()
_ROUNDS = 15


def export(
    model: Annotated[
        str, typer.Argument(help="Name, YAML file, directory, or a head file (.safetensors).")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the graphs into a folder.")
    ] = None,
    build_only: Annotated[
        bool,
        typer.Option(
            "--build-only", help="Fill the cache of refiner_backend onnx: graphs, TensorRT engines."
        ),
    ] = False,
    times: Annotated[bool, typer.Option("--time", help="Time the graphs against torch.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = DEFAULT.device,
    precision: Annotated[
        Literal["auto", "float32", "float16"],
        typer.Option(help="auto: float32 on a CPU, float16 on a GPU."),
    ] = "auto",
    cache: Annotated[
        str, typer.Option(metavar="DIR", help="As refiner_cache.")
    ] = DEFAULT.refiner_cache,
) -> None:
    """Export trained heads to ONNX: --out, --build-only or --time, or several of them."""
    if not (out or build_only or times):
        raise typer.BadParameter("expected --out DIR, --build-only or --time")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    device = usable_device(device)
    if out:
        write_graphs(out, _heads(model), precision)
    if build_only:
        folder, was_made = fill_cache(_heads(model), device, precision, cache)
        print(f"{folder}: {'built' if was_made else 'was there already'}")
    if times:
        print_times(_heads(model), device, precision)


def write_graphs(out: Path, heads: Heads, precision: str) -> None:
    """Exports into a folder and prints what was written."""
    exported = export_to(out, heads, precision)
    for file, apart in exported.differences.items():
        size_mb = file.stat().st_size / 1e6
        print(f"{file}  {size_mb:.1f} MB, float32 within {apart:.1e} of torch")
    print(f"opset {OPSET}, {exported.precision}, {exported.duration_s:.0f} s")


def print_times(heads: Heads, device: str, precision: str) -> None:
    """Torch beside ONNX Runtime: interleaved rounds, medians, the median of the rounds' ratios."""
    choice = chosen(device, precision)
    with tempfile.TemporaryDirectory() as folder:
        export_graphs(heads, Path(folder), {}, half=choice.precision == "float16")
        heads = heads.to(device)
        ours = opened(heads, Path(folder), choice)
        require_equal_masks(heads, ours, choice.precision)
        inputs = made_up_inputs(heads)
        print(f"{len(inputs.states)} phrases, {torch.get_num_threads()} threads, {ours.backend}")
        print(f"{'':10} {'torch ms':>9} {'onnx ms':>9} {'torch/onnx':>11}")
        calls = zip(_stages(heads, inputs), _stages(ours, inputs), strict=True)
        for (stage, theirs), (_, mine) in calls:
            rounds = [(_timed_ms(theirs), _timed_ms(mine)) for _ in range(_ROUNDS)]
            theirs_ms, mine_ms = (statistics.median(each) for each in zip(*rounds, strict=True))
            ratio = statistics.median(a / b for a, b in rounds)
            print(f"{stage:10} {theirs_ms:9.2f} {mine_ms:9.2f} {ratio:11.2f}")


def _stages(heads: AnyHeads, inputs: Inputs) -> Iterator[tuple[str, Callable[[], object]]]:
    with torch.inference_mode():
        features, coarse = heads.see(inputs.image), heads.decode(inputs.maps)
        cues = [heads.weighted_states(states) for states in inputs.states]
    yield "decode", lambda: heads.decode(inputs.maps)
    yield "see", lambda: heads.see(inputs.image)
    yield "refine", lambda: heads.refine(features, coarse, cues, IMAGE_HW)


@torch.inference_mode()
def _timed_ms(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start_s) * 1e3


def _heads(model: str) -> Heads:
    """Trained heads of a model, or of a head file alone, in torch on the CPU.

    Raises:
        ConfigError: the model has none.
    """
    is_file = Path(model).suffix == ".safetensors"
    config = ModelConfig(name=model, lmm="none", heads=model) if is_file else find_model(model)
    heads = load_model_heads(config, "cpu")
    if not isinstance(heads, Heads):
        raise ConfigError(f"model {model!r}: expected trained heads, got {config.heads}")
    return heads
