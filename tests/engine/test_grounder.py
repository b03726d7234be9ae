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

"""The facade: answers, scenes, cancelling, refusals, and the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.cli import ground
from flmm_ros.engine.answer import Intent
from flmm_ros.engine.config import GrounderConfig, with_overrides
from flmm_ros.engine.errors import Cancelled, ConfigError, ImageError, PromptError, UnknownWordError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.image import read_image
from flmm_ros.engine.lmm.base import Generated
from flmm_ros.engine.progress import Progress, Stage

READ_STAGES = [Stage.READ, Stage.DECODE, Stage.SEE, Stage.REFINE]


def test_a_command_is_grounded_without_generating(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    seen: list[Progress] = []
    answer = grounder.open(image).ask("Pick up the red mug", on_stage=seen.append)
    assert answer.intent is Intent.GROUND
    assert [p.stage for p in seen] == [Stage.ENCODE, *READ_STAGES]
    found = answer.objects[0]  # a random mask may fall into several candidates
    assert found.phrase == "the red mug"
    assert found.mask.shape == found.soft_mask.shape == found.heat.shape == image.shape[:2]
    assert found.is_present == bool(found.mask.any())
    assert {*answer.timings_ms} == {"encode", "read", "decode", "see", "refine", "total"}


def test_a_question_is_answered_and_its_phrases_are_grounded_in_context(
    grounder: Grounder, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = grounder.lmm.text()
    said = tuple(text.tokenizer("there is a red mug.", add_special_tokens=False).input_ids)
    generate = grounder.lmm.generate  # the real one runs: what it leaves in the cache is read on

    def says(*args: object, **kwargs: object) -> Generated:
        return dataclasses.replace(generate(*args, **kwargs), ids=said, states=None)

    monkeypatch.setattr(grounder.lmm, "generate", says)
    answer = grounder.open(image).ask("what can I drink from?")
    assert answer.intent is Intent.ANSWER_AND_GROUND
    found = answer.objects[0]  # a random mask may fall into several candidates
    assert found.phrase == "a red mug"
    assert found.text_span is not None
    assert answer.text[slice(*found.text_span)] == "a red mug"
    expected = text.reading("what can I drink from?", "there is a red mug.", [(9, 18)])
    trace = grounder.open(image).trace(expected)
    soft = trace.refined_logits[0].sigmoid().numpy()
    own = found.soft_mask > 0  # other candidates' pixels are zero
    assert own[found.mask].all()
    np.testing.assert_allclose(found.soft_mask[own], soft[own], atol=1e-5)


def test_a_count_is_text_only(grounder: Grounder, image: NDArray[np.uint8]) -> None:
    seen: list[Progress] = []
    answer = grounder.open(image).ask("how many", intent=Intent.ANSWER, on_stage=seen.append)
    assert answer.objects == ()
    assert {p.stage for p in seen} == {Stage.ENCODE, Stage.GENERATE}
    assert seen[-1].partial_text == answer.text


def test_phrases_come_back_in_order_and_absent_ones_are_marked(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    grounder.update(with_overrides(grounder.config, {"score_threshold": 1.0}))
    phrases = ["the red mug", "the blue cube"]
    found = grounder.open(image).ground(phrases)
    assert [g.phrase for g in found] == phrases
    assert not any(g.is_present for g in found)
    assert grounder.open(image).ground([]) == []
    answer = grounder.open(image).ask("the red mug")
    assert answer.text == "I see no red mug here."


def test_the_same_pixels_are_encoded_once(grounder: Grounder, image: NDArray[np.uint8]) -> None:
    scene = grounder.open(image)
    first = scene.ask("the red mug")
    again = grounder.open(image.copy()).ask("the red mug")
    assert grounder.open(image.copy()) is scene
    assert "encode" in first.timings_ms and "encode" not in again.timings_ms
    np.testing.assert_array_equal(first.objects[0].soft_mask, again.objects[0].soft_mask)


def test_the_scene_cache_is_bounded_and_keeps_the_newest(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    scenes = [grounder.open(image + np.uint8(i)) for i in range(3)]
    assert grounder.open(image + np.uint8(2)) is scenes[2]
    assert grounder.open(image + np.uint8(1)) is scenes[1]
    assert grounder.open(image) is not scenes[0]
    turned = np.ascontiguousarray(image.reshape(image.shape[1], image.shape[0], 3))
    assert grounder.open(turned) is not grounder.open(image)


def test_a_reused_camera_buffer_does_not_change_a_scene(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    buffer = image.copy()
    scene = grounder.open(buffer)
    buffer[:] = 0
    late = scene.ground(["the red mug"])[0].soft_mask
    np.testing.assert_array_equal(late, grounder.open(image).ground(["the red mug"])[0].soft_mask)


@pytest.mark.parametrize("stage", list(Stage))
def test_cancelling_in_any_stage_leaves_the_scene_usable(
    grounder: Grounder, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    text = grounder.lmm.text()
    real = grounder.lmm.generate

    def speak(*args: object, **kwargs: object) -> Generated:
        real(*args, **kwargs)  # type: ignore[arg-type]
        return Generated(tuple(text.tokenizer("a red mug.", add_special_tokens=False).input_ids))

    monkeypatch.setattr(grounder.lmm, "generate", speak)
    expected = Grounder(grounder.config, grounder.model, grounder.lmm, grounder.heads)
    reference = expected.open(image).ask("what is there?")

    def stop(progress: Progress) -> None:
        if progress.stage is stage:
            raise Cancelled(f"stopped in {stage.value}")

    scene = grounder.open(image)
    with pytest.raises(Cancelled, match=stage.value):
        scene.ask("what is there?", on_stage=stop)
    answer = scene.ask("what is there?")
    assert answer.text == reference.text
    np.testing.assert_allclose(
        answer.objects[0].soft_mask, reference.objects[0].soft_mask, atol=1e-5
    )


def test_cancelling_between_two_tokens(grounder: Grounder, image: NDArray[np.uint8]) -> None:
    scene = grounder.open(image)
    whole = scene.ask("what is there?", intent=Intent.ANSWER)
    seen: list[str] = []

    def stop(progress: Progress) -> None:
        seen.append(progress.partial_text)
        if len(seen) == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        scene.ask("what is there?", intent=Intent.ANSWER, on_stage=stop)
    assert scene.ask("what is there?", intent=Intent.ANSWER).text == whole.text


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ("", PromptError, "only blanks"),
        ("  \n ", PromptError, "only blanks"),
        ("mug " * 25_000, PromptError, "at most 1000 characters"),
        ("?!?! 0101", PromptError, "expected words"),
        ("the purple Zebra", UnknownWordError, "'purple', 'Zebra'"),
        ("is there a zebra?", UnknownWordError, "'zebra'"),
    ],
)
def test_refused_commands_do_no_harm(
    grounder: Grounder,
    image: NDArray[np.uint8],
    command: str,
    error: type[PromptError],
    message: str,
) -> None:
    scene = grounder.open(image)
    with pytest.raises(error, match=message):
        scene.ask(command)
    assert scene.ask("the red mug").objects


def test_a_command_that_names_nothing_is_refused(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    with pytest.raises(PromptError, match="names something to point at"):
        grounder.open(image).ask("point at it", intent=Intent.GROUND)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((72, 100), np.uint8), r"got uint8 \[72, 100\]"),
        (np.zeros((72, 100, 4), np.uint8), r"got uint8 \[72, 100, 4\]"),
        (np.zeros((72, 100, 3), np.float32), "got float32"),
        (np.zeros((0, 0, 3), np.uint8), "got 0x0"),
        (np.zeros((72, 3, 3), np.uint8), "got 3x72"),
        ([[1]], "got list"),
    ],
)
def test_bad_images_are_refused(grounder: Grounder, bad: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        grounder.open(bad)


@pytest.mark.parametrize("shape", [(16, 400), (400, 16), (17, 19), (480, 640)])
def test_odd_image_sizes_work(grounder: Grounder, shape: tuple[int, int]) -> None:
    (found,) = grounder.open(np.full((*shape, 3), 128, np.uint8)).ground(["the red mug"])
    assert found.mask.shape == shape


def test_live_settings_change_and_others_need_a_new_model(grounder: Grounder) -> None:
    grounder.update(with_overrides(grounder.config, {"score_threshold": 0.4}))
    assert grounder.score_threshold == 0.4
    with pytest.raises(ConfigError, match="device: expected no change"):
        grounder.update(with_overrides(grounder.config, {"device": "cuda"}))


def test_a_warm_up_does_a_command_s_work_and_leaves_no_trace(
    grounder: Grounder, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = grounder.open(image).ask("the red mug").objects[0]
    refine, refined = grounder.heads.refine, []

    def counted(*args: object) -> object:
        refined.append(args)
        return refine(*args)

    monkeypatch.setattr(grounder.heads, "refine", counted)
    grounder.update(with_overrides(grounder.config, {"max_image_megapixels": 0.01}))
    grounder.warm_up()
    assert len(refined) == 1
    after = grounder.open(image).ask("the red mug").objects[0]
    np.testing.assert_array_equal(before.soft_mask, after.soft_mask)


def test_a_warm_up_tells_a_lack_of_memory_and_survives_a_small_vocabulary(
    grounder: Grounder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flmm_ros.engine.grounder._WARM_UP_COMMAND", "point at the quxbrax")
    with caplog.at_level("INFO", "flmm_ros"):
        grounder.warm_up()
    assert "not warmed up" in caplog.text and "quxbrax" in caplog.text
    monkeypatch.undo()

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("on purpose")

    monkeypatch.setattr(grounder.heads, "refine", fail)
    with pytest.raises(MemoryError, match="on purpose"):
        grounder.warm_up()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(model_dir: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of 0 GPUs"):
        Grounder.from_config(GrounderConfig(model=str(model_dir), device="cuda:0"))


def test_a_closed_grounder_frees_its_model(model_dir: Path, image: NDArray[np.uint8]) -> None:
    grounder = Grounder.from_config(model_dir)
    scene = grounder.open(image)
    assert grounder.model_name == "tiny"
    grounder.close()
    with pytest.raises(RuntimeError, match="closed"):
        scene.ask("the red mug")


def test_the_command_line_writes_overlay_and_json(
    model_dir: Path,
    image: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.fromarray(image).save(tmp_path / "table.png")
    arguments = [str(tmp_path / "table.png"), "the red mug", "--model", str(model_dir)]
    assert ground.main([*arguments, "--out", str(tmp_path / "out"), "--set", "device=cpu"]) == 0
    report = json.loads((tmp_path / "out" / "table.json").read_text())
    assert report["objects"][0]["phrase"] == "the red mug"
    assert report["text"] in capsys.readouterr().out
    assert Image.open(tmp_path / "out" / "table.png").size == (100, 72)


def test_a_photograph_taken_sideways_is_read_upright(tmp_path: Path) -> None:
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:8, :8] = 255  # upper left as stored
    photo, exif = Image.fromarray(stored), Image.Exif()
    exif[274] = 6  # orientation: turn by 90 degrees clockwise to see it upright
    photo.save(tmp_path / "photo.jpg", exif=exif, quality=100)
    upright = read_image(tmp_path / "photo.jpg")
    assert upright.shape == (60, 40, 3)
    assert upright[:6, -6:].min() > 250 and upright[:40, :30].max() < 5  # upper right


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.png", "the mug"], "got nothing there"),
        (["text.png", "the mug"], "expected a complete image file"),
        (["ok.png", "the mug", "--model", "unheard"], "got 'unheard'; known"),
        (["ok.png", "   "], "only blanks"),
        (["ok.png", "the mug", "--set", "devise=cpu"], "did you mean 'device'"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "text.png").write_text("not an image")
    Image.new("RGB", (40, 40)).save(tmp_path / "ok.png")
    given = [str(tmp_path / arguments[0]), *arguments[1:]]
    if "--model" not in given:
        given += ["--model", str(model_dir)]
    assert ground.main(given) == 2
    assert message in capsys.readouterr().err
