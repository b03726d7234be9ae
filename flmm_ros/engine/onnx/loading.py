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

"""Brings trained heads into ONNX Runtime: from the cache, or exported and built first.

    heads = load_onnx_heads(heads, device="cuda", precision="auto", cache="")

Making is left to a process of its own. ONNX Runtime holds Python's global lock while TensorRT
builds an engine, for minutes: a node that did so itself could not even tell its state.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.checkpoint import save_heads
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.onnx.cache import (
    ENGINES,
    Facts,
    distrust,
    facts_of,
    folder_for,
    locked,
    made_anew,
)
from flmm_ros.engine.onnx.check import require_equal_masks
from flmm_ros.engine.onnx.graphs import GRAPHS, export_graphs, optional_package
from flmm_ros.engine.onnx.heads import OnnxHeads
from flmm_ros.engine.onnx.sessions import Choice, Sessions, choose

log = logging.getLogger(__name__)
_REPORT_EVERY_S = 5.0
_SHOWN_LINES = 3  # of a failed build's output


def load_onnx_heads(heads: Heads, *, device: str, precision: str, cache: str) -> OnnxHeads:
    """The same heads in ONNX Runtime. Takes `heads` over, and frees what is not needed of them.

    device: cpu, cuda or cuda:N. precision: auto, float32 or float16. cache: a folder; empty for
    the usual one.

    Raises:
        ConfigError: ONNX Runtime is missing, or the cache cannot be written.
        CheckpointError: the graphs could not be made, or draw other masks than torch.
    """
    choice = chosen(device, precision)
    facts = facts_of(heads, device=device, precision=choice.precision, providers=choice.providers)
    folder = folder_for(cache, facts)
    if reason := distrust(folder, facts):
        log.info("exporting heads for %s: %s", ", ".join(choice.providers), reason)
        optional_package("onnx")  # before a process is started that would miss it
        _build_elsewhere(heads, folder, device, precision)
        if reason := distrust(folder, facts):
            raise CheckpointError(f"{folder}: expected what was just built, got: {reason}")
    ours = opened(heads, folder, choice)
    require_equal_masks(heads, ours, choice.precision)
    ours.drop_weights()
    return ours


def chosen(device: str, precision: str) -> Choice:
    """Providers and precision on this machine; see `choose`."""
    return choose(device, optional_package("onnxruntime").get_available_providers(), precision)


def built(heads: Heads, folder: Path, facts: Facts, choice: Choice) -> bool:
    """Makes a folder of the cache in this process, unless it is there; whether it had to.

    Raises:
        ConfigError: onnx or onnxruntime is missing.
        CheckpointError: the graphs differ from torch, or draw other masks.
    """
    with locked(folder):
        if distrust(folder, facts) is None:  # another process was faster
            return False
        with made_anew(folder, facts):
            export_graphs(heads, folder, facts, half=choice.precision == "float16")
            # Engines are built when sessions open, and whatever was left when they first run.
            require_equal_masks(heads, opened(heads, folder, choice), choice.precision)
        return True


def opened(heads: Heads, folder: Path, choice: Choice) -> OnnxHeads:
    """Heads that run the graphs of a folder."""
    sessions = Sessions(
        optional_package("onnxruntime"),
        {name: folder / f"{name}.onnx" for name in GRAPHS},
        choice,
        engines=folder / ENGINES,
        threads=torch.get_num_threads(),
    )
    return OnnxHeads(heads, sessions)


def _build_elsewhere(heads: Heads, folder: Path, device: str, precision: str) -> None:
    """Fills the cache in another process (export.py) and logs that it is still at it.

    Raises:
        CheckpointError: it failed; with the end of what it printed.
    """
    environment = dict(os.environ)
    package_root = str(Path(__file__).resolve().parents[3])
    environment["PYTHONPATH"] = os.pathsep.join(
        [package_root, *filter(None, [environment.get("PYTHONPATH")])]
    )
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder.parent) as temporary:
        file, output = Path(temporary) / "heads.safetensors", Path(temporary) / "output"
        save_heads(file, heads, {"made": "for an export"})
        command = [sys.executable, "-m", "flmm_ros.engine.onnx.export"]
        command += [str(file), str(folder.parent), device, precision]
        with output.open("wb") as sink:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment
            )
        code = _wait(process)
        if code:
            ended = f"signal {-code}, perhaps out of memory" if code < 0 else f"exit code {code}"
            lines = output.read_text(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
            raise CheckpointError(
                f"heads for ONNX Runtime: expected a finished export, got {ended}: "
                f"{' / '.join(lines)}; use refiner_backend: torch"
            )


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code; the process ends with us, whatever ends us."""
    start_s = time.monotonic()
    try:
        while True:
            try:
                return process.wait(_REPORT_EVERY_S)
            except subprocess.TimeoutExpired:
                log.info("exporting heads: %.0f s so far", time.monotonic() - start_s)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
