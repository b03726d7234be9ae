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

"""The parts of the loop by value: order, rates, losses of several images, checkpoints, logs."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import tiny_training
import torch

from flmm_ros.engine.errors import CheckpointError, ConfigError
from flmm_ros.engine.masks.framing import crop_to_image
from training.features.readings import SampleReading, SampleTruth
from training.heads.losses import mask_loss, score_loss
from training.heads.objective import LossWeights, Objective
from training.loop.checkpoints import (
    Checkpoint,
    clear_unfinished,
    keep_damaged_aside,
    newest,
    restore_rng_states,
    rng_states_now,
    write,
)
from training.loop.monitor import Monitor, read_log
from training.loop.order import SampleOrder, StepRange
from training.loop.pictures import sheet, small
from training.loop.resuming import allowed_changes, require_same_samples
from training.loop.schedule import AveragedWeights, rate_schedule
from training.loop.validation import ValidationSums, spread
from training.recipe import Recipe, as_text, load_recipe, recipe_from

CONFIG = tiny_training.ROOT / "config" / "training"


# --- who sees what when ---


def test_an_epoch_gives_every_sample_to_one_process_only() -> None:
    orders = [SampleOrder(26, 2, 2, processes=3, rank=rank, seed=5) for rank in range(3)]
    assert orders[0].steps_an_epoch == 2
    for epoch in range(2):
        steps = range(epoch * 2, epoch * 2 + 2)
        seen = [d for o in orders for s in steps for forward in o.draws(s) for d in forward]
        assert {e for e, _ in seen} == {epoch}
        assert len({index for _, index in seen}) == len(seen) == 24
    first, second = ([o.draws(s) for s in (0, 1)] for o in (orders[0], orders[0]))
    assert first == second
    assert orders[0].draws(0) != orders[0].draws(2)  # another epoch, another order


def test_a_step_is_the_same_set_for_any_number_of_processes() -> None:
    def step(batch: int, accumulate: int, processes: int) -> set[tuple[int, int]]:
        orders = [
            SampleOrder(40, batch, accumulate, processes, r, seed=1) for r in range(processes)
        ]
        return {draw for o in orders for forward in o.draws(3) for draw in forward}

    assert step(8, 1, 1) == step(2, 2, 2) == step(1, 1, 8) == step(1, 4, 2)


def test_going_on_from_a_step_takes_what_would_have_come() -> None:
    order = SampleOrder(10, 2, 2, seed=3)
    whole = list(StepRange(order, 0, 6))
    assert list(StepRange(order, 4, 6)) == whole[8:]
    assert len(StepRange(order, 4, 6)) == 4


def test_too_little_data_for_a_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 16 samples.*got 15"):
        SampleOrder(15, 2, 2, processes=4)


def test_validation_samples_are_spread_and_shared_out() -> None:
    shares = [spread(10, 5, 2, rank) for rank in range(2)]
    assert shares == [[0, 4, 8], [2, 6]]
    assert spread(3, 100, 1, 0) == [0, 1, 2]


# --- rates and averages ---


def test_the_rate_rises_and_falls_as_half_a_cosine() -> None:
    rate = rate_schedule(_optimizer(), 100, peak=2.0, warmup=0.1)
    rates = [rate(n) for n in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (n + 1) for n in range(10)])
    assert max(rates) == rates[9] == 2.0
    assert rates[54] == pytest.approx(1 + math.cos(math.pi * 45 / 91))
    assert 0 < rates[-1] < 0.01
    assert rates[9:] == sorted(rates[9:], reverse=True)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.03), (7, 0.0), (12, 0.5), (1000, 0.03)])
def test_transformers_schedule_gives_the_rates_of_the_papers_formula(
    steps: int, warmup: float
) -> None:
    rate = rate_schedule(_optimizer(), steps, peak=1e-4, warmup=warmup)
    rising = max(1, round(steps * warmup))
    for n in range(steps):
        share = (n + 1) / rising
        if n >= rising:
            angle = math.pi * (n - rising + 1) / max(1, steps - rising + 1)
            share = 0.5 * (1 + math.cos(angle))
        assert rate(n) == pytest.approx(1e-4 * share, rel=1e-12, abs=1e-20)


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])


def test_averaged_weights_come_back_and_go_on_as_they_would_have() -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    whole, cut = AveragedWeights(module, 0.9), AveragedWeights(module, 0.9)
    expected = module.weight.detach().clone()
    for step in range(1, 21):
        module.weight.data.normal_()
        expected.lerp_(module.weight.detach(), 1 - min(0.9, (1 + step) / (10 + step)))
        whole.update(module)
        cut.update(module)
        if step == 9:
            kept = {name: value.detach().clone() for name, value in cut.average.items()}
            again = AveragedWeights(torch.nn.Linear(3, 2).requires_grad_(False), 0.9)
            assert again.average == {}
            cut = AveragedWeights(module, 0.9)
            cut.restore(9, kept)
    assert torch.equal(whole.average["weight"], expected)
    assert torch.equal(cut.average["weight"], expected) and cut.updates == 20
    assert list(whole.average) == ["weight"]


def test_averaged_weights_are_the_average_and_can_be_lent() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = AveragedWeights(module, 0.5)
    for value in (1.0, 1.0):
        module.weight.data.fill_(value)
        average.update(module)
    # the decay begins at 2/11, then 3/12
    expected = 1 - (2 / 11) * (3 / 12)
    assert average.average["weight"].item() == pytest.approx(expected)
    with average.used_by(module):
        assert module.weight.item() == pytest.approx(expected)
    assert module.weight.item() == 1.0


# --- recipes ---


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_loads_and_comes_back_as_it_was(path: Path, tmp_path: Path) -> None:
    found = load_recipe(path, ["seed=3"])
    assert found.seed == 3
    (tmp_path / "again.yaml").write_text(as_text(found))
    assert load_recipe(tmp_path / "again.yaml") == found


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    found = load_recipe("refcoco_png")
    assert found == load_recipe(CONFIG / "refcoco_png.yaml")
    assert found.data == ("png:train", "refcoco:train", "refcoco+:train", "refcocog:train")
    numbers = (found.epochs, found.batch, found.peak_rate, found.warmup, found.clip)
    assert numbers == (8, 1, 1e-4, 0.03, 1.0)
    assert (found.weight_decay, found.base_channels, found.encoder) == (0.01, 64, "frozen")
    assert (found.coarse_weight, found.refined_weight) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"data": ["a:b"], "epoch": 3}, "unknown key 'epoch' .did you mean 'epochs'"),
        ({"data": ["a:b"], "batch": 0}, "batch: expected 1 to"),
        ({"data": ["a:b"], "batch": 1.5}, "batch: expected int, got float 1.5"),
        ({"data": ["a:b"], "encoder": "half"}, "encoder: expected one of frozen, trained"),
        ({"data": ["a:b"], "max_steps": -1}, "max_steps: expected 0 to"),
        ({"data": ["a:b"], "start": "new"}, "encoder: expected trained with start: new"),
        ({"data": ["a:b"], "allow_changed": "rate"}, "allow_changed: expected keys of a recipe"),
        ({}, "data: expected at least one NAME:SPLIT"),
        ({"data": ["a:b"], "cache": "x", "encoder": "trained"}, "leave 'cache' empty"),
    ],
)
def test_wrong_lines_are_refused_by_name(lines: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_from(lines)


def test_numbers_may_be_written_as_people_do() -> None:
    found = recipe_from({"data": "refcoco:train", "peak_rate": "1e-3", "clip": 2})
    assert (found.data, found.peak_rate, found.clip) == (("refcoco:train",), 1e-3, 2.0)
    assert isinstance(found, Recipe)


# --- losses of several images at once ---


def _sample(
    seed: int, image_hw: tuple[int, int], words: tuple[int, ...]
) -> tuple[SampleReading, SampleTruth]:
    """A random reading of tiny heads (3 layers, 4 heads, width 32) and random masks."""
    generator = torch.Generator().manual_seed(seed)
    height, width = image_hw
    reading = SampleReading(
        maps=torch.rand(len(words), 12, 6, 6, generator=generator),
        states=tuple(torch.randn(3, n, 32, generator=generator) for n in words),
        box_xyxy_px=(0.0, -4.0, width, height + 4.0),
        answer=torch.randn(3, 5, 32, generator=generator),
        groundable=torch.tensor([1.0, 1, 0, 0, 1]),
        features=torch.randn(32, 8, 8, generator=generator),
    )
    masks = torch.zeros(len(words), height, width, dtype=torch.bool)
    for n in range(len(words)):
        masks[n, 5 : 20 + 3 * n, 4:30] = True
    return reading, SampleTruth(f"s{seed}", ("w",) * len(words), masks)


def _objective(**weights: float) -> Objective:
    return Objective(tiny_training.tiny_heads().requires_grad_(True), LossWeights(**weights))


def test_losses_are_those_of_each_image_alone_with_equal_weight() -> None:
    samples = [_sample(1, (48, 64), (1, 3, 2)), _sample(2, (40, 40), (2,))]
    objective = _objective()
    joint = objective(*zip(*samples, strict=True))
    apart = [objective([reading], [truth]) for reading, truth in samples]
    for name in ("coarse", "refined", "score"):
        mean = (apart[0].losses[name] + apart[1].losses[name]) / 2
        torch.testing.assert_close(joint.losses[name], mean, atol=1e-6, rtol=1e-5)
    for n, one in enumerate(apart):
        torch.testing.assert_close(joint.refined[n], one.refined[0], atol=1e-4, rtol=1e-4)


def test_losses_are_what_the_engines_own_path_gives() -> None:
    reading, truth = _sample(3, (48, 64), (2, 1))
    objective = _objective()
    heads = objective.heads
    coarse = crop_to_image(heads.decode(reading.maps), reading.view, truth.image_hw)
    cues = [heads.weighted_states(state) for state in reading.states]
    assert reading.features is not None
    out = heads.refine(reading.features[None], coarse, cues, truth.image_hw)
    refined = heads.upscale(out.low_logits, truth.image_hw)
    target = truth.masks.float()
    small = torch.nn.functional.adaptive_avg_pool2d(target[:, None], coarse.shape[-2:])[:, 0]
    losses = objective([reading], [truth]).losses
    torch.testing.assert_close(losses["coarse"], mask_loss(coarse, small))
    torch.testing.assert_close(losses["refined"], mask_loss(refined, target))
    torch.testing.assert_close(losses["score"], score_loss(out.iou, refined, target))


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({}, {"coarse", "refined", "score"}),
        ({"score": 0.0}, {"coarse", "refined"}),
        ({"coarse": 0.0}, {"refined", "score"}),
        ({"refined": 0.0}, {"coarse", "score"}),
        ({"refined": 0.0, "score": 0.0}, {"coarse"}),
    ],
)
def test_each_loss_can_be_switched_off_and_all_gradients_arrive(
    weights: dict[str, float], named: set[str]
) -> None:
    objective = _objective(**weights)
    losses = objective(*([x] for x in _sample(4, (48, 64), (1, 2)))).losses
    assert set(losses) == named
    objective.total(losses).backward()
    without = [
        name
        for name, p in objective.named_parameters()
        if p.requires_grad and p.grad is None and "image_encoder" not in name
    ]
    assert without == []  # a process that waits for one of these would wait forever


def test_the_total_is_the_weighted_sum() -> None:
    objective = _objective(coarse=2.0, refined=0.5, score=0.0)
    losses = objective(*([x] for x in _sample(5, (48, 64), (1,)))).losses
    expected = 2 * losses["coarse"] + 0.5 * losses["refined"]
    torch.testing.assert_close(objective.total(losses), expected)


def test_a_tally_counts_present_and_absent_phrases() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, 0] = True, True  # 8 and 4 pixels; the third is absent
    found = torch.full((3, 4, 4), -1.0)
    found[0, :2, :2], found[1, 0] = 1, 1  # half of the first, all of the second
    outcome = type("Outcome", (), {"refined": [found], "score": [torch.tensor([0.9, 0.2, 0.1])]})()
    tally = ValidationSums.empty(torch.device("cpu"))
    tally.add(outcome, [SampleTruth("k", ("a", "b", "c"), masks)])
    got = tally.summary()
    assert got["cIoU"] == pytest.approx(8 / 12)
    assert got["mIoU"] == pytest.approx((0.5 + 1) / 2)
    assert got["P@0.5"] == pytest.approx(1 / 2)
    assert got["presence"] == pytest.approx(2 / 3)
    assert got["phrases"] == 3


# --- pictures ---


def test_a_picture_shows_attention_prediction_and_truth() -> None:
    reading, truth = _sample(6, (48, 64), (1, 2))
    refined = torch.full((2, 48, 64), -1.0)
    refined[0, :10, :10] = 1.0
    rgb = np.full((48, 64, 3), 100, np.uint8)
    picture = sheet(rgb, reading, truth, refined)
    assert picture.shape == (2 * 48 + 4, 3 * 64 + 2 * 4, 3)
    predicted, true = picture[:48, 68:132], picture[:48, 136:]
    assert (predicted[:10, :10, 0] > 150).all() and (predicted[10:, 10:] == 100).all()
    green = (true[..., 1] > 130) & (true[..., 0] < 80)
    assert np.array_equal(green, truth.masks[0].numpy())
    assert small(np.zeros((100, 2000, 3), np.uint8)).shape == (48, 960, 3)


# --- checkpoints and logs ---


def _checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        step, {"w": torch.full((2,), float(step))}, {}, {"best": 0.5}, [rng_states_now()]
    )


def test_only_complete_checkpoints_count_and_old_ones_go(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        write(tmp_path, _checkpoint(step), keep=2)
    (tmp_path / ".unfinished-000000011").mkdir()  # killed while writing
    (tmp_path / ".unfinished-000000011" / "weights.safetensors").write_bytes(b"half")
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-000000002", "step-000000010"]
    found = newest(tmp_path)
    assert found is not None and found.step == 10
    assert found.weights["w"].tolist() == [10.0, 10.0] and found.state["best"] == 0.5
    clear_unfinished(tmp_path)
    assert not list(tmp_path.glob(".unfinished*"))
    assert newest(tmp_path / "none") is None


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, _checkpoint(4), keep=2)
    (path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"step-000000004.*go on from the one before"):
        newest(tmp_path)


def test_a_damaged_checkpoint_is_kept_under_another_name(tmp_path: Path) -> None:
    write(tmp_path, _checkpoint(4), keep=3)
    path = write(tmp_path, _checkpoint(6), keep=3)
    (path / "weights.safetensors").write_bytes(b"cut off")
    assert [p.name for p in keep_damaged_aside(tmp_path)] == ["damaged-step-000000006-0"]
    found = newest(tmp_path)
    assert found is not None and found.step == 4
    assert (tmp_path / "damaged-step-000000006-0" / "weights.safetensors").read_bytes() == (
        b"cut off"
    )
    assert keep_damaged_aside(tmp_path) == []


def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged(tmp_path: Path) -> None:
    path = write(tmp_path, _checkpoint(4), keep=1)
    state = path / "state.pt"
    state.rename(path / "elsewhere")
    state.mkdir()  # the operating system refuses to read it
    with pytest.raises(CheckpointError, match="may well be whole") as caught:
        keep_damaged_aside(tmp_path)
    assert "rename" not in str(caught.value) and path.is_dir()


def test_checkpoints_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, _checkpoint(4), keep=1)
    rest = torch.load(path / "state.pt", weights_only=True)
    rest["chances"] = rest.pop("rng_states")
    torch.save(rest, path / "state.pt")
    found = newest(tmp_path)
    assert found is not None and torch.equal(
        found.rng_states[0]["torch"], rest["chances"][0]["torch"]
    )


def test_a_checkpoint_fits_any_number_of_processes_with_the_same_samples_a_step() -> None:
    before = SampleOrder(40, 4, 1, processes=2, seed=1).identity
    require_same_samples(Path("x"), SampleOrder(40, 2, 1, processes=4, rank=3, seed=1), before)
    require_same_samples(Path("x"), SampleOrder(40, 1, 8, seed=1), before)
    old = {"count": 40, "batch": 2, "accumulate": 2, "processes": 2, "rank": 0, "seed": 1}
    require_same_samples(Path("x"), SampleOrder(40, 8, seed=1), old)
    for other in (
        SampleOrder(40, 4, seed=1),
        SampleOrder(40, 8, seed=2),
        SampleOrder(41, 8, seed=1),
    ):
        with pytest.raises(CheckpointError, match="processes 8 .now .* choose another folder"):
            require_same_samples(Path("x"), other, before)


def test_another_recipe_is_refused_by_its_keys_or_allowed_and_kept() -> None:
    lines = {"data": ["a:b"], "ema": 0.9, "peak_rate": 1e-3}
    before = as_text(recipe_from({**lines, "allow_changed": []}))
    same = recipe_from({**lines, "out": "elsewhere", "workers": 0, "batch": 4, "keep": 9})
    assert allowed_changes(Path("x"), 7, same, before) == []
    other = {**lines, "ema": 0.5, "selector_weight": 1.0}
    with pytest.raises(CheckpointError, match=r"ema: was 0.9, is 0.5; selector_weight: was 0.0"):
        allowed_changes(Path("x"), 7, recipe_from(other), before)
    with pytest.raises(CheckpointError, match=r"allow_changed=\[selector_weight\]"):
        allowed_changes(Path("x"), 7, recipe_from({**other, "allow_changed": "ema"}), before)
    both = recipe_from({**other, "allow_changed": ["ema", "selector_weight"]})
    assert allowed_changes(Path("x"), 7, both, before) == [
        "after step 7: ema 0.9 -> 0.5",
        "after step 7: selector_weight 0.0 -> 1.0",
    ]


def test_a_key_that_stands_twice_in_a_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: [refcoco:train]\nseed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match="'seed' a second time"):
        load_recipe(path)


def test_chance_goes_on_as_it_would_have() -> None:
    def roll() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    state = rng_states_now()
    first = roll()
    roll()
    restore_rng_states(state)
    assert roll() == first


def test_the_log_is_cut_back_to_where_the_run_goes_on(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, 0, tensorboard=False, wandb="", recipe={})
    for step in (1, 2, 3):
        monitor.numbers(step, "train", {"total": 1.0 / step})
    monitor.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "tot')  # killed while writing
    monitor = Monitor(tmp_path, 2, tensorboard=False, wandb="", recipe={})
    monitor.numbers(3, "train", {"total": 7.0})
    monitor.close()
    assert [(line["step"], line["total"]) for line in read_log(tmp_path)] == [
        (1, 1.0),
        (2, 0.5),
        (3, 7.0),
    ]
    assert all(json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
