"""Checkpoints of a run that may be killed at any time: there are only complete ones.

A checkpoint is a folder, written under another name and renamed when every byte of it is on the
disk. The newest few are kept, and the heads of the best step as a file of their own.
"""

from __future__ import annotations

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
from safetensors.torch import load_file, save_file

from flmm_ros.engine.errors import CheckpointError

_PREFIX, _UNFINISHED = "step-", ".unfinished-"
Tensors = dict[str, torch.Tensor]


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
    """Writes a checkpoint and removes all but the `keep` newest."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_PREFIX}{checkpoint.step:09}"
    unfinished = folder / f"{_UNFINISHED}{checkpoint.step:09}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    save_file(_plain(checkpoint.weights), str(unfinished / "weights.safetensors"))
    save_file(_plain(checkpoint.averaged), str(unfinished / "averaged.safetensors"))
    rest = {
        "step": checkpoint.step,
        "state": dict(checkpoint.state),
        "chances": [dict(each) for each in checkpoint.rng_states],
    }
    torch.save(rest, unfinished / "state.pt")
    for path in [*unfinished.iterdir(), unfinished]:
        _sync(path)
    if target.exists():
        shutil.rmtree(target)
    unfinished.rename(target)
    _sync(folder)
    for old in _complete(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def newest(folder: Path, device: torch.device) -> Checkpoint | None:
    """The newest checkpoint, its weights on `device`; None where there is none.

    Raises:
        CheckpointError: it cannot be read.
    """
    found = _complete(folder)
    if not found:
        return None
    path = found[-1]
    try:
        rest = torch.load(path / "state.pt", weights_only=True, map_location="cpu")
        weights = load_file(str(path / "weights.safetensors"), device=str(device))
        averaged = load_file(str(path / "averaged.safetensors"), device=str(device))
        return Checkpoint(rest["step"], weights, averaged, rest["state"], rest["chances"])
    except (
        *(OSError, EOFError, RuntimeError, KeyError, ValueError),
        *(pickle.UnpicklingError, SafetensorError),
    ) as error:
        what = (str(error).splitlines() or [""])[0]
        raise CheckpointError(
            f"{path}: expected a checkpoint of this run, got {type(error).__name__}: {what}; "
            "remove this folder to go on from the one before"
        ) from error


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
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
