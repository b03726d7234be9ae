"""Localisation heads: entropy and votes by value, planted heads, grounding without training."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.engine.checkpoint import load_refiner
from flmm_ros.engine.config import TRAINING_FREE, GrounderConfig, ModelConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads import LmmShape
from flmm_ros.engine.localisation import main
from flmm_ros.engine.localisation_heads import Localisation, elbow, select_heads, spatial_entropy
from flmm_ros.engine.training_free import TrainingFreeHeads, gaussian
from flmm_ros.engine.types import CheckpointError

SHAPE = LmmShape(layers=3, heads=4, width=32)
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "llava15_max_portrait"


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
    dataclasses.replace(found, channels=(99,)).save(file)
    with pytest.raises(CheckpointError, match="within 12 maps"):
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
    name = "mask_decoder.iou_prediction_head.layers.0.weight"
    torch.testing.assert_close(
        refiner.mask_decoder.iou_prediction_head.proj_in.weight, sam[name].float()
    )
    torch.save({**sam, "stranger": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match="1 unexpected"):
        load_refiner(tmp_path / "more.pth")
    del sam[name]
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


@pytest.mark.parametrize("source", ["text file", "its own description"])
def test_the_command_line_finds_heads_and_grounding_uses_them(
    free_model: ModelConfig,
    model_dir: Path,
    image: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(image).save(photo)
    (tmp_path / "model.yaml").write_text(
        f"name: free\nfamily: llava\nlmm: {free_model.lmm}\nheads: training_free\n"
        f"score: mask_confidence\nscore_threshold: 0.0\nsam: {model_dir}/heads.safetensors\n"
    )
    if source == "text file":
        photo.with_suffix(".txt").write_text("the red mug\n\nthe blue cube\n")
    status = main([str(tmp_path), str(photo), "--set", "device=cpu"])
    shown = capsys.readouterr()
    if source != "text file":  # random weights speak of nothing: the error says what to do
        assert status == 2 and "write phrases into text files" in shown.err
        return
    assert status == 0 and "chosen by" in shown.out
    assert (tmp_path / "localisation.png").is_file()
    grounder = Grounder.from_config(GrounderConfig(model=str(tmp_path), device="cpu"))
    assert grounder.backend == "torch, training-free"
    answer = grounder.open(image).ask("pick up the red mug")
    assert answer.objects[0].phrase == "the red mug"
    assert {"read", "decode", "see", "refine"} <= {*answer.timings_ms}


def test_without_sam_the_coarse_mask_is_the_result(
    free_model: ModelConfig, image: NDArray[np.uint8]
) -> None:
    Localisation(LmmShape(3, 4, 32), (9,), (1.0,)).save(Path(free_model.localisation))
    grounder = Grounder.from_model(free_model, GrounderConfig(device="cpu"))
    found = grounder.open(image).ground(["the red mug"])[0]
    assert found.mask.shape == image.shape[:2] and found.mask.any()
    # The highest value of the pseudo-mask gets a logit of 6.
    assert found.soft_mask.max() == pytest.approx(1 / (1 + math.exp(-6)), abs=0.05)


def test_a_missing_localisation_file_says_how_to_make_it(free_model: ModelConfig) -> None:
    absent = dataclasses.replace(free_model, localisation="/nowhere/localisation.json")
    with pytest.raises(CheckpointError, match="python -m flmm_ros.engine.localisation"):
        Grounder.from_model(absent, GrounderConfig(device="cpu"))
