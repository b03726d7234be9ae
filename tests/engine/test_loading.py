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

"""Weights as people publish them: where answers end, and what is refused while loading."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
import transformers as hf
from tiny_model import tiny_llava, word_tokenizer
from tiny_tokenizers import qwen_like

from flmm_ros.engine.config import ModelConfig, locate_model
from flmm_ros.engine.errors import CheckpointError, ConfigError
from flmm_ros.engine.lmm import Lmm, LoadOptions, adapter_of, load_lmm

IMAGE = np.zeros((112, 112, 3), np.uint8)


@pytest.fixture
def talkative(tmp_path: Path) -> Path:
    """A tiny Qwen2.5-VL that says <|im_end|> for ever, whatever it is asked."""
    tokenizer = qwen_like()
    ids = tokenizer.convert_tokens_to_ids
    text = tiny_families._text(
        vocab_size=len(tokenizer),
        rope_parameters=tiny_families._rope(),
        eos_token_id=5,  # a letter's: nobody wrote it for this vocabulary
    )
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 14,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    config = hf.Qwen2_5_VLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=ids("<|image_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    model = hf.Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        # A constant state before the vocabulary, which looks like one word only.
        model.model.language_model.norm.weight.zero_()
        model.lm_head = torch.nn.Linear(32, len(tokenizer), bias=True)
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[ids("<|im_end|>")] = 1
    head = model.lm_head.state_dict()
    model.lm_head = torch.nn.Linear(32, len(tokenizer), bias=False)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(tmp_path)
    torch.save(head, tmp_path / "says.bin")
    tokenizer.save_pretrained(tmp_path)
    tiny_families.Qwen2VLImageProcessorPil(
        size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 60}, patch_size=14
    ).save_pretrained(tmp_path)
    return tmp_path


def loaded(folder: Path) -> Lmm:
    lmm = load_lmm(locate_model(str(folder)), LoadOptions())
    head = torch.nn.Linear(32, len(lmm.text().tokenizer))
    head.load_state_dict(torch.load(folder / "says.bin", weights_only=True))
    lmm.model.lm_head = head.eval()
    return lmm


@pytest.mark.parametrize("generation", [None, {}, {"eos_token_id": "endoftext"}], ids=str)
@pytest.mark.parametrize("eos", ["<|im_end|>", "<|endoftext|>", None])
def test_an_answer_ends_at_the_end_of_turn_whatever_the_files_leave_out(
    talkative: Path, generation: dict[str, Any] | None, eos: str | None
) -> None:
    """Without a generation configuration, with one of a base model, and with a tokenizer whose end
    token is another, or that names none: then the template's end of turn counts."""
    tokenizer = qwen_like()
    file = talkative / "generation_config.json"
    if generation is None:
        file.unlink(missing_ok=True)
    else:
        base = tokenizer.convert_tokens_to_ids("<|endoftext|>")
        file.write_text(json.dumps({key: base for key in generation}))
    settings = json.loads((talkative / "tokenizer_config.json").read_text())
    settings.pop("eos_token")
    (talkative / "tokenizer_config.json").write_text(
        json.dumps(settings | ({"eos_token": eos} if eos else {}))
    )
    lmm = loaded(talkative)
    with torch.inference_mode():
        prefix = lmm.encode(IMAGE)
        said = lmm.generate(prefix, lmm.text().question("mug").ids, max_new_tokens=8)
    assert said.ids == ()
    assert 5 not in lmm._end_ids()  # the model's configuration has a default there


def test_an_idefics3_folder_is_a_model(tmp_path: Path) -> None:
    tiny_families.build("idefics3", tmp_path)
    model = locate_model(str(tmp_path))
    assert (model.family, model.max_image_tokens) == ("idefics3", 2873)
    lmm = load_lmm(dataclasses.replace(model, template=tiny_families.TEMPLATE), LoadOptions())
    suffix = lmm.text().reading("what is there", "the red mug", [(0, 11)])
    with torch.inference_mode():
        maps = lmm.read(lmm.encode(IMAGE), suffix.ids, suffix.spans).maps
    assert maps.shape[:2] == (1, lmm.shape.map_channels)


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ({"height": 448, "width": 448}, "size {'height': 448, 'width': 448} without shortest_edge"),
        ({"longest_edge": 1_000_000}, "size {'longest_edge': 1000000} without shortest_edge"),
        ({"height": "tall"}, "size must have one of"),
        (7.5, "got"),
    ],
    ids=str,
)
def test_a_size_that_qwen_cannot_use_is_refused_by_file_and_key(
    tmp_path: Path, size: object, why: str
) -> None:
    config = tiny_families.build("qwen2_5_vl", tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"size": size}))
    for load in (load_lmm, adapter_of("qwen2_5_vl").load_image_processor):  # the doctor's way too
        with pytest.raises(CheckpointError) as refused:
            load(config, LoadOptions())
        assert str(file) in str(refused.value) and why in str(refused.value)
        assert "copy the file from the original model" in str(refused.value)


@pytest.mark.parametrize(
    ("family", "content"),
    [("llava", "{}")]  # others find theirs by the type of the model, with its defaults
    + [
        (family, content)
        for family in ("qwen2_5_vl", "llava", "llava_next", "gemma3", "idefics3")
        for content in (None, "{", '{"image_processor_type": "Nobodys"}', "[]")
    ],
)
def test_a_missing_or_foreign_image_processor_is_refused(
    tmp_path: Path, family: str, content: str | None
) -> None:
    config = tiny_families.build(family, tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(CheckpointError) as refused:
        adapter_of(family).load_image_processor(config, LoadOptions())
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("given", [{"image_mean": 0.5}, {"image_std": [0.5]}, {"image_mean": None}])
def test_a_llavas_colours_are_checked(tmp_path: Path, given: dict[str, object]) -> None:
    config = tiny_families.build("llava", tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | given))
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        load_lmm(config, LoadOptions())


CLIP = hf.CLIPVisionConfig(**tiny_families._vision(image_size=84, projection_dim=16))
SIGLIP = hf.SiglipVisionConfig(**tiny_families._vision(image_size=84), vision_use_head=False)
PIXTRAL = hf.PixtralVisionConfig(
    hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
    image_size=84, patch_size=14, head_dim=8,
)  # fmt: skip


def llava(folder: Path, vision: Any, strategy: str, layer: Any = -1) -> ModelConfig:
    """A model of type "llava" with this vision encoder."""
    plain = tiny_llava(layers=2).config
    config = hf.LlavaConfig(
        vision_config=vision,
        text_config=plain.text_config,
        image_token_id=plain.image_token_id,
        vision_feature_select_strategy=strategy,
        vision_feature_layer=layer,
    )
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    hf.CLIPImageProcessor(size={"shortest_edge": 84}).save_pretrained(folder)
    return ModelConfig(name="made", family="llava", lmm=str(folder), heads="none")


@pytest.mark.parametrize(
    ("vision", "strategy", "why"),
    [
        (CLIP, "full", "expected 36 image tokens .*'full', got 37; is it 'default'?"),
        (SIGLIP, "default", "expected 36 image tokens .*'default', got 35; is it 'full'?"),
        (PIXTRAL, "full", "square grid of tokens, got 'pixtral'"),
    ],
    ids=["CLIP with its class token", "SigLIP without a patch", "Pixtral"],
)
def test_a_llava_with_another_vision_encoder_is_refused_while_loading(
    tmp_path: Path, vision: Any, strategy: str, why: str
) -> None:
    with pytest.raises(CheckpointError, match=why) as refused:
        load_lmm(llava(tmp_path, vision, strategy), LoadOptions())
    assert str(tmp_path / "config.json") in str(refused.value)


@pytest.mark.parametrize(
    ("vision", "strategy", "layer"),
    [(CLIP, "default", -2), (SIGLIP, "full", -1), (CLIP, "default", [-2, -1])],
    ids=["CLIP", "SigLIP", "two layers"],
)
def test_a_llava_whose_vision_encoder_fits_is_read(
    tmp_path: Path, vision: Any, strategy: str, layer: Any
) -> None:
    lmm = load_lmm(llava(tmp_path, vision, strategy, layer), LoadOptions())
    with torch.inference_mode():
        assert len(lmm.encode(IMAGE).columns) == 36


def test_a_vision_encoder_for_images_that_are_not_square_is_refused(tmp_path: Path) -> None:
    config = llava(tmp_path, CLIP, "default")
    file = tmp_path / "config.json"
    content = json.loads(file.read_text())
    content["vision_config"]["image_size"] = [84, 56]
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"config\.json: .*image_size \[84, 56\]"):
        load_lmm(config, LoadOptions())


def test_a_template_without_the_image_token_is_refused_while_loading(tmp_path: Path) -> None:
    config = tiny_families.build("llava", tmp_path)
    with pytest.raises(ConfigError, match="expected the image token"):
        load_lmm(dataclasses.replace(config, template="USER: [IMG] {text}"), LoadOptions())
