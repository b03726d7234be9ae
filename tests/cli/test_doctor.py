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

"""The doctor, for real: this machine, a real publisher over DDS, models that are here and not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import transformers as hf

from flmm_ros.cli.doctor import command as doctor
from flmm_ros.cli.doctor.published_sizes import PUBLISHED
from flmm_ros.engine.config import GrounderConfig, find_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.runtime import memory

ROOT = Path(__file__).resolve().parents[2]


def test_the_embedded_model_is_ready_and_the_others_say_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = doctor.examine(None, "no_such_image")
    models = {model.name: model for model in found.models}
    assert models["tabletop"].is_ready
    assert models["tabletop"].missing == ()
    away = models["llava_1_5_7b"]
    assert not away.is_ready and away.need_gib["bfloat16"] == pytest.approx(14.9, abs=0.1)
    assert any("lmm llava-hf/llava-1.5-7b-hf: not here" in text for text in away.missing)
    free = models["qwen2_5_vl_7b"]
    assert any("flmm localise qwen2_5_vl_7b" in text for text in free.missing)
    assert found.packages["torch"] and "python" in found.machine
    assert doctor.main(["--model", "tabletop", "--image-topic", "no_such_image"]) == 0
    shown = capsys.readouterr().out
    assert "tabletop" in shown and "free on" in shown and "--model NAME" not in shown
    assert doctor.main(["--model", "llava_1_5_7b", "--image-topic", "no_such_image"]) == 1
    assert "lmm llava-hf/llava-1.5-7b-hf: not here; fetch it once" in capsys.readouterr().out
    assert doctor.main(["--model", "no such model"]) == 2


def test_it_names_the_publisher_and_its_qos(capsys: pytest.CaptureFixture[str]) -> None:
    rclpy = pytest.importorskip("rclpy")
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image

    context = rclpy.context.Context()
    context.init()
    node = rclpy.create_node("camera_driver", context=context, namespace="/head")
    try:
        raw = node.create_publisher(Image, "/doctor/raw", qos_profile_sensor_data)
        packed = node.create_publisher(CompressedImage, "/doctor/packed", 7)
        assert raw and packed
        (seen,) = doctor.examine("tabletop", "/doctor/raw").ros.publishers
        assert (seen.node, seen.type) == ("/head/camera_driver", "sensor_msgs/msg/Image")
        assert (seen.reliability, seen.durability, seen.problem) == ("best_effort", "volatile", "")
        arguments = ["--model", "tabletop", "--image-topic", "/doctor/packed", "--json"]
        assert doctor.main(arguments) == 1
        (other,) = json.loads(capsys.readouterr().out)["ros"]["publishers"]
        assert other["reliability"] == "reliable"
        assert "image_transport to compressed" in other["problem"]
    finally:
        node.destroy_node()
        context.shutdown()


def test_the_advice_names_the_model_as_the_user_did(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    text = "family: llava\nlmm: nobody/nothing\nheads: training_free\n"
    (folder / "model.yaml").write_text(text)
    (facts,) = doctor.examine(str(folder), "no_such_image").models
    assert any(f"flmm localise '{folder}' IMAGES" in line for line in facts.missing), facts.missing


def test_an_image_processor_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "tabletop", tmp_path / "mine")
    rule = tmp_path / "mine" / "lmm" / "preprocessor_config.json"
    (whole,) = doctor.examine(str(tmp_path / "mine"), "no_such_image").models
    assert whole.is_ready and whole.missing == ()
    rule.write_text("{")
    (facts,) = doctor.examine(str(tmp_path / "mine"), "no_such_image").models
    assert not facts.is_ready
    assert any("mine/lmm, got: Expecting" in line for line in facts.missing), facts.missing


def test_needs_follow_from_the_configuration() -> None:
    model = find_model("tabletop")
    full, half = (memory.need_of(model, p, scenes=2) for p in ("float32", "bfloat16"))
    assert full is not None and half is not None
    stored = (ROOT / "models/tabletop/lmm/model.safetensors").stat().st_size  # fp16
    assert full.weights == pytest.approx(2 * stored, rel=0.02)
    assert half.weights == pytest.approx(stored, rel=0.02)
    more = memory.need_of(model, "float32", scenes=4)
    assert more is not None and more.cache == 2 * full.cache
    four = memory.need_of(model, "4bit")
    assert four is not None and four.weights < half.weights


def test_what_cannot_fit_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = find_model("tabletop")
    absent = dataclasses.replace(model, heads="/nowhere/heads.safetensors")
    need = memory.need_of(absent, "4bit")
    assert need is not None
    monkeypatch.setattr(memory, "available", lambda device: need.total)
    with pytest.raises(ConfigError, match=r"GiB of free memory on cpu for float32.*fit in 4bit"):
        Grounder.from_model(absent, GrounderConfig(device="cpu"))
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    with pytest.raises(ConfigError, match="use a smaller model"):
        Grounder.from_model(absent, GrounderConfig(device="cpu"))


def test_published_sizes_are_those_of_the_documentation() -> None:
    page = (
        (ROOT / "docs/models.md").read_text().split("## Families")[1].split("What your machine")[0]
    )
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines()]
    rows = [row for row in rows if len(row) == 8 and row[6].endswith("GB")]
    assert len(rows) == 11
    named = [name for row in rows for name in row[2].replace("`", "").split(", ")]
    assert {find_model(name).lmm for name in named} == set(PUBLISHED)
    for row in rows:
        for name in row[2].replace("`", "").split(", "):
            model = find_model(name)
            published = PUBLISHED[model.lmm]
            layers, heads, width = (int(part) for part in row[4].replace(",", " x").split(" x "))
            assert (published.layers, published.heads, published.width) == (layers, heads, width)
            half, four = (float(part) for part in row[6].removesuffix(" GB").split(" / "))
            for precision, gigabytes in (("bfloat16", half), ("4bit", four)):
                need = memory.need_of(model, precision, size=published.size())
                assert need is not None
                assert need.weights / 1e9 == pytest.approx(gigabytes, abs=0.6), (name, precision)


def test_published_sizes_are_those_of_the_real_classes() -> None:
    vision = hf.CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = hf.LlamaConfig(vocab_size=32064)  # the rest is Llama 2 7B, as it is
    linear, whole = memory._parameters(hf.LlavaConfig(vision_config=vision, text_config=text))
    size = PUBLISHED["llava-hf/llava-1.5-7b-hf"].size()
    assert linear == size.linear
    assert whole == pytest.approx(size.whole, rel=0.01)
