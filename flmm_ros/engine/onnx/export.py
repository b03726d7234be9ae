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

"""Writes trained heads as ONNX graphs: into a folder, or into the cache of the ONNX backend.

    python -m flmm_ros.engine.onnx.export HEADS.safetensors CACHE_DIR DEVICE PRECISION

fills the cache: `load_onnx_heads` starts it as a process. People use `flmm export`.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.grounder import usable_device
from flmm_ros.engine.heads.checkpoint import load_heads
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.onnx.cache import facts_of, folder_for
from flmm_ros.engine.onnx.check import require_equal_masks
from flmm_ros.engine.onnx.graphs import export_graphs
from flmm_ros.engine.onnx.loading import built, chosen, opened


@dataclass(frozen=True)
class Exported:
    """What `export_to` wrote. differences: for each file, how far its float32 numbers are from
    torch's."""

    differences: dict[Path, float]
    precision: str
    duration_s: float


def export_to(out: Path, heads: Heads, precision: str) -> Exported:
    """Writes the graphs into a folder, for whatever reads ONNX: all of them, or none.

    They are the same for every device, and checked on the CPU.

    Raises:
        ConfigError: onnx or onnxruntime is missing.
        CheckpointError: the graphs differ from torch, or draw other masks.
    """
    choice = chosen("cpu", precision)
    facts = facts_of(heads, device="cpu", precision=choice.precision, providers=choice.providers)
    out.mkdir(parents=True, exist_ok=True)
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=out) as temporary:
        folder = Path(temporary)
        differences = export_graphs(heads, folder, facts, half=choice.precision == "float16")
        require_equal_masks(heads, opened(heads, folder, choice), choice.precision)
        for file in folder.iterdir():
            file.replace(out / file.name)
    files = {out / f"{name}.onnx": apart for name, apart in differences.items()}
    return Exported(files, choice.precision, time.monotonic() - start_s)


def fill_cache(heads: Heads, device: str, precision: str, cache: str) -> tuple[Path, bool]:
    """Makes what `refiner_backend: onnx` would otherwise make when the model is loaded.

    Returns the folder of the cache, and whether it had to be made.

    Raises:
        As `export_to`.
    """
    choice = chosen(device, precision)
    facts = facts_of(heads, device=device, precision=choice.precision, providers=choice.providers)
    folder = folder_for(cache, facts)
    return folder, built(heads, folder, facts, choice)


def main(arguments: Sequence[str]) -> int:
    """The process that fills the cache. Returns the exit status."""
    file, cache, device, precision = arguments
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        device = usable_device(device)
        fill_cache(load_heads(file), device, precision, cache)
    except (FlmmError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
