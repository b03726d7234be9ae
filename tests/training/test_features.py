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

"""The feature cache: what is kept comes back, what is damaged is noticed, and training from it is
training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch

from benchmarks.training.feature_cache import Paired, paired
from flmm_ros.engine.fingerprint import weights_fingerprint as fingerprint
from flmm_ros.engine.heads.checkpoint import load_heads, save_heads
from training.data.sample import BrokenSampleError
from training.disk import size_text
from training.features.build import main, make, verify
from training.features.packing import Precision, ReadingShape, packed, unpacked
from training.features.readings import SampleReading
from training.features.store import FeatureError, FeatureStore, FeatureWriter
from training.loop.assembly import assemble
from training.loop.monitor import read_log
from training.recipe import as_text
from training.train import train

EXACT, SMALL = Precision("fp16", "fp16", "fp16"), Precision("8bit", "8bit", "8bit")


def _reading() -> SampleReading:
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(3, 12, 6, 6, generator=generator) ** 8 * 1e-3  # a few peaks, mostly little
    states = tuple(torch.randn(3, n, 32, generator=generator) for n in (2, 1, 4))
    states[0][1, 1, 7] = 900.0  # one of the huge channels
    return SampleReading(
        maps=maps,
        states=states,
        box_xyxy_px=(-0.5, 0.25, 64.5, 47.75),
        answer=torch.randn(3, 9, 32, generator=generator),
        groundable=torch.tensor([1.0, 1, 0, 0, 0, 1, 1, 0, 1]),
        features=torch.randn(32, 8, 8, generator=generator),
    )


@pytest.mark.parametrize(("kept", "most"), [(EXACT, 5e-4), (SMALL, 5e-3)])
def test_a_packed_reading_comes_back(kept: Precision, most: float) -> None:
    """Each number within a share of the largest it was packed with."""
    reading = _reading()
    got = unpacked(packed(reading, kept), [2, 0])
    assert got.box_xyxy_px == reading.box_xyxy_px
    pairs = [(got.maps, reading.maps[[2, 0]], (2, 3))]
    pairs += [(got.states[n], reading.states[m], (2,)) for n, m in enumerate((2, 0))]
    assert got.features is not None and reading.features is not None
    pairs.append((got.features, reading.features, (1, 2)))
    assert got.answer is not None and reading.answer is not None and got.groundable is not None
    pairs.append((got.answer, reading.answer, (2,)))
    for mine, true, axes in pairs:
        assert mine.shape == true.shape
        share = (mine - true).abs() / true.abs().amax(dim=axes, keepdim=True)
        assert float(share.max()) < most
    assert torch.equal(got.groundable, torch.tensor([1.0, 1, 0, 0, 0, 1, 1, 0, 1]))


def test_eight_bits_keep_two_digits_of_small_values() -> None:
    """A thousandth of the largest value is far below a 255th of it."""
    maps = torch.full((1, 1, 6, 6), 1e-6)
    maps[0, 0, 0, 0] = 1e-3
    reading = SampleReading(
        maps, (torch.ones(3, 1, 32),), (0, 0, 1, 1), features=torch.ones(1, 2, 2)
    )
    got = unpacked(packed(reading, SMALL), [0]).maps
    assert float(got[0, 0, 3, 3]) == pytest.approx(1e-6, rel=0.05)


def test_the_disk_a_sample_takes_is_what_arithmetic_says() -> None:
    reading = _reading()
    for kept in (EXACT, SMALL):
        size = sum(
            t.numel() * t.element_size()
            for name, t in packed(reading, kept).items()
            if name.endswith((".values", ".scale"))
        )
        shape = ReadingShape(12, (6, 6), 3, 32, (32, 8, 8), answers=True)
        assert shape.bytes_of(3, 7, 9, kept) == size
    # LLaVA-1.5-7B, 7 phrases of 4 tokens: 7 x 1024 maps of 24x24 bytes, 28 tokens of 32 x 4096 x 2
    llava = ReadingShape(1024, (24, 24), 32, 4096, (256, 64, 64))
    expected = 7 * 1024 * (576 + 4) + 28 * 32 * (8192 + 4) + 256 * (8192 + 4)
    assert llava.bytes_of(7, 28, 40, Precision()) == expected
    assert size_text(expected) == "13.0 MiB"
    assert [size_text(n) for n in (0, 1023, 2048, 3 * 1024**4)] == [
        "0 B",
        "1023 B",
        "2.0 KiB",
        "3.0 TiB",
    ]


# --- the store ---


def _store(folder: Path, **about: Any) -> FeatureStore:
    return FeatureStore.create(folder, {"model": "m", **about})


def _filled(folder: Path) -> FeatureStore:
    with FeatureWriter(_store(folder), rank=0) as writer:
        for n in range(4):
            writer.add(f"k{n}", {"x": torch.full((5,), n)}, digest=f"d{n}")
        writer.skip("bad", "no image")
    with FeatureWriter(_store(folder), rank=1) as writer:
        writer.add("k4", {"x": torch.full((5,), 4)}, digest="d4")
    return FeatureStore.open(folder)


def test_records_of_several_writers_are_one_store(tmp_path: Path) -> None:
    store = _filled(tmp_path)
    assert sorted(store.keys()) == ["k0", "k1", "k2", "k3", "k4"]
    assert [int(store.read(f"k{n}")["x"][3]) for n in range(5)] == [0, 1, 2, 3, 4]
    assert (store.digest("k2"), store.skipped) == ("d2", {"bad": "no image"})
    with pytest.raises(FeatureError, match="expected a record of 'k9', got none"):
        store.read("k9")


def test_a_changed_byte_is_noticed_named_and_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = _filled(tmp_path)
    part = tmp_path / "part-000-00000.data"
    content = bytearray(part.read_bytes())
    content[store._places["k2"].offset + store._places["k2"].length - 1] ^= 1
    part.write_bytes(bytes(content))
    assert store.read("k1")["x"].tolist() == [1] * 5
    with pytest.raises(FeatureError, match="part-000-00000.data.*'k2'.*--repair"):
        store.read("k2")
    assert verify(tmp_path, repair=True) == 1
    again = FeatureStore.open(tmp_path)
    assert "k2" not in again and len(again) == 4 and again.skipped == {"bad": "no image"}
    assert verify(tmp_path, repair=False) == 0


def _damage_data(folder: Path) -> None:
    """Cut off after its first record."""
    part = folder / "part-000-00000.data"
    part.write_bytes(part.read_bytes()[: FeatureStore.open(folder)._places["k0"].length + 5])


def _garble_index(folder: Path) -> None:
    index = folder / "part-000-00000.index"
    lines = index.read_text().splitlines(keepends=True)
    index.write_bytes(b"".join([lines[0].encode(), b"\xff{ not JSON\n", b'["k2", "x", 3, 4, 5]\n']))


def _remove_part(folder: Path) -> None:
    for path in folder.glob("part-000-*"):
        path.unlink()


def _remove_index(folder: Path) -> None:
    (folder / "part-000-00000.index").unlink()


@pytest.mark.parametrize(
    ("damage", "named", "left"),
    [
        (_damage_data, r"k1: part-000-00000.data: expected \d+ bytes or more", ["k0", "k4"]),
        (_garble_index, "part-000-00000.index: expected lines of JSON, got 2", ["k0", "k4"]),
        (_remove_part, "part-000-00000.*expected this file, got none", ["k4"]),
        (_remove_index, "part-000-00000.data: expected an index beside it", ["k4"]),
    ],
)
def test_damaged_files_are_noticed_when_a_store_is_opened(
    tmp_path: Path, damage: Callable[[Path], None], named: str, left: list[str]
) -> None:
    _filled(tmp_path).finish()
    FeatureStore.open(tmp_path).require_whole()
    damage(tmp_path)
    store = FeatureStore.open(tmp_path)
    assert sorted(store.keys()) == left
    with pytest.raises(FeatureError, match=f"(?s){named}.*python -m training.features"):
        store.require_whole()
    assert verify(tmp_path, repair=False) > 0
    with FeatureWriter(store, rank=0) as writer:
        for n in range(4):
            if f"k{n}" not in store:
                writer.add(f"k{n}", {"x": torch.full((5,), n)}, digest=f"d{n}")
    again = FeatureStore.open(tmp_path)
    again.forget(set(again.lost))
    again.finish()
    whole = FeatureStore.open(tmp_path)
    whole.require_whole()
    assert [int(whole.read(f"k{n}")["x"][3]) for n in range(5)] == [0, 1, 2, 3, 4]
    assert verify(tmp_path, repair=False) == 0


def test_a_writer_that_was_cut_off_costs_its_last_record_only(tmp_path: Path) -> None:
    _filled(tmp_path)
    index = tmp_path / "part-000-00000.index"
    index.write_text(index.read_text()[:-10])  # in the middle of a line
    store = FeatureStore.open(tmp_path)
    assert "k3" in store and store.skipped == {}
    with FeatureWriter(store, rank=0) as writer:
        writer.add("k9", {"x": torch.ones(1)}, digest="")
    assert "k9" in FeatureStore.open(tmp_path)
    assert len(list(tmp_path.glob("part-000-*.data"))) == 2


def test_features_of_another_model_are_refused(tmp_path: Path) -> None:
    _store(tmp_path, merge="mean")
    with pytest.raises(FeatureError, match="made with merge 'max', got 'mean'"):
        _store(tmp_path, merge="max")
    with pytest.raises(FeatureError, match="expected a feature cache"):
        FeatureStore.open(tmp_path / "none")


def test_a_fingerprint_sees_one_weight() -> None:
    first, second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    second.load_state_dict(first.state_dict())
    assert fingerprint(first) == fingerprint(second)
    second.weight.data[1, 1] += 1e-3
    assert fingerprint(first) != fingerprint(second)


# --- the whole way ---


@pytest.fixture(scope="module")
def cached(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_data_root: Path
) -> Any:
    """A recipe with a finished cache in 16 bits."""
    folder = tmp_path_factory.mktemp("cached")
    recipe = tiny_training.recipe(
        tiny_model_dir,
        tiny_data_root,
        folder / "run",
        cache=str(folder / "cache"),
        cache_maps="fp16",
        data=["refcoco:train", "grefcoco:train"],
        selector_weight=0.1,
        max_steps=4,
    )
    made = make(recipe)
    assert made.skipped == 0
    return recipe


def test_training_from_the_cache_is_training(
    cached: Any, tmp_path: Path, tiny_model_dir: Path
) -> None:
    (tmp_path / "gone").mkdir()
    lmm = tiny_model_dir / "lmm"
    lmm.rename(tiny_model_dir / "away")  # the language model is not even looked at
    try:
        from_disk = train(replace(cached, out=str(tmp_path / "disk")))
    finally:
        (tiny_model_dir / "away").rename(lmm)
    live = train(replace(cached, cache="", out=str(tmp_path / "live")))
    curves = [read_log(tmp_path / name) for name in ("disk", "live")]
    assert len(curves[0]) == len(curves[1]) == 5
    for ours, theirs in zip(*curves, strict=True):
        for name in {"total", "coarse", "refined", "selector"} & set(ours):
            assert ours[name] == pytest.approx(theirs[name], rel=2e-3, abs=1e-4)
    assert from_disk["mIoU"] == pytest.approx(live["mIoU"], abs=0.02)


def test_what_is_there_is_not_made_again_and_what_changed_is(cached: Any) -> None:
    assert make(cached).records == 0
    store = FeatureStore.open(cached.cache)
    store.forget({store.keys()[0]})
    assert make(replace(cached, batch=3)).records == 1
    with pytest.raises(FeatureError, match="merge|model|maps"):
        make(replace(cached, cache_maps="8bit"))


def test_heads_with_another_image_encoder_are_refused(cached: Any, tmp_path: Path) -> None:
    heads = load_heads(Path(cached.model) / "heads.safetensors")
    heads.mask_refiner.image_encoder.neck.weight.data += 0.1
    save_heads(tmp_path / "heads.safetensors", heads, {})
    with pytest.raises(FeatureError, match="made with encoder_weights"):
        assemble(replace(cached, start=str(tmp_path / "heads.safetensors")), torch.device("cpu"))


def test_a_changed_text_is_not_read_as_the_old_one(cached: Any) -> None:
    parts = assemble(cached, torch.device("cpu"))
    sample = parts.train.sample(0)
    assert parts.train.source.ready(sample, [0]).reading is not None
    changed = replace(sample, text=sample.text.replace("the", "teh"))
    with pytest.raises(FeatureError, match="expected the text of"):
        parts.train.source.ready(changed, [0])
    parts.train.source.store.skipped["other"] = "broken"  # type: ignore[attr-defined]
    with pytest.raises(BrokenSampleError, match="broken"):
        parts.train.source.ready(replace(sample, key="other"), [0])


@pytest.mark.timeout(900)
def test_two_processes_killed_and_started_as_one_make_it_whole(
    tmp_path: Path, cached: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(cached, cache=str(tmp_path / "cache"), batch=1)
    path = tmp_path / "recipe.yaml"
    path.write_text(as_text(recipe))
    common = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(tiny_training.free_port()),
    }
    command = [sys.executable, "-m", "training.features", str(path)]
    processes = [
        subprocess.Popen(
            command,
            cwd=tiny_training.ROOT,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    indices = [tmp_path / "cache" / f"part-{rank:03}-00000.index" for rank in range(2)]
    deadline = time.monotonic() + 400
    while not all(path.exists() and path.stat().st_size for path in indices):
        assert time.monotonic() < deadline and all(p.poll() is None for p in processes)
        time.sleep(0.002)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    whole = FeatureStore.open(cached.cache)
    there = len(FeatureStore.open(recipe.cache))
    assert 2 <= there <= len(whole)
    assert main([str(path)]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "refcoco:train" in told and "free here" in told  # said before anything is made
    again = FeatureStore.open(recipe.cache)
    assert set(again.keys()) == set(whole.keys())
    for key in whole.keys():  # noqa: SIM118  a store, not a dict
        ours, theirs = again.read(key), whole.read(key)
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name].float(), value.float(), atol=2e-3, rtol=0)
    assert main([str(path), "--verify"]) == 0


def test_the_benchmark_compares_runs_on_the_same_samples(cached: Any, tmp_path: Path) -> None:
    found = paired(replace(cached, cache_maps="8bit", cache="", out=str(tmp_path), batch=4), 1)
    assert len(found.live_s) == len(found.cached_s) == 3  # four blocks, the first warms up
    assert (found.steps_an_epoch, found.steps_a_block) == (4, 1)
    live, from_disk = (found.measured[name] for name in ("live", "cached"))
    assert from_disk["cIoU"] == pytest.approx(live["cIoU"], abs=0.02)
    assert found.cache_bytes > 0


def test_the_benchmarks_arithmetic() -> None:
    found = Paired((4.0, 6.0, 9.0), (1.0, 1.0, 1.0), 2, 10, {}, 0, 0.0)
    assert found.ratio == 6.0
    assert found.epoch_s((1.0, 3.0)) == 10.0
