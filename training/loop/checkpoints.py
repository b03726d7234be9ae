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

"""Checkpoints of a run that may be killed at any time: there are only complete ones.

A checkpoint is a folder, written under another name and renamed when every byte of it is on the
disk. The newest few are kept, and the heads of the best step as a file of their own.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from flmm_ros.engine.errors import CheckpointError
from training.disk import DiskError, write_whole, writing

_PREFIX, _UNFINISHED = "step-", ".unfinished-"
_WEIGHTS, _AVERAGED, _STATE = "weights.safetensors", "averaged.safetensors", "state.pt"
_RNG_STATES = "rng_states"
Tensors = dict[str, torch.Tensor]


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not whole; the one before may be."""


@dataclass(frozen=True)
class Checkpoint:
    """step: how many are done. weights: trained ones; averaged: their average, {} where there is
    none. state: optimizer and counters. rng_states: the random generators of every process."""

    step: int
    weights: Mapping[str, torch.Tensor]
    averaged: Mapping[str, torch.Tensor]
    state: Mapping[str, Any]
    rng_states: Sequence[Mapping[str, Any]]


def write(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Writes a checkpoint and removes all but the `keep` newest.

    Raises:
        DiskError: there is no room, or the folder cannot be written; the others stay as they are.
    """
    target = folder / f"{_PREFIX}{checkpoint.step:09}"
    unfinished = folder / f"{_UNFINISHED}{checkpoint.step:09}"
    rest = {
        "step": checkpoint.step,
        "state": dict(checkpoint.state),
        _RNG_STATES: [dict(each) for each in checkpoint.rng_states],
    }
    state = io.BytesIO()
    torch.save(rest, state)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
    try:
        write_whole(unfinished / _WEIGHTS, to_bytes(_plain(checkpoint.weights)))
        write_whole(unfinished / _AVERAGED, to_bytes(_plain(checkpoint.averaged)))
        write_whole(unfinished / _STATE, state.getvalue())
    except DiskError:
        shutil.rmtree(unfinished, ignore_errors=True)  # its room is needed
        raise
    with writing(folder):
        _sync(unfinished)
        if target.exists():
            shutil.rmtree(target)
        unfinished.rename(target)
        _sync(folder)
        for old in _complete(folder)[:-keep]:
            shutil.rmtree(old)
    return target


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint, its weights on the CPU; None where there is none.

    Raises:
        DamagedCheckpointError: it is not whole. CheckpointError: it cannot be read now.
    """
    found = _complete(folder)
    if not found:
        return None
    path = found[-1]
    try:
        rest = torch.load(path / _STATE, weights_only=True, map_location="cpu")
        weights, averaged = load_file(path / _WEIGHTS), load_file(path / _AVERAGED)
        # earlier versions had another word for the states of random generators
        rng_states = rest[_RNG_STATES] if _RNG_STATES in rest else rest["chances"]
        return Checkpoint(rest["step"], weights, averaged, rest["state"], rng_states)
    except (
        *(FileNotFoundError, EOFError, RuntimeError, KeyError, ValueError),
        *(pickle.UnpicklingError, SafetensorError),
    ) as error:
        what = (str(error).splitlines() or [""])[0]
        raise DamagedCheckpointError(
            f"{path}: expected a whole checkpoint, got {type(error).__name__}: {what}; rename this "
            "folder to go on from the one before"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint that can be read, got: {error}; it may well be whole: "
            "leave it there and see to the disk"
        ) from error


def keep_damaged_aside(folder: Path) -> list[Path]:
    """Renames damaged checkpoints until the newest is whole; where they are now.

    Raises:
        CheckpointError: one cannot be read now.
    """
    aside: list[Path] = []
    while True:
        try:
            newest(folder)
            return aside
        except DamagedCheckpointError:
            path = _complete(folder)[-1]
            number = 0
            while (target := folder / f"damaged-{path.name}-{number}").exists():
                number += 1
            with writing(folder):
                aside.append(path.rename(target))


def clear_unfinished(folder: Path) -> None:
    """Removes what a killed run was writing."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(path)


def rng_states_now() -> dict[str, Any]:
    """The random generators of this process: Python's, NumPy's, torch's, and the GPU's."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    numpy_keys = torch.from_numpy(np.array(keys, np.int64))
    state = {
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), numpy_keys, position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng_states(state: Mapping[str, Any]) -> None:
    """Sets this process's random generators."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _complete(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def _plain(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    # copies, for safetensors knows no tensors that share memory
    return {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
