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

"""Which models fit this machine at which precision, and which of their files are missing."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from flmm_ros.cli.doctor.published_sizes import PUBLISHED
from flmm_ros.engine.config import TRAINING_FREE, ModelConfig
from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.lmm import LoadOptions, adapter_of
from flmm_ros.engine.runtime.memory import GIB, PRECISIONS, need_of, size_of


@dataclass(frozen=True)
class ModelFacts:
    """One model on this machine.

    need_gib: at each precision, from its configuration or, while that is not here, from its
    published size; None where neither is known. fits: likewise. missing: what is not here, each
    with what to do.
    """

    name: str
    family: str
    need_gib: dict[str, float | None]
    fits: dict[str, bool | None]
    missing: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        """It can be loaded here and now."""
        return not self.missing and any(self.fits.values())


def model_facts(model: ModelConfig, free: int, given: str) -> ModelFacts:
    """Compares a model's need with `free` bytes; loads nothing.

    given: how the user named the model, for the commands that are advised: its own name may be
    known nowhere.
    """
    size = size_of(model)
    is_here = size is not None
    if size is None and model.lmm in PUBLISHED:
        size = PUBLISHED[model.lmm].size()
    needs = {precision: need_of(model, precision, size=size) for precision in PRECISIONS}
    return ModelFacts(
        name=model.name,
        family=model.family,
        need_gib={p: round(n.total / GIB, 2) if n else None for p, n in needs.items()},
        fits={p: n.total <= free if n else None for p, n in needs.items()},
        missing=tuple(_missing(model, given, is_here=is_here)),
    )


def _missing(model: ModelConfig, given: str, *, is_here: bool) -> list[str]:
    missing = []
    if not is_here:
        missing.append(f"lmm {model.lmm}: not here; fetch it once with the parameter download")
    else:
        try:
            adapter_of(model.family).load_image_processor(model, LoadOptions())
        except FlmmError as error:  # as the node would say when it loads the model
            missing.append(str(error))
    if model.heads == TRAINING_FREE:
        if not Path(model.localisation).is_file():
            missing.append(
                f"localisation {model.localisation}: make it with "
                f"flmm localise {shlex.quote(given)} IMAGES..."
            )
    elif not Path(model.heads).is_file():
        missing.append(f"heads {model.heads}: bring the file")
    if model.sam and not Path(model.sam).is_file():
        missing.append(f"sam {model.sam}: bring the file")
    return missing
