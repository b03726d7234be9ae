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

"""The parts that are never trained: language model and, as a rule, the refiner's image encoder.

Several images of any sizes are one padded forward of each. A language model that does not fit one
GPU can be sharded: every process keeps a part of each layer and they meet layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import open_lmm
from flmm_ros.engine.heads.mask_refiner import MaskRefiner
from flmm_ros.engine.lmm import Lmm, LmmReading, joined_arguments
from training.features.readings import SampleReading
from training.features.ready_samples import FrozenInput
from training.recipe import Recipe


def open_frozen_lmm(recipe: Recipe, model: ModelConfig, device: torch.device) -> Lmm:
    """The language model of a recipe on this process's device.

    Raises:
        ConfigError, CheckpointError: as for a grounder; or sharding without several processes.
    """
    sharded = recipe.lmm_sharding == "fsdp"
    if sharded and not torch.distributed.is_initialized():
        raise ConfigError(
            "lmm_sharding fsdp: expected several processes, got one; start with torchrun or "
            "accelerate launch, or leave it at none"
        )
    if sharded and recipe.quantisation != "none":
        raise ConfigError("lmm_sharding fsdp: expected quantisation none, its layers cannot be cut")
    lmm = open_lmm(
        model,
        GrounderConfig(
            model=model.name,
            device="cpu" if sharded else str(device),
            dtype=_dtype(recipe, device),
            quantisation=recipe.quantisation,
            download=recipe.download,
        ),
    )
    if sharded:
        shard(lmm, device)
    return lmm


def shard(lmm: Lmm, device: torch.device) -> None:
    """Spreads the layers over all processes (FSDP), each on its own `device`.

    Only the language model is sharded. The heads are small: every process keeps them whole, and
    DistributedDataParallel averages their gradients.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for layer in lmm.model.get_decoder().layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(lmm.model.model, mesh=mesh)


@dataclass(frozen=True)
class FrozenReader:
    """Reads ready samples.

    with_answers: also keep what the phrase selector learns from. see_images: run the image encoder,
    or hand its pixels on for the heads to do it.
    """

    lmm: Lmm
    refiner: MaskRefiner
    device: torch.device
    with_answers: bool = False
    see_images: bool = True

    @torch.no_grad()
    def read(self, given: Sequence[FrozenInput]) -> list[SampleReading]:
        """One forward of each frozen part for all samples."""
        arguments = joined_arguments([each.image_args for each in given])
        readings = self.lmm.read_batch(
            {name: value.to(self.device) for name, value in arguments.items()},
            self.lmm.text().prefix(),
            [each.ids for each in given],
            [each.spans for each in given],
            [each.image_hw for each in given],
        )
        pixels = torch.stack([each.pixels for each in given]).to(self.device)
        features = self.refiner.features(pixels) if self.see_images else None
        return [
            self._reading(n, each, read, pixels, features)
            for n, (each, read) in enumerate(zip(given, readings, strict=True))
        ]

    def _reading(
        self,
        n: int,
        given: FrozenInput,
        read: LmmReading,
        pixels: torch.Tensor,
        features: torch.Tensor | None,
    ) -> SampleReading:
        first, stop = given.answer_span
        view = self.lmm.views(given.image_hw)[-1]
        return SampleReading(
            maps=read.maps.float(),
            states=read.states,
            box_xyxy_px=view.box_xyxy_px,
            answer=read.all_states[:, first:stop].float() if self.with_answers else None,
            groundable=given.groundable.to(self.device) if self.with_answers else None,
            features=None if features is None else features[n],
            pixels=pixels[n] if features is None else None,
        )


def _dtype(recipe: Recipe, device: torch.device) -> str:
    if recipe.dtype != "auto":
        return recipe.dtype
    return "bfloat16" if device.type == "cuda" else "float32"
