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

"""Whose template: the one beside the weights, else the packaged one of their text model, else said.

The Jinja programs are written for these tests, after the conventions of the families.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flmm_ros.engine.config import ModelConfig, find_model, locate_model
from flmm_ros.engine.config.chat_template import IMAGE_MARKERS
from flmm_ros.engine.lmm import FAMILIES

CHATML_WITH_IMAGES = (
    "{% for m in messages %}"
    "{% if loop.first and m.role != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] + '\n' + m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('in turn') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% if m.content is string %}{{ m.content | trim }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text | trim }}{% endif %}"
    "{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
IDEFICS = (
    "<|begin_of_text|>{% for m in messages %}{{ m.role | capitalize }}"
    "{{ ':' if m.content[0].type == 'image' else ': ' }}{% for part in m.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<image>{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
VICUNA_WITHOUT_ENDS = (
    "{% for m in messages %}{{ m.role | upper }}: {% for part in m.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }} {% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
IMAGE_BEHIND = (
    "{% for m in messages %}{{ m.role }}:{% for part in m.content | reverse %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}\n"
    "{% endfor %}"
)


def weights(folder: Path, config: Mapping[str, Any], **files: Any) -> Path:
    """A folder as somebody downloaded it, without the weights; "__" in a name is a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"config__json": config, **files}.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def found(folder: Path) -> tuple[str, str]:
    model = locate_model(str(folder))
    return model.template, model.next_turn


def llava_next(text: str, words: int | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {"model_type": text}
    return {
        "model_type": "llava_next",
        "text_config": config | ({} if words is None else {"vocab_size": words}),
    }


CHATML_TURN = "<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
LLAMA3_TURN = (
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
GOLDEN: dict[str, tuple[dict[str, Any], str, dict[str, str], str, str]] = {
    "Yi": (
        llava_next("llama", 64064),
        CHATML,
        {},
        "<|im_start|>user\n<image>\n{text}<|im_end|>\n<|im_start|>assistant\n",
        CHATML_TURN,
    ),
    "Llama 3": (
        llava_next("llama", 128320),
        LLAMA3,
        {"bos_token": "<|begin_of_text|>"},
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<image>\n{text}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        LLAMA3_TURN,
    ),
    "Mistral": (
        llava_next("mistral"),
        MISTRAL,
        {"bos_token": "<s>", "eos_token": "</s>"},
        "[INST] <image>\n{text} [/INST]",
        "</s>[INST] {text} [/INST]",
    ),
    "Qwen2.5-VL": (
        {"model_type": "qwen2_5_vl"},
        CHATML_WITH_IMAGES,
        {},
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n",
        CHATML_TURN,
    ),
    "Qwen3-VL with a text model's template": (
        {"model_type": "qwen3_vl"},
        CHATML,
        {},
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{text}<|im_end|>\n"
        "<|im_start|>assistant\n",
        CHATML_TURN,
    ),
    "Gemma 3": (
        {"model_type": "gemma3"},
        GEMMA,
        {"bos_token": "<bos>"},
        "<start_of_turn>user\n\n\n<start_of_image><image_soft_token><end_of_image>\n\n{text}"
        "<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>\n<start_of_turn>user\n{text}<end_of_turn>\n<start_of_turn>model\n",
    ),
    "Idefics3": (
        {"model_type": "idefics3"},
        IDEFICS,
        {},
        "User:<image>{text}<end_of_utterance>\nAssistant:",
        "<end_of_utterance>\nUser: {text}<end_of_utterance>\nAssistant:",
    ),
    "LLaVA-1.5, whose further turns are the original's": (
        {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}},
        VICUNA_WITHOUT_ENDS,
        {},
        "USER: <image>\n{text} ASSISTANT:",
        "</s>USER: {text} ASSISTANT:",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("file", ["chat_template.jinja", "chat_template.json", "tokenizer"])
def test_the_template_beside_the_weights_is_theirs(
    tmp_path: Path, case: str, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    config, program, special, template, next_turn = GOLDEN[case]
    folder = weights(tmp_path, config, tokenizer_config__json=special)
    if file == "chat_template.jinja":
        (folder / file).write_text(program, encoding="utf-8")
    elif file == "chat_template.json":
        (folder / file).write_text(json.dumps({"chat_template": program}), encoding="utf-8")
    else:
        named = [
            {"name": "tool_use", "template": "{{ 1 }}"},
            {"name": "default", "template": program},
        ]
        settings = special | {"chat_template": named}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert found(folder) == (template, next_turn)
    assert "WARNING" not in caplog.text


def test_special_tokens_with_flags_are_read_too(tmp_path: Path) -> None:
    settings = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": {"content": "</s>"}}
    folder = weights(
        tmp_path,
        llava_next("llama", 64000),
        tokenizer_config__json=settings,
        chat_template__jinja="{{ bos_token }}" + CHATML,
    )
    assert found(folder)[0].startswith("<s><|im_start|>user\n<image>\n{text}")


@pytest.mark.parametrize(
    ("config", "packaged"),
    [
        (llava_next("mistral"), "llava_next_mistral_7b"),
        (llava_next("llama", 32064), "llava_next_vicuna_7b"),
        (
            {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32000}},
            "llava_1_5_7b",
        ),
        ({"model_type": "qwen2_5_vl"}, "qwen2_5_vl_7b"),
        ({"model_type": "internvl", "text_config": {"model_type": "qwen2"}}, "internvl3_8b"),
        ({"model_type": "smolvlm"}, "smolvlm_2b"),
    ],
    ids=str,
)
def test_without_a_template_the_packaged_file_of_the_text_model_serves(
    tmp_path: Path, config: dict[str, Any], packaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, file = locate_model(str(weights(tmp_path, config))), find_model(packaged)
    for key in ("template", "next_turn", "prompt", "max_image_tokens"):
        assert getattr(model, key) == getattr(file, key), key
    assert not caplog.records


@pytest.mark.parametrize(
    "config",
    [
        llava_next("llama"),
        llava_next("llama", 128320),
        llava_next("qwen2"),
        {"model_type": "llava", "text_config": {"model_type": "qwen2"}},
    ],
    ids=str,
)
def test_where_nothing_decides_one_warning_names_the_choice(
    tmp_path: Path, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = locate_model(str(weights(tmp_path, config)))
    (record,) = caplog.records
    assert repr(model.template) in record.message and "write a model file" in record.message
    named = "llava_1_5_7b" if config["model_type"] == "llava" else "llava_next_vicuna_7b"
    assert named in record.message


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (IMAGE_BEHIND, "the image before the command"),
        ("{{ raise_exception('no chat') }}", "no chat"),
        ("{% for", "TemplateSyntaxError"),
        ("hello", "expected one '<image>' and the command"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    ],
)
def test_a_template_that_cannot_be_used_is_said_and_not_guessed_around(
    tmp_path: Path, program: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = weights(tmp_path, llava_next("mistral"), chat_template__jinja=program)
    with caplog.at_level(logging.WARNING):
        assert locate_model(str(folder)).template == find_model("llava_next_mistral_7b").template
    (record,) = caplog.records
    assert "chat_template.jinja: " in record.message and why in record.message


def test_a_model_file_is_taken_at_its_word(tmp_path: Path) -> None:
    folder = weights(tmp_path / "lmm", llava_next("llama"), chat_template__jinja=CHATML)
    (tmp_path / "model.yaml").write_text(
        f"family: llava_next\nlmm: {folder}\nheads: training_free\n"
        "template: 'Q <image> {text} A'\n"
    )
    assert locate_model(str(tmp_path)).template == "Q <image> {text} A"


def test_weights_of_every_family_are_a_model(tmp_path: Path) -> None:
    for family in FAMILIES:
        model = locate_model(str(weights(tmp_path / family, {"model_type": family})))
        assert isinstance(model, ModelConfig) and model.family == family
        assert IMAGE_MARKERS.get(family, "<image>") in model.template
