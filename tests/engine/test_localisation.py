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

"""Localisation heads: entropy and votes by value, planted heads, grounding without training."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.localise import localise
from flmm_ros.engine.config import TRAINING_FREE, GrounderConfig, ModelConfig
from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.checkpoint import load_official_heads, load_refiner
from flmm_ros.engine.heads.localisation import Localisation
from flmm_ros.engine.heads.localisation_search import (
    MAX_EXAMPLES,
    HeadVotes,
    Photo,
    elbow,
    search_heads,
    spatial_entropy,
)
from flmm_ros.engine.heads.trained import LmmShape
from flmm_ros.engine.heads.training_free import TrainingFreeHeads, gaussian
from flmm_ros.engine.masks.framing import crop_to_image

SHAPE = LmmShape(layers=3, heads=4, width=32)
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "llava15_max_portrait"


def select_heads(
    pairs: Sequence[torch.Tensor],
    lmm: LmmShape,
    *,
    keep: int,
    made: str = "",
    images: Sequence[int] | None = None,
) -> Localisation:
    """The heads that these pairs vote for; each is of an image of its own where none are given."""
    votes, before = HeadVotes(lmm), None
    for maps, image in zip(pairs, images or range(len(pairs)), strict=True):
        if image != before:
            votes.next_image()
        votes.add(maps)
        before = image
    return votes.best(keep, made)


def blob(at: tuple[int, int], size: int = 2, grid: int = 8) -> NDArray[np.float32]:
    made = np.full((grid, grid), 0.01, np.float32)
    made[at[0] : at[0] + size, at[1] : at[1] + size] = 1
    return made


def test_entropy_of_one_part_is_zero_and_of_equal_parts_the_logarithm_of_their_number() -> None:
    assert spatial_entropy(blob((2, 3))) == pytest.approx(0, abs=1e-6)
    two = np.maximum(blob((0, 0)), blob((5, 5)))
    assert spatial_entropy(two) == pytest.approx(math.log(2), abs=1e-6)
    corner = np.maximum(blob((0, 0)), blob((2, 2)))  # they touch at a corner: one part
    assert spatial_entropy(corner) == pytest.approx(0, abs=1e-6)
    uneven = np.maximum(blob((0, 0), 1), 3 * blob((5, 5), 1))
    shares = np.array([0.25, 0.75])
    assert spatial_entropy(uneven) == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-6)
    assert spatial_entropy(np.ones((4, 4), np.float32)) == math.inf


def test_the_elbow_separates_the_few_from_the_many() -> None:
    values = torch.tensor([0.1, 0.11, 0.12, 0.13, 0.14, 0.9, 1.0])
    assert elbow(values[torch.randperm(7)]) == pytest.approx(0.14)


def test_the_elbow_itself_still_belongs_to_the_many() -> None:
    """A head on the elbow would win by being compact; only the one above it looks at the image."""
    maps = torch.from_numpy(np.stack([blob((1, 1)) * strength for strength in (0.1, 0.12, 1)]))
    maps[2, 5:7, 5:7] += 1
    found = select_heads([maps], LmmShape(layers=1, heads=3, width=8), keep=3)
    assert found.channels == (2,)


def planted(pointing: dict[int, float], pairs: int = 20) -> list[torch.Tensor]:
    """Maps in which some heads look at one place, the others everywhere, most at nothing much."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(pairs):
        maps = rng.random((SHAPE.map_channels, 8, 8)).astype(np.float32) * 1e-3
        maps[2] = rng.random((8, 8)) * 0.2  # looks at the image a lot, but at no one thing
        for channel, strength in pointing.items():
            maps[channel] = blob((int(rng.integers(6)), int(rng.integers(6)))) * strength
        made.append(torch.from_numpy(maps))
    return made


def test_planted_heads_are_found() -> None:
    found = select_heads(planted({9: 2.0}), SHAPE, keep=3, made="test")
    assert found.channels == (9,)
    assert found.votes == (1.0,)
    assert found.names() == ["view 0, layer 2, head 1"]


def test_votes_by_hand() -> None:
    """One layer of five heads, so one vote a pair; sums of the heads: 8, 6, 9, 0.5, 0.6."""
    shape = LmmShape(layers=1, heads=5, width=8)

    def scattered(total: float, parts: int) -> torch.Tensor:
        grid = torch.zeros(7, 7)
        for n in range(parts):
            grid[2 * (n // 4), 2 * (n % 4)] = total / parts
        return grid

    def pair(*parts: int) -> torch.Tensor:
        return torch.stack(
            [scattered(s, n) for s, n in zip((8, 6, 9, 0.5, 0.6), parts, strict=True)]
        )

    # The elbow lies at 0.6: head 3, compact everywhere, does not look at the image.
    pairs = [pair(3, 1, 2, 1, 4), pair(2, 4, 1, 1, 4), pair(2, 1, 3, 1, 4), pair(3, 2, 2, 1, 4)]
    pairs += [pair(1, 1, 3, 1, 1)]  # heads 0, 1 and 4 are as compact: 0 looks most
    found = select_heads(pairs, shape, keep=5)
    # 1 and 2 are chosen by two each (the fourth pair's tie goes to 2, which looks more).
    assert found.channels == (2, 1, 0)
    assert found.votes == (0.4, 0.4, 0.2)
    assert select_heads(pairs, shape, keep=1).channels == (2,)


def test_a_head_that_looks_at_the_same_place_whatever_it_reads_is_no_pointer() -> None:
    maps = planted({9: 2.0}, pairs=12)
    for each in maps:
        each[6] = torch.from_numpy(blob((3, 3), 1)) * 3  # compact, strong, and always there
    images = [n // 3 for n in range(12)]
    assert select_heads(maps, SHAPE, keep=3, images=images).channels == (9,)


def test_other_maps_than_the_models_are_refused() -> None:
    with pytest.raises(CheckpointError, match="with 12 maps each, got no pairs"):
        select_heads([], SHAPE, keep=3)
    with pytest.raises(CheckpointError, match=r"12 maps each, got \[5\]"):
        select_heads([torch.rand(5, 8, 8)], SHAPE, keep=3)


def test_saved_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "localisation.json"
    found = Localisation(SHAPE, (9, 2), (0.9, 0.3), "by a test")
    found.save(file)
    assert Localisation.load(file) == found
    with pytest.raises(CheckpointError, match="got nothing there; make them once with"):
        Localisation.load(tmp_path / "none.json")
    for damaged in ("{", '{"format": "x"}', "[]"):
        file.write_text(damaged)
        with pytest.raises(CheckpointError, match="expected a file of format"):
            Localisation.load(file)
    for channels in ((99, 0), (-1, 0)):
        dataclasses.replace(found, channels=channels).save(file)
        with pytest.raises(CheckpointError, match="within 12 maps"):
            Localisation.load(file)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": ["nine", 2]},
        {"channels": 9},
        {"votes": [0.9]},
        {"lmm": {"layers": "three", "heads": 4, "width": 32}},
        {"lmm": {"layers": 3, "floors": 4}},
        {"lmm": [3, 4, 32]},
    ],
    ids=str,
)
def test_damaged_numbers_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "localisation.json"
    Localisation(SHAPE, (9, 2), (0.9, 0.3)).save(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match="localisation.json: expected a file of format"):
        Localisation.load(file)


def test_heads_of_another_model_are_refused() -> None:
    heads = TrainingFreeHeads(Localisation(SHAPE, (0,), (1.0,)), None)
    heads.require_fit(SHAPE)
    with pytest.raises(CheckpointError, match="find them anew"):
        heads.require_fit(LmmShape(layers=4, heads=4, width=32))


def test_smoothing_keeps_the_sum_and_spreads_a_point() -> None:
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    smooth = gaussian(point, 1.0)[0, 0]
    assert smooth.sum() == pytest.approx(1, abs=1e-5)
    assert smooth[4, 5] / smooth[4, 4] == pytest.approx(math.exp(-0.5), abs=1e-5)


def test_the_pseudo_mask_is_where_the_chosen_heads_look_and_strays_are_dropped() -> None:
    heads = TrainingFreeHeads(Localisation(SHAPE, (9,), (1.0,)), None)
    maps = torch.rand(1, 12, 16, 16) * 0.01
    maps[0, 9] = torch.from_numpy(np.maximum(blob((2, 3), 3, 16), 0.9 * blob((11, 11), 2, 16)))
    maps[0, 5] = torch.from_numpy(blob((12, 2), 3, 16)) * 50  # not chosen
    coarse = heads.decode(maps)
    assert coarse.shape == (1, 64, 64)
    rows, columns = np.nonzero(coarse[0].numpy() > 0)
    assert (rows.mean() / 4, columns.mean() / 4) == pytest.approx((3.4, 4.4), abs=0.6)
    assert rows.max() / 4 < 8  # the weaker part is no longer there
    refined = heads.refine(None, coarse, [], (120, 120))
    assert heads.upscale(refined.low_logits, (120, 120)).shape == (1, 120, 120)
    assert heads.see(np.zeros((8, 8, 3), np.uint8)) is None


def test_a_complete_sam_file_is_loaded_strictly(tmp_path: Path) -> None:
    trained = torch.load(GOLDEN / "flmm_head.pth", weights_only=True)
    sam = dict(torch.load(GOLDEN / "sam_image_encoder.pth", weights_only=True))
    sam |= {k.removeprefix("sam.model."): v for k, v in trained.items() if k.startswith("sam.")}
    torch.save(sam, tmp_path / "sam.pth")
    refiner = load_refiner(tmp_path / "sam.pth")
    heads = load_official_heads(GOLDEN / "flmm_head.pth", GOLDEN / "sam_image_encoder.pth")
    assert refiner.shape == heads.mask_refiner.shape and refiner.isolated
    for name, weight in heads.mask_refiner.state_dict().items():
        assert torch.equal(refiner.state_dict()[name], weight), name
    torch.save({**sam, "stranger": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match="1 unexpected"):
        load_refiner(tmp_path / "more.pth")
    del sam["mask_decoder.iou_prediction_head.layers.0.weight"]
    torch.save(sam, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match="iou_prediction_head"):
        load_refiner(tmp_path / "less.pth")


@pytest.fixture(scope="module")
def free_model(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    """The tiny model, with localisation heads instead of trained ones."""
    where = tmp_path_factory.mktemp("free") / "localisation.json"
    return ModelConfig(
        name="free",
        lmm=str(model_dir / "lmm"),
        heads=TRAINING_FREE,
        localisation=str(where),
        score="mask_confidence",
        score_threshold=0.0,
    )


@pytest.fixture
def photo(image: NDArray[np.uint8], tmp_path: Path) -> Path:
    """The image as a file."""
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    return path


def free_model_file(folder: Path, lmm: Path, sam: Path) -> None:
    """A model of that LMM without trained heads."""
    (folder / "model.yaml").write_text(
        f"name: free\nfamily: llava\nlmm: {lmm}\nheads: training_free\n"
        f"score: mask_confidence\nscore_threshold: 0.0\nsam: {sam}\n"
    )


def talking_lmm(lmm: Path, folder: Path, *says: str) -> Path:
    """The LMM with weights that answer every question with these words: the last word decides
    nearly alone (its embedding outweighs all else), and each says the next."""
    model = LlavaForConditionalGeneration.from_pretrained(lmm)
    ids = AutoTokenizer.from_pretrained(lmm).convert_tokens_to_ids([":", *says, "</s>"])
    with torch.no_grad():
        words = model.get_input_embeddings().weight.mul_(1000)
        model.lm_head.weight.zero_()
        model.lm_head.weight[ids[1:]] = F.normalize(words[ids[:-1]])
    shutil.copytree(lmm, folder)
    model.save_pretrained(folder)
    return folder


def test_the_command_line_finds_heads_and_grounding_uses_them(
    model_dir: Path,
    image: NDArray[np.uint8],
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    free_model_file(tmp_path, model_dir / "lmm", model_dir / "heads.safetensors")
    photo.with_suffix(".txt").write_text("the red mug\n\nthe blue cube\n")
    assert run_command(localise, [str(tmp_path), str(photo), "--set", "device=cpu"]) == 0
    found = Localisation.load(tmp_path / "localisation.json")
    assert found.lmm == SHAPE and found.made == "2 phrases of 1 images"
    assert (
        f"{found.names()[0]}: chosen by {found.votes[0]:.0%} of 2 pairs" in capsys.readouterr().out
    )
    with Image.open(tmp_path / "localisation.png") as sheet:  # a row a pair: image, heat maps
        assert sheet.size == (image.shape[1] * (1 + len(found.channels)), image.shape[0] * 2)
    grounder = Grounder.from_config(GrounderConfig(model=str(tmp_path), device="cpu"))
    assert grounder.backend == "torch, training-free"
    answer = grounder.open(image).ask("pick up the red mug")
    assert answer.objects[0].phrase == "the red mug"
    assert {"read", "decode", "see", "refine"} <= {*answer.timings_ms}


def test_a_head_that_too_few_pairs_chose_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing stands out in flat maps: no pair votes, and the best of none is kept."""
    flat = [torch.ones(SHAPE.map_channels, 8, 8) for _ in range(3)]
    found = select_heads(flat, SHAPE, keep=3)
    assert found.votes == (0.0,) and len(found.channels) == 1
    assert "got 0% for the best" in found.warning and "more photos" in found.warning
    found.save(tmp_path / "localisation.json")
    assert not caplog.records
    Localisation.load(tmp_path / "localisation.json")
    assert found.warning in caplog.text
    assert not Localisation(SHAPE, (9,), (0.1,)).warning


def test_photos_are_read_one_by_one_and_only_the_examples_are_kept(
    shared_grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    most = 0

    def photos() -> Iterator[Photo]:
        nonlocal most
        for n in range(20):
            copy = image.copy()
            copy[0, 0] = n
            alive.append(weakref.ref(copy))
            yield Photo(copy, ("the red mug",))
            del copy
            most = max(most, sum(each() is not None for each in alive))

    result = search_heads(shared_grounder.lmm, photos(), keep=1)
    assert (result.pairs, len(result.examples)) == (20, MAX_EXAMPLES)
    assert most <= MAX_EXAMPLES + 1
    assert [each.image[0, 0, 0] for each in result.examples] == list(range(MAX_EXAMPLES))


def test_without_text_files_the_models_own_descriptions_serve(
    model_dir: Path, photo: Path, tmp_path: Path
) -> None:
    lmm = talking_lmm(model_dir / "lmm", tmp_path / "lmm", "the", "red", "mug")
    free_model_file(tmp_path, lmm, model_dir / "heads.safetensors")
    out = tmp_path / "out" / "found.json"
    assert run_command(localise, [str(tmp_path), str(photo), "--out", str(out), "--keep", "1"]) == 0
    described = Localisation.load(out)
    assert described.made == "1 phrases of 1 images"
    photo.with_suffix(".txt").write_text("the red mug\n")
    assert run_command(localise, [str(tmp_path), str(photo), "--out", str(out), "--keep", "1"]) == 0
    assert Localisation.load(out) == described


def test_descriptions_that_name_nothing_are_said(
    model_dir: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lmm = talking_lmm(model_dir / "lmm", tmp_path / "lmm", "yes")
    free_model_file(tmp_path, lmm, model_dir / "heads.safetensors")
    assert run_command(localise, [str(tmp_path), str(photo)]) == 2
    assert "write phrases into text files" in capsys.readouterr().err


def test_the_command_line_says_what_is_wrong(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(localise, [str(model_dir), str(tmp_path / "none.jpg")]) == 2
    assert "none.jpg: expected an image file" in capsys.readouterr().err
    assert run_command(localise, ["no_such_model", "x.jpg"]) == 2
    assert "known:" in capsys.readouterr().err
    assert run_command(localise, [str(model_dir), "x.jpg", "--keep", "0"]) == 2
    assert "--keep" in capsys.readouterr().err


def test_without_sam_the_mask_is_where_the_chosen_head_looks(
    free_model: ModelConfig, image: NDArray[np.uint8]
) -> None:
    Localisation(SHAPE, (9,), (1.0,)).save(Path(free_model.localisation))
    grounder = Grounder.from_model(free_model, GrounderConfig(device="cpu"))
    found = grounder.open(image).ground(["the red mug"])[0]
    lmm = grounder.lmm
    suffix = lmm.text().reading(free_model.prompt, "the red mug", [(0, 11)])
    with torch.inference_mode():
        maps = lmm.read(lmm.encode(image), suffix.ids, suffix.spans).maps
        padded = TrainingFreeHeads(Localisation(SHAPE, (9,), (1.0,)), None).decode(maps)
    hw = (image.shape[0], image.shape[1])
    logits = F.interpolate(
        crop_to_image(padded, lmm.views(hw)[-1], hw)[:, None], hw, mode="bilinear"
    )
    assert found.mask.any() and np.array_equal(found.mask, logits[0, 0].numpy() > 0)
    # The highest value of the pseudo-mask gets a logit of 6.
    assert found.soft_mask.max() == pytest.approx(1 / (1 + math.exp(-6)), abs=0.05)


def test_a_missing_localisation_file_says_how_to_make_it(free_model: ModelConfig) -> None:
    absent = dataclasses.replace(free_model, localisation="/nowhere/localisation.json")
    with pytest.raises(CheckpointError, match="flmm localise MODEL IMAGES"):
        Grounder.from_model(absent, GrounderConfig(device="cpu"))
