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

"""The whole loop on a tiny model: killed and gone on, on two processes, what it leaves behind."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_training
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import CheckpointError, FlmmError
from flmm_ros.engine.grounder import Grounder
from training.features.build import make
from training.features.store import FeatureStore
from training.loop.assembly import assemble
from training.loop.monitor import read_log
from training.loop.order import SampleOrder
from training.recipe import as_text
from training.train import main, train

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tiny_training.ROOT)}

pytestmark = pytest.mark.usefixtures("one_thread")


def _started(recipe: Any, **environment: str) -> subprocess.Popen[str]:
    path = Path(recipe.out).with_suffix(".yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(recipe))
    return subprocess.Popen(
        [sys.executable, "-m", "training.train", str(path)],
        cwd=tiny_training.ROOT,
        env={**ENVIRONMENT, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def _curve(out: Path) -> list[dict[str, Any]]:
    return read_log(out)


@pytest.mark.timeout(900)
def test_a_run_that_was_killed_goes_on_exactly(tmp_path: Path, lines: Any) -> None:
    setting = {"epochs": 3, "ema": 0.9, "save_every": 3, "selector_weight": 0.1, "keep": 1}
    whole = lines(tmp_path / "whole", **setting)
    train(whole)
    cut = lines(tmp_path / "cut", **setting)
    process = _started(cut)
    kill_at = random.SystemRandom().randint(4, 10)
    deadline = time.monotonic() + 400
    while len(_curve(tmp_path / "cut")) < kill_at and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()
    train(cut)
    assert _curve(tmp_path / "cut") == _curve(tmp_path / "whole"), f"killed at line {kill_at}"
    assert [line["step"] for line in _curve(tmp_path / "cut") if line["group"] == "train"] == list(
        range(1, 13)
    )
    for name in ("heads_best.safetensors", "heads_last.safetensors"):
        ours, theirs = (load_file(tmp_path / run / name) for run in ("cut", "whole"))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert [p.name for p in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-000000012"]
    with pytest.raises(FlmmError, match="same data and number of samples a step"):
        train(lines(tmp_path / "cut", **setting, accumulate=2))


@pytest.mark.timeout(900)
def test_two_processes_learn_what_one_does_from_the_same_samples(
    tmp_path: Path, lines: Any
) -> None:
    setting = {"data": ["refcoco:train", "grefcoco:train"], "validate_count": 3}
    alone = lines(tmp_path / "alone", batch=4, **setting)
    train(alone)
    both = lines(tmp_path / "both", batch=1, accumulate=2, lmm_sharding="fsdp", **setting)
    port = str(tiny_training.free_port())
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        _started(both, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors[-3000:]
    ours, theirs = _curve(tmp_path / "both"), _curve(tmp_path / "alone")
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        for name in set(mine) - {"step", "group"}:
            assert mine[name] == pytest.approx(other[name], rel=2e-3, abs=2e-4), (name, mine, other)
    first, second = (
        load_file(tmp_path / run / "heads_last.safetensors") for run in ("both", "alone")
    )
    start = load_file(Path(alone.model) / "heads.safetensors")
    moved = max(float((second[key] - start[key]).abs().max()) for key in second)
    apart = max(float((first[key] - second[key]).abs().max()) for key in second)
    assert moved > 3e-3  # eight steps of a thousandth
    assert apart < moved / 100


def test_what_a_run_leaves_behind_is_a_model(tmp_path: Path, lines: Any) -> None:
    recipe = lines(
        tmp_path / "run", max_steps=2, picture_every=1, tensorboard=True, selector_weight=0.5
    )
    measured = train(recipe)
    assert measured["phrases"] == 3
    grounder = Grounder.from_config(
        GrounderConfig(model=str(tmp_path / "run" / "model.yaml"), device="cpu")
    )
    assert grounder.heads.has_selector
    scene = grounder.open(np.full((48, 64, 3), 90, np.uint8))
    assert scene.ground(["the red mug"])[0].mask.shape == (48, 64)
    before = load_file(Path(recipe.model) / "heads.safetensors")
    after = load_file(tmp_path / "run" / "heads_last.safetensors")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert "mask_decoder.out.weight" in changed and "text_layer_weights" in changed
    assert not any("image_encoder" in key or "positional" in key for key in changed)
    events = list((tmp_path / "run" / "tensorboard").iterdir())
    assert len(events) == 1
    tags = _tags(events[0])
    assert {"train/coarse", "train/refined", "train/score", "train/selector"} <= tags["scalars"]
    assert {"train/rate", "validation/cIoU"} <= tags["scalars"]
    assert "attention, predicted, true" in tags["images"]


def _tags(event_file: Path) -> dict[str, set[str]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(event_file))
    found.Reload()
    return {kind: set(tags) for kind, tags in found.Tags().items() if isinstance(tags, list)}


def test_half_precision_absent_phrases_and_a_trained_encoder(tmp_path: Path, lines: Any) -> None:
    recipe = lines(
        tmp_path / "run",
        data=["grefcoco:train"],
        precision="bf16",
        encoder="trained",
        max_steps=1,
        validation=[],
        workers=1,
    )
    assert train(recipe) == {}
    (line,) = _curve(tmp_path / "run")
    assert 0 < line["total"] < 20
    before = load_file(Path(recipe.model) / "heads.safetensors")
    after = load_file(tmp_path / "run" / "heads_last.safetensors")
    assert any("image_encoder" in k and not torch.equal(before[k], after[k]) for k in before)


def test_float16_scales_its_losses_and_goes_on(tmp_path: Path, lines: Any) -> None:
    setting = {"precision": "fp16", "validation": [], "save_every": 2}
    train(lines(tmp_path / "whole", max_steps=4, **setting))
    train(lines(tmp_path / "exact", max_steps=4, validation=[]))
    whole, exact = _curve(tmp_path / "whole"), _curve(tmp_path / "exact")
    for ours, theirs in zip(whole, exact, strict=True):
        assert ours["total"] == pytest.approx(theirs["total"], rel=0.05)
        assert ours["gradient"] == pytest.approx(theirs["gradient"], rel=0.2)
    (state,) = (tmp_path / "whole" / "checkpoints").glob("step-000000004/state.pt")
    assert torch.load(state, weights_only=True)["state"]["scaler"]["scale"] >= 1


def test_new_heads_need_no_sam_file(tmp_path: Path, lines: Any) -> None:
    recipe = lines(
        tmp_path / "run",
        start="new",
        encoder="trained",
        base_channels=4,
        max_steps=1,
        validation=[],
    )
    train(recipe)
    grounder = Grounder.from_config(
        GrounderConfig(model=str(tmp_path / "run" / "model.yaml"), device="cpu")
    )
    (found,) = grounder.open(np.full((48, 64, 3), 90, np.uint8)).ground(["the red mug"])
    assert found.mask.shape == (48, 64)


def test_a_sample_longer_than_the_model_is_left_out_by_name(
    tmp_path: Path, lines: Any, tiny_data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refs = tiny_data_root / "refcoco" / "refs(unc).p"
    whole = refs.read_bytes()
    content = pickle.loads(whole)
    longer = next(ref for ref in content if ref["split"] == "train")
    longer["sentences"][0]["raw"] = "the red mug " * 500
    recipe = lines(tmp_path / "run", epochs=1, validation=[], max_phrases=16)
    try:
        refs.write_bytes(pickle.dumps(content, protocol=2))
        train(recipe)
        told = " ".join(capsys.readouterr().err.split())
        cached = lines(tmp_path / "run2", validation=[], cache=str(tmp_path / "cache"))
        made = make(cached)
    finally:
        refs.write_bytes(whole)
    assert "1 broken samples were left out" in told
    assert f"/{longer['image_id']}" in told
    assert made.skipped == 1
    (reason,) = FeatureStore.open(tmp_path / "cache").skipped.values()
    assert "expected at most" in reason and "tokens of image and text" in reason


def test_changed_settings_are_kept_in_the_provenance(tmp_path: Path, lines: Any) -> None:
    train(lines(tmp_path / "run", max_steps=2, save_every=2, validation=[]))
    with pytest.raises(CheckpointError, match="max_steps: was 2, is 3; peak_rate"):
        train(lines(tmp_path / "run", max_steps=3, peak_rate=5e-4, validation=[]))
    with pytest.raises(CheckpointError, match="selector_weight: was 0.0, is 1.0"):
        train(lines(tmp_path / "run", max_steps=2, selector_weight=1.0, validation=[]))
    allowed = ["max_steps", "peak_rate"]
    more = {"max_steps": 3, "peak_rate": 5e-4, "validation": [], "allow_changed": allowed}
    train(lines(tmp_path / "run", **more))
    with safe_open(tmp_path / "run" / "heads_last.safetensors", "pt") as file:
        provenance = json.loads(file.metadata()["provenance"])
    assert provenance["changes"] == (
        "after step 2: max_steps 2 -> 3; after step 2: peak_rate 0.001 -> 0.0005"
    )


def test_annotations_that_changed_are_refused_or_allowed(
    tmp_path: Path, lines: Any, tiny_data_root: Path
) -> None:
    setting = {"max_steps": 2, "save_every": 2, "validation": []}
    train(lines(tmp_path / "run", **setting))
    refs = tiny_data_root / "refcoco" / "refs(unc).p"
    whole = refs.read_bytes()
    content = pickle.loads(whole)
    content[0]["sentences"][0]["raw"] = "the blue duck"
    try:
        refs.write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(
            CheckpointError, match=r"data refcoco/refs\(unc\).p; go on with them by"
        ):
            train(lines(tmp_path / "run", **setting))
        train(lines(tmp_path / "run", allow_changed="data", **setting))
    finally:
        refs.write_bytes(whole)
    train(lines(tmp_path / "run", **setting))


def test_broken_samples_are_named_counted_and_others_take_their_place(
    tmp_path: Path, lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = lines(tmp_path / "run", epochs=1, validation=[])
    parts = assemble(recipe, torch.device("cpu"))
    index = SampleOrder(len(parts.train), recipe.batch, seed=recipe.seed).draws(0)[0][0][1]
    broken, after = (parts.train.sample((index + n) % len(parts.train)) for n in range(2))
    whole = broken.image_path.read_bytes()
    try:
        broken.image_path.write_bytes(whole[:100])
        got = parts.train[(0, index)]
        train(recipe)
    finally:
        broken.image_path.write_bytes(whole)
    assert got.sample.key == after.key
    assert [name for name, _ in got.left_out] == [broken.key]
    told = " ".join(capsys.readouterr().err.split())
    assert f"1 broken samples were left out: {broken.key}" in told


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(as_text(lines(tmp_path / "run")))
    assert main([str(path), "data=[refcoco]"]) == 2
    assert "expected NAME:SPLIT" in " ".join(capsys.readouterr().err.split())
    assert main([str(path), "start=sam"]) == 2
    assert "segment-anything checkpoint" in " ".join(capsys.readouterr().err.split())
