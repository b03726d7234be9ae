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

"""Variants leave out what they say and nothing else; runs go on; tables hold what was measured."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.refiner_shape import ConvEncoderShape, RefinerShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig, LmmShape
from flmm_ros.engine.lmm.tokens import Suffix
from flmm_ros.engine.lmm.view import View
from flmm_sim.tabletop.tabletop import Tabletop
from training.ablation import runs
from training.ablation.__main__ import chosen, main
from training.ablation.prepared import AblationPhrases, phrases_of, read_merged
from training.ablation.report import BEGIN, END, draw, fill_in, markdown
from training.ablation.runs import (
    AblationData,
    TrainingBudget,
    VariantResult,
    forward,
    measure,
    run_variant,
)
from training.ablation.variants import COMPLETE, VARIANTS, Ablated, Variant

LMM = LmmShape(layers=4, heads=2, width=8)
HEADS = HeadsConfig(
    base_channels=4,
    stages=2,
    upsample_to=8,
    refiner=RefinerShape(
        hidden=16,
        input_size=32,
        decoder_heads=2,
        decoder_mlp=16,
        iou_hidden=16,
        encoder=ConvEncoderShape(channels=(4, 4), blocks=(0, 0)),
    ),
)
HEIGHT, WIDTH, GRID = 24, 32, 8


def variant(name: str) -> Variant:
    return next(v for v in VARIANTS if v.name == name)


def phrases(count: int, seed: int) -> AblationPhrases:
    """Random readings of things whose place the maps show; every third one is absent."""
    rng = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, HEIGHT, WIDTH, dtype=torch.uint8)
    maps = torch.rand(count, LMM.map_channels, GRID, GRID, generator=rng) * 0.1
    for n in range(count):
        if n % 3:
            y, x = (int(v) for v in torch.randint(0, 12, (2,), generator=rng))
            masks[n, y : y + 8, x : x + 12] = 1
            maps[n] += torch.nn.functional.adaptive_avg_pool2d(masks[n][None].float(), GRID)
    return AblationPhrases(
        {"mean": maps.half(), "max": (maps * 2).half()},
        torch.randn(count, LMM.layers, 3, LMM.width, generator=rng).half(),
        torch.randint(1, 4, (count,), generator=rng),
        torch.arange(count) % 4,
        masks,
        torch.randn(4, HEADS.refiner.hidden, 8, 8, generator=rng).half(),
    )


@pytest.fixture(scope="module")
def bench() -> AblationData:
    torch.manual_seed(3)
    view = View("image", torch.arange(GRID**2), (GRID, GRID), (0, 0, WIDTH, HEIGHT))
    return AblationData(phrases(24, 0), phrases(9, 1), view, Heads(LMM, HEADS).eval())


def ablated(name: str, bench: AblationData) -> Ablated:
    torch.manual_seed(0)
    found = Ablated(variant(name), LMM, HEADS)
    found.start_from(bench.trained)
    return found.eval()


def changed(bench: AblationData, name: str, **fields: object) -> float:
    """How much the logits of a variant change with something of the phrases."""
    index, model = torch.arange(6), ablated(name, bench)
    with torch.no_grad():
        before = forward(model, bench.train, index, bench)[1]
        after = forward(model, dataclasses.replace(bench.train, **fields), index, bench)[1]
    return float((before - after).abs().max())


def test_only_the_complete_variant_hears_the_words(bench: AblationData) -> None:
    other = {"states": -bench.train.states}
    assert changed(bench, COMPLETE.name, **other) > 1e-4
    for name in ("maps only", "+ mask prompt", "+ box prompt"):
        assert changed(bench, name, **other) == 0, name


def test_maps_only_does_not_see_the_image(bench: AblationData) -> None:
    other = {"features": -bench.train.features}
    assert changed(bench, "maps only", **other) == 0
    assert changed(bench, "+ mask prompt", **other) > 1e-4


def test_the_box_counts_only_where_it_is_a_prompt(bench: AblationData) -> None:
    masks = torch.randn(2, 1, 32, 32)
    features = torch.randn(2, 16, 8, 8)
    boxes = torch.tensor([[0.0, 0, 9, 9], [3, 3, 20, 22]])
    found = {}
    for name in ("+ mask prompt", "+ box prompt"):
        refiner = ablated(name, bench).refiner
        with torch.no_grad():
            one, _ = refiner.prompted(features, boxes, masks, None)
            two, _ = refiner.prompted(features, boxes + 5, masks, None)
            three, _ = refiner.prompted(features, boxes, -masks, None)
        found[name] = float((one - two).abs().max())
        assert float((one - three).abs().max()) > 1e-4
    assert found["+ mask prompt"] == 0 and found["+ box prompt"] > 1e-4


def test_merging_reads_the_other_maps(bench: AblationData) -> None:
    torch.manual_seed(0)
    merged = Ablated(variant("max over tokens"), LMM, HEADS).eval()
    other = dict(bench.train.maps)
    other["mean"] = other["mean"] * 0
    with torch.no_grad():
        index = torch.arange(4)
        before = forward(merged, bench.train, index, bench)[0]
        after = forward(merged, dataclasses.replace(bench.train, maps=other), index, bench)[0]
    assert torch.equal(before, after)
    assert changed(bench, COMPLETE.name, maps=other) > 1e-4


@pytest.mark.parametrize("views", [1, 2])
def test_the_last_layers_are_those_of_every_view(views: int) -> None:
    shape = dataclasses.replace(LMM, views=views)
    found = Ablated(variant("last three layers"), shape, HEADS)
    channel = torch.arange(shape.map_channels, dtype=torch.float)
    maps = channel[None, :, None, None].expand(1, -1, 2, 2)
    kept = [
        v * 8 + layer * 2 + head for v in range(views) for layer in (1, 2, 3) for head in (0, 1)
    ]
    assert found.last_maps(maps)[0, :, 0, 0].tolist() == kept
    assert found.heads.mask_decoder.down[0][0].conv.weight.shape[1] == len(kept)
    states = torch.arange(4.0)[:, None, None]
    assert found.last_layers(states)[:, 0, 0].tolist() == [1, 2, 3]
    with pytest.raises(ConfigError, match="at least 3"):
        Ablated(variant("last three layers"), dataclasses.replace(LMM, layers=2), HEADS)


def test_frozen_parts_stay_and_the_rest_learns(bench: AblationData) -> None:
    model = ablated(COMPLETE.name, bench)
    frozen = {id(p) for p in model.refiner.image_encoder.parameters()}
    parts = model.trained_parts()
    assert not frozen & {id(p) for p in parts}
    assert sum(p.numel() for p in ablated("maps only", bench).trained_parts()) == sum(
        p.numel() for p in model.heads.mask_decoder.parameters()
    )


def test_training_finds_what_the_maps_show(bench: AblationData, tmp_path: Path) -> None:
    untrained = run_variant(variant("maps only"), bench, TrainingBudget(1), tmp_path / "a")
    trained = run_variant(
        variant("maps only"), bench, TrainingBudget(60, peak_rate=1e-2), tmp_path / "b"
    )
    assert trained.cIoU > max(0.5, untrained.cIoU)


def test_scores_by_hand(bench: AblationData, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.zeros(3, HEIGHT, WIDTH)
    masks[0, :8, :8] = masks[1, :4, :4] = 1
    data = dataclasses.replace(phrases(3, 0), masks=masks.to(torch.uint8))
    logits = torch.full_like(masks, -1)
    logits[0, :8, :8] = logits[1, :4, :8] = logits[2, :2, :2] = 1
    score = torch.tensor([0.9, 0.9, 0.2])
    monkeypatch.setattr(runs, "forward", lambda *_: (None, logits, score))
    found = measure(ablated(COMPLETE.name, bench), data, bench)
    assert found["cIoU"] == pytest.approx((64 + 16) / (64 + 32))
    assert found["mIoU"] == pytest.approx(0.75)
    assert (found["precision_at_05"], found["precision_at_09"]) == (0.5, 0.5)
    assert found["absent_f1"] == 1


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    bench: AblationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SAVED_EVERY", 2)
    budget = TrainingBudget(steps=5)
    whole = run_variant(COMPLETE, bench, budget, tmp_path / "a")
    made: list[int] = []

    def cut_off(steps: int) -> None:
        made.append(steps)
        if sum(made) == 3:
            raise KeyboardInterrupt

    (tmp_path / "b").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_variant(COMPLETE, bench, budget, tmp_path / "b", cut_off)
    made.clear()
    again = run_variant(COMPLETE, bench, budget, tmp_path / "b", made.append)
    assert made == [2, 1, 1, 1]
    assert dataclasses.replace(again, seconds=0) == dataclasses.replace(whole, seconds=0)
    made.clear()
    assert run_variant(COMPLETE, bench, budget, tmp_path / "b", made.append) == again
    assert made == [5]  # nothing was trained again
    with pytest.raises(ConfigError, match="another budget"):
        run_variant(COMPLETE, bench, TrainingBudget(steps=6), tmp_path / "b")


def test_the_document_gets_the_table_and_keeps_its_words(tmp_path: Path) -> None:
    results = [
        VariantResult("maps only", "prompts", 0.5, 0.4, 0.3, 0.2, 0.1, 1_500_000, 300, 9.0),
        VariantResult(COMPLETE.name, "prompts", 0.75, 0.7, 0.65, 0.6, 0.55, 2_000_000, 300, 9.0),
    ]
    table = markdown(results, "Facts.")
    assert "| maps only | 0.500 | 0.400 | 0.300 | 0.200 | 0.100 | 1.50 M |" in table
    document = tmp_path / "training.md"
    document.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    for _ in range(2):
        fill_in(document, table, "ablation.png")
    text = document.read_text()
    assert text.startswith("Before.\n") and text.endswith("\nAfter.\n") and "old" not in text
    assert text.count(table) == 1 and text.count("(ablation.png)") == 1
    document.write_text(f"{END} {BEGIN}")
    with pytest.raises(ConfigError, match="expected one line"):
        fill_in(document, table)
    draw(results, tmp_path / "ablation.png")
    assert (tmp_path / "ablation.png").stat().st_size > 5000


def test_the_shipped_document_has_its_marks(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "docs" / "training.md"
    (tmp_path / "training.md").write_text(shipped.read_text())
    fill_in(tmp_path / "training.md", "a table")
    assert "a table" in (tmp_path / "training.md").read_text()


def test_phrases_are_read_as_the_engine_reads_them() -> None:
    grounder = Grounder.from_config(GrounderConfig("tabletop", device="cpu"))
    with Tabletop() as table:
        truth = table.render(900_001)
    named = phrases_of(truth)
    names = {f"the {o.name}" for o in truth.objects}
    assert all(mask.any() == (words in names) for words, mask in named)
    assert sum(mask.any() for _, mask in named) == min(4, len(truth.objects))
    words = [w for w, _ in named]
    with torch.inference_mode():
        found = read_merged(grounder, truth.rgb, words)
    tokens, prompt = grounder.lmm.text(), grounder.model.prompt
    alone: Suffix = tokens.reading(prompt, words[-1], [(0, len(words[-1]))])
    trace = grounder.open(truth.rgb).trace(alone)
    maps, states = found["mean"]
    np.testing.assert_allclose(maps[-1], trace.reading.maps[0], atol=1e-5)
    np.testing.assert_allclose(states[-1], trace.reading.states[0], atol=1e-4)
    assert (found["max"][0] >= maps).all() and (found["max"][0] > maps).any()
    assert grounder.lmm.config.merge == grounder.model.merge


@pytest.mark.slow
def test_the_command_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "training.md").write_text(f"{BEGIN}\n{END}\n")
    arguments = ["--scenes", "2", "--unseen", "1", "--steps", "1", "--out", str(tmp_path / "out")]
    arguments += ["--docs", str(docs), "--only", "maps only", "--only", "last layer"]
    assert main(arguments) == 0
    found = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [r["variant"] for r in found["results"]] == ["maps only", "last layer"]
    assert "| last layer |" in (docs / "training.md").read_text()
    assert (docs / "ablation.png").exists() and (tmp_path / "out" / "ablation.md").exists()
    assert main([*arguments, "--seed", "1"]) == 2
    assert "another budget" in capsys.readouterr().err


def test_unknown_variants_are_refused() -> None:
    assert chosen(None) == VARIANTS
    assert chosen(["last layer"]) == (variant("last layer"),)
    with pytest.raises(ConfigError, match="'maps only'"):
        chosen(["nothing"])
    assert main(["--only", "nothing"]) == 2
