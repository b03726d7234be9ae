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

"""The heads as three ONNX graphs, each compared with torch before anybody may use it.

    mask_decoder     maps [N, C, h, w] -> coarse [N, h', w']
    image_encoder    pixels [1, 3, s, s] -> features [1, hidden, g, g]
    prompt_decoder   features, boxes [N, 4], masks [N, 1, 4g, 4g], cues [N, T, D]
                     -> low_logits [N, 4g, 4g], iou [N]

N, T and the grid h, w are free. What lies between the graphs stays in torch: the tight box around a
mask and the way into SAM's square follow from the size of the user's image, and cost next to
nothing. Cues of heads that use no text are left out.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.errors import CheckpointError, ConfigError
from flmm_ros.engine.heads.mask_decoder import MaskDecoder, enlargement
from flmm_ros.engine.heads.trained import Heads

OPSET = 18
TOLERANCE = 1e-3  # largest difference from torch, on logits
GRAPHS = ("mask_decoder", "image_encoder", "prompt_decoder")
FLOAT32_ONLY = {"mask_decoder"}  # its inputs are about 1e-3: even the norm's epsilon counts
_CHECKED_COUNTS, _CHECKED_TOKENS = (1, 3, 8), (1, 4)
_CHECKED_GRIDS = ((24, 24), (16, 20), (13, 41))  # one for each count

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Graph:
    """One graph: the module it is traced from, the names of its ends and its free axes."""

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    free_axes: Mapping[str, Mapping[int, str]]


def optional_package(name: str) -> Any:
    """A module of ONNX or ONNX Runtime, loaded where it is needed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ConfigError(
            f"refiner_backend onnx: expected the Python package {package}, got none ({error}); "
            "pip install 'flmm_ros[onnx]', or use refiner_backend: torch"
        ) from error


def graphs_of(heads: Heads) -> tuple[Graph, ...]:
    """The three graphs of these heads, in the order of GRAPHS."""
    words = {"cues": {0: "N", 1: "T"}} if heads.config.use_text else {}
    return (
        Graph(
            "mask_decoder",
            _TracedMaskDecoder(heads.mask_decoder),
            ("maps",),
            ("coarse",),
            {"maps": {0: "N", 2: "h", 3: "w"}, "coarse": {0: "N", 1: "H", 2: "W"}},
        ),
        Graph("image_encoder", heads.mask_refiner.image_encoder, ("pixels",), ("features",), {}),
        Graph(
            "prompt_decoder",
            _PromptDecoder(heads),
            ("features", "boxes", "masks", *words),
            ("low_logits", "iou"),
            {name: {0: "N"} for name in ("boxes", "masks", "low_logits", "iou")} | words,
        ),
    )


def export_graphs(
    heads: Heads, directory: Path, metadata: Mapping[str, str], *, half: bool = False
) -> dict[str, float]:
    """Writes NAME.onnx for each graph; the largest difference from torch, of each.

    metadata: goes into each file. half: image encoder and prompt decoder compute in float16, after
    their float32 form was compared.

    Raises:
        ConfigError: onnx or onnxruntime is missing.
        CheckpointError: a graph differs from torch; the folder is of no use then, remove it.
    """
    for package in ("onnx", "onnxruntime"):
        optional_package(package)
    differences = {}
    for graph in graphs_of(heads):
        path = directory / f"{graph.name}.onnx"
        differences[graph.name] = _export(heads, graph, path)
        precision = "float16" if half and graph.name not in FLOAT32_ONLY else "float32"
        if precision == "float16":
            _halve(path)
        _describe(path, {**metadata, "graph": graph.name, "precision": precision})
    return differences


def _export(heads: Heads, graph: Graph, path: Path) -> float:
    """Traces and writes one graph, and runs it beside torch."""
    # The tracing exporter: it keeps every free axis of these modules free, in a tenth of the time
    # the other one takes, and is there from torch 2.4 on.
    chosen: dict[str, Any] = (
        {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecation of that exporter; constants, checked below
        torch.onnx.export(
            graph.module.eval(),
            _example(heads, graph.name, count=2, tokens=3, grid_hw=_CHECKED_GRIDS[1]),
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in graph.free_axes.items()},
            opset_version=OPSET,
            **chosen,
        )
    return largest_difference(heads, graph, path)


def largest_difference(heads: Heads, graph: Graph, path: Path) -> float:
    """Runs a float32 graph on the CPU beside torch, for several N, T and grids.

    Raises:
        CheckpointError: more than TOLERANCE apart (features: that part of their largest value).
    """
    runtime = optional_package("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for inputs in _checked_inputs(heads, graph.name):
        with torch.inference_mode():
            made = graph.module(*inputs)
        wanted = made if isinstance(made, tuple) else (made,)
        feed = {name: x.numpy() for name, x in zip(graph.inputs, inputs, strict=True)}
        got = session.run(list(graph.outputs), feed)
        apart = max(_difference(want.numpy(), have) for want, have in zip(wanted, got, strict=True))
        is_features = graph.name == "image_encoder"
        allowed = TOLERANCE * max(1.0, float(made.abs().max())) if is_features else TOLERANCE
        if not apart <= allowed:
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
            raise CheckpointError(
                f"{graph.name}: expected the ONNX graph within {allowed:.0e} of torch, got "
                f"{apart:.1e} for inputs {shapes}; nothing of the export is kept, use "
                "refiner_backend: torch"
            )
        worst = max(worst, apart)
    return worst


def _difference(want: NDArray[np.float32], have: NDArray[np.float32]) -> float:
    """The largest; infinite where one is NaN or the shapes differ."""
    if want.shape != have.shape or not np.isfinite(have).all():
        return float("inf")
    return float(np.abs(want - have).max())


def _checked_inputs(heads: Heads, name: str) -> Iterator[Tensors]:
    if name == "image_encoder":
        yield _example(heads, name, count=1, tokens=1, grid_hw=_CHECKED_GRIDS[0])
        return
    for count, grid_hw in zip(_CHECKED_COUNTS, _CHECKED_GRIDS, strict=True):
        for tokens in _CHECKED_TOKENS if name == "prompt_decoder" else (1,):
            yield _example(heads, name, count=count, tokens=tokens, grid_hw=grid_hw)


def _example(
    heads: Heads, name: str, *, count: int, tokens: int, grid_hw: tuple[int, int]
) -> Tensors:
    """Random inputs of one graph, of the right shapes and about the right size."""
    random = torch.Generator().manual_seed(1000 * count + tokens)
    refiner, shape = heads.mask_refiner, heads.mask_refiner.shape
    if name == "mask_decoder":
        return (torch.rand(count, heads.lmm.map_channels, *grid_hw, generator=random),)
    if name == "image_encoder":
        return (torch.randn(1, 3, shape.input_size, shape.input_size, generator=random),)
    corners = torch.rand(count, 2, 2, generator=random).sort(dim=1).values
    side = 4 * refiner.grid
    inputs = (
        torch.randn(1, shape.hidden, refiner.grid, refiner.grid, generator=random),
        corners.flatten(1) * shape.input_size,
        4 * torch.randn(count, 1, side, side, generator=random),
        torch.randn(count, tokens, heads.lmm.width, generator=random),
    )
    return inputs if heads.config.use_text else inputs[:3]


def _halve(path: Path) -> None:
    """Rewrites a graph so that it computes in float16; its inputs and outputs stay float32."""
    onnx = optional_package("onnx")
    float16 = optional_package("onnxruntime.transformers.float16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constants too small for float16: the self-check judges
        halved = float16.convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    onnx.save(halved, str(path))


def _describe(path: Path, metadata: Mapping[str, str]) -> None:
    onnx = optional_package("onnx")
    model = onnx.load(str(path), load_external_data=False)
    onnx.helper.set_model_props(model, {f"flmm.{k}": v for k, v in metadata.items()})
    onnx.save(model, str(path))


class _PromptDecoder(nn.Module):
    """SAM's prompt encoder and mask decoder, with the projection of the words before them."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(
        self,
        features: torch.Tensor,
        boxes: torch.Tensor,
        masks: torch.Tensor,
        cues: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        words = None if cues is None else self.heads.text_proj(cues)
        return self.heads.mask_refiner.prompted(features, boxes, masks, words)


class _TracedMaskDecoder(nn.Module):
    """The mask decoder with an enlargement that follows the grid, instead of a traced constant."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        normalised = self.decoder.normalised(maps)
        return self.decoder.drawn(_Enlarged.apply(normalised, self.decoder.upsample_to))


class _Enlarged(torch.autograd.Function):
    """Bilinear enlargement by a factor that depends on the size: one Resize node in the graph."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, upsample_to: int) -> torch.Tensor:
        grid_hw = [int(side) for side in x.shape[-2:]]  # tensors, while tracing
        factor = enlargement(grid_hw, upsample_to)
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    @staticmethod
    def symbolic(g: Any, x: Any, upsample_to: int) -> Any:
        def constant(value: torch.Tensor) -> Any:
            return g.op("Constant", value_t=value)

        factors = [1.0, *(graph_factor(side, upsample_to) for side in range(1, upsample_to)), 1.0]
        sides = g.op("Slice", g.op("Shape", x), *(constant(torch.tensor([i])) for i in (2, 4)))
        longest = g.op("Min", g.op("ReduceMax", sides), constant(torch.tensor([upsample_to])))
        factor = g.op("Gather", constant(torch.tensor(factors)), longest)
        scales = g.op("Concat", constant(torch.ones(2)), factor, factor, axis_i=0)
        out = g.op(
            "Resize",
            x,
            constant(torch.tensor([], dtype=torch.float32)),
            scales,
            mode_s="linear",
            coordinate_transformation_mode_s="half_pixel",
        )
        return out.setType(x.type().with_sizes([None] * 4))


def graph_factor(longest: int, upsample_to: int) -> float:
    """The float32 enlargement that gives every side the size that torch's float64 gives it.

    ONNX Runtime multiplies and cuts off in float32: 41 * (64 / 41) is 63 there and 64 in torch.
    """
    exact = enlargement((longest, longest), upsample_to)
    sides = np.arange(1, longest + 1)
    nearest = np.float32(exact)
    up, down = (np.nextafter(nearest, np.float32(to)) for to in (np.inf, 0))
    for factor in (nearest, up, down):
        if np.array_equal(
            (sides.astype(np.float32) * factor).astype(int), (sides * exact).astype(int)
        ):
            return float(factor)
    raise CheckpointError(
        f"mask_decoder: expected a float32 factor that enlarges {longest} to {upsample_to}, got "
        "none; these heads cannot be exported, use refiner_backend: torch"
    )
