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

"""Real processes: stopped by signals to the whole group, elastic, on disks that are full."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_training
from safetensors.torch import load_file

from training.loop.checkpoints import newest
from training.loop.monitor import read_log
from training.recipe import as_text
from training.train import train

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tiny_training.ROOT)}
TRAIN = [sys.executable, "-m", "training.train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
Lines = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("one_thread")


def _start(
    recipe: Any, command: list[str], preexec: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """In a session of its own, so that a signal to its group reaches nobody else."""
    path = Path(recipe.out).with_suffix(".yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(recipe))
    return subprocess.Popen(
        [*command, str(path)],
        cwd=tiny_training.ROOT,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=preexec,
    )


def _torchrun() -> list[str]:
    port = tiny_training.free_port()
    return [*TORCHRUN, "--master-port", str(port), "-m", "training.train"]


def _wait_for_steps(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 400
    while len(read_log(out)) < count:
        assert process.poll() is None, process.stderr and process.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_ends_with_a_checkpoint_and_goes_on(
    tmp_path: Path, lines: Lines, number: int
) -> None:
    """As Slurm and Kubernetes send it, and a terminal: the loader's workers get it as well."""
    setting = {"epochs": 40, "workers": 2, "save_every": 1000, "validate_every": 1000}
    recipe = lines(tmp_path / "run", **setting)
    process = _start(recipe, TRAIN)
    _wait_for_steps(tmp_path / "run", 6, process)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-3000:]
    assert "stopped by a signal, with a checkpoint" in errors
    found = newest(tmp_path / "run" / "checkpoints")
    steps = [line["step"] for line in read_log(tmp_path / "run")]
    assert found is not None and 6 <= found.step == steps[-1] < 160
    assert {line["group"] for line in read_log(tmp_path / "run")} == {"train"}
    if number == signal.SIGTERM:
        train(lines(tmp_path / "run", **setting))
        steps = [line["step"] for line in read_log(tmp_path / "run") if line["group"] == "train"]
        assert steps == list(range(1, 161))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_torchrun_stopped_by_its_group_goes_on_with_one_process(
    tmp_path: Path, lines: Lines
) -> None:
    setting = {"epochs": 30, "save_every": 1000, "validate_every": 1000, "ema": 0.9}
    both = lines(tmp_path / "run", batch=1, workers=1, **setting)
    process = _start(both, _torchrun())
    _wait_for_steps(tmp_path / "run", 4, process)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=200)
    stopped = newest(tmp_path / "run" / "checkpoints")
    assert stopped is not None and stopped.step >= 4 and len(stopped.rng_states) == 2
    # the same samples a step with one process, then again with two: both go on
    one = lines(tmp_path / "run", batch=2, accumulate=1, **setting)
    process = _start(one, TRAIN)
    _wait_for_steps(tmp_path / "run", stopped.step + 4, process)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-3000:]
    process = _start(both, _torchrun())
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-3000:]
    ours = [line for line in read_log(tmp_path / "run") if line["group"] == "train"]
    assert [line["step"] for line in ours] == list(range(1, 121))
    # one process without any stop learned the same from the same samples
    train(lines(tmp_path / "whole", **setting))
    theirs = [line for line in read_log(tmp_path / "whole") if line["group"] == "train"]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["total"] == pytest.approx(other["total"], rel=2e-2), (mine, other)
    first, second = (
        load_file(tmp_path / run / "heads_last.safetensors") for run in ("run", "whole")
    )
    begin = load_file(Path(both.model) / "heads.safetensors")
    moved = max(float((second[key] - begin[key]).abs().max()) for key in second)
    apart = max(float((first[key] - second[key]).abs().max()) for key in second)
    assert moved > 1e-2 and apart < moved / 10


@pytest.mark.timeout(600)
def test_a_stop_during_validation_leaves_it_due(tmp_path: Path, lines: Lines) -> None:
    setting = {"max_steps": 2, "validate_every": 1, "validate_count": 2, "save_every": 1000}
    whole = lines(tmp_path / "whole", **setting)
    train(whole)
    recipe = lines(tmp_path / "run", **setting)
    process = _start(recipe, TRAIN)
    _wait_for_steps(tmp_path / "run", 1, process)  # it validates next
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-3000:]
    train(recipe)
    assert read_log(tmp_path / "run") == read_log(tmp_path / "whole")


# --- disks ---


def _small_files() -> None:
    """No file of this process may be larger than 100 kB: the write fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@pytest.mark.timeout(600)
def test_a_disk_that_fills_up_is_named_and_nothing_is_damaged(tmp_path: Path, lines: Lines) -> None:
    recipe = lines(tmp_path / "run", max_steps=3, save_every=3)
    train(lines(tmp_path / "run", max_steps=3, save_every=1, keep=1, validation=[]))
    before = newest(tmp_path / "run" / "checkpoints")
    more = lines(tmp_path / "run", max_steps=6, allow_changed="max_steps", validation=[])
    process = _start(more, TRAIN, _small_files)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 2 and "Traceback" not in errors, errors[-3000:]
    told = " ".join(errors.split())
    assert "checkpoints/.unfinished-" in told and "KiB of room" in told and "free there:" in told
    after = newest(tmp_path / "run" / "checkpoints")
    assert before is not None and after is not None and after.step == before.step == 3
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000000003"]
    assert recipe.max_steps == 3


def test_a_file_in_the_folders_place_is_said_before_a_model_is_loaded(
    tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").write_text("here already")
    (tmp_path / "cache").write_text("here already")
    path = tmp_path / "recipe.yaml"
    path.write_text(as_text(lines(tmp_path / "run", model="no_such_model")))
    for command in (TRAIN, [sys.executable, "-m", "training.features"]):
        found = subprocess.run(
            [*command, str(path), f"cache={tmp_path / 'cache'}"],
            cwd=tiny_training.ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 2
        assert "expected a folder, got a file" in found.stderr and "Traceback" not in found.stderr
    assert (tmp_path / "run").read_text() == "here already"
