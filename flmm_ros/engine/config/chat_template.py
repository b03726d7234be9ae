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

"""How to talk to a model, from what lies beside its weights: its own chat template, rendered.

A chat template is a Jinja program. It is run in transformers' sandbox with placeholders for what is
said; what stands around them is the first turn and the turns after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ReadFile = Callable[[str], str | None]  # a file's name to its text, None where there is none

# Said in the place of a command, an answer and the next command: words no template contains.
_COMMAND, _ANSWER, _NEXT = "commandplaceholder", "answerplaceholder", "nextplaceholder"
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")

# What stands for the image in a prompt, and where a chat template writes something else that the
# model's processor would turn into it, that.
IMAGE_MARKERS = {
    "deepseek_vl": "<image_placeholder>",
    "deepseek_vl_hybrid": "<image_placeholder>",
    "gemma3": "\n\n<start_of_image><image_soft_token><end_of_image>\n\n",
    "internvl": "<img><IMG_CONTEXT></img>",
    "qwen2_5_vl": "<|image_pad|>",
    "qwen3_vl": "<|image_pad|>",
}
_WRITTEN_MARKERS = {"gemma3": "<start_of_image>", "internvl": "<IMG_CONTEXT>"}
_USUAL_MARKER = "<image>"
# Before a command, where a template knows no images: the rest of what belongs to the image.
_WITH_COMMAND = {
    "internvl": "{marker}\n",
    "llava": "{marker}\n",
    "llava_next": "{marker}\n",
    "llava_onevision": "{marker}\n",
    "qwen2_5_vl": "<|vision_start|>{marker}<|vision_end|>",
    "qwen3_vl": "<|vision_start|>{marker}<|vision_end|>",
}


@dataclass(frozen=True)
class ChatFormat:
    """The fields of a model file of the same names, and the file they were found in."""

    template: str
    next_turn: str
    source: str


class UnusableTemplateError(Exception):
    """A chat template is there, and why it cannot be used."""


def chat_format(read: ReadFile, family: str) -> ChatFormat | None:
    """The format that the files beside some weights describe; None where no file does.

    Raises:
        UnusableTemplateError: the chat templates there fit no question about one image.
    """
    problems = []
    for source, template in _chat_templates(read):
        for layout in (_parts_and_parts, _parts_and_text, _text_only):
            try:
                return _rendered(template, layout, _special_tokens(read), family, source)
            except UnusableTemplateError as error:
                problems.append(f"{source}: {error}")
    if problems:
        raise UnusableTemplateError(problems[0])
    return None


def _chat_templates(read: ReadFile) -> Iterator[tuple[str, str]]:
    """File names and templates, the processor's before the tokenizer's."""
    if text := read("chat_template.jinja"):
        yield "chat_template.jinja", text
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        found = _settings(read, name).get("chat_template")
        if isinstance(found, list):  # several, with names
            named = {each.get("name"): each.get("template") for each in found}
            found = named.get("default")
        if isinstance(found, str):
            yield name, found


def _settings(read: ReadFile, name: str) -> Mapping[str, Any]:
    """A JSON file's content; nothing where it is missing, or no JSON object (loading says so)."""
    try:
        content = json.loads(read(name) or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _special_tokens(read: ReadFile) -> dict[str, str]:
    settings = _settings(read, "tokenizer_config.json")
    found = {}
    for key in _SPECIAL_TOKENS:
        value = settings.get(key)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            found[key] = text
    return found


# How a template wants a user's turn with an image, a user's turn without, and an answer.
Layout = Callable[[str], tuple[Any, Any, Any]]


def _parts_and_parts(image: str) -> tuple[Any, Any, Any]:
    return (
        [{"type": "image"}, {"type": "text", "text": _COMMAND}],
        [{"type": "text", "text": _NEXT}],
        [{"type": "text", "text": _ANSWER}],
    )


def _parts_and_text(image: str) -> tuple[Any, Any, Any]:
    first, later, _ = _parts_and_parts(image)
    return first, later, _ANSWER


def _text_only(image: str) -> tuple[Any, Any, Any]:
    """The template of a language model that knows no images."""
    return image + _COMMAND, _NEXT, _ANSWER


def _rendered(
    template: str, layout: Layout, special: Mapping[str, str], family: str, source: str
) -> ChatFormat:
    marker = IMAGE_MARKERS.get(family, _USUAL_MARKER)
    written = _WRITTEN_MARKERS.get(family, marker)
    before = _WITH_COMMAND.get(family, "{marker}").replace("{marker}", written)
    asked, asked_again, answered = layout(before)
    turns = [{"role": "user", "content": asked}]
    first = _render(template, turns, special)
    turns += [
        {"role": "assistant", "content": answered},
        {"role": "user", "content": asked_again},
    ]
    whole = _render(template, turns, special)
    if first.count(written) != 1 or first.count(_COMMAND) != 1:
        raise UnusableTemplateError(f"expected one {written!r} and the command in {first!r}")
    if first.index(written) > first.index(_COMMAND):
        raise UnusableTemplateError("expected the image before the command")
    _, _, later = whole.partition(_ANSWER)
    if later.count(_NEXT) != 1 or written in later:
        raise UnusableTemplateError(f"expected a further command after an answer in {whole!r}")
    return ChatFormat(
        first.replace(written, marker).replace(_COMMAND, "{text}"),
        later.replace(_NEXT, "{text}"),
        source,
    )


def _render(template: str, turns: Sequence[Mapping[str, Any]], special: Mapping[str, str]) -> str:
    """The conversation as text, up to where the model answers."""
    try:  # only here: names and files need neither
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template
    except ImportError as error:
        raise UnusableTemplateError(f"{error}; pip install 'jinja2>=3.1'") from error
    try:
        rendered, _ = render_jinja_template(
            conversations=[list(turns)],
            chat_template=template,
            add_generation_prompt=True,
            **special,
        )
    except ImportError as error:  # transformers' word for a Jinja that is too old
        raise UnusableTemplateError(f"{error}") from error
    except (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UnusableTemplateError(f"{type(error).__name__}: {error}") from error
    return str(rendered[0])
