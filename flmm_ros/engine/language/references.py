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

"""What a follow-up refers back to: "it", "that one", "the left one", "the other one"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flmm_ros.engine.language.forms import is_plain_question, is_question, opened
from flmm_ros.engine.language.phrases import find_phrases, is_imperative, noun_of

_IT = re.compile(r"\b(?:it|that one|this one|that|this)\b(?!\s+\w+\s+one\b)", re.IGNORECASE)
_THAT_ONE = re.compile(r"\b(?:that|this) one\b", re.IGNORECASE)
_ALL_OF_THEM = re.compile(r"\b(?:all of them|both of them|them|these|those)\b", re.IGNORECASE)
_ONE = re.compile(r"(\b(?:the|that|this)\s+(?:\w+\s+){1,3})one\b", re.IGNORECASE)
_ONE_THAT = re.compile(r"\bthe one(?=\s+(?:that|which|on|in|at|to|left|right|next|behind|with)\b)")
_OTHER = re.compile(
    r"\b(?:the other|another|a different|some other)(?: one\b| (?P<kind>\w+))", re.IGNORECASE
)
_NEGATED = re.compile(
    r"^(?:no\b|not\b|don't\b|do not\b|never\b|leave\b|ignore\b|avoid\b|stop\b|skip\b|but not\b)",
    re.IGNORECASE,
)


def refer_back(command: str, named: Sequence[str]) -> str:
    """A command with what it refers back to put in: "pick it up" -> "pick the red mug up".

    named: phrases of the answer before, in order. "it" and "that one" mean the last of them,
    "them" means all, "the left one" is one of the last one's kind, "the other one" another of that
    kind. Questions stay as they are: the language model reads the conversation itself.
    """
    if not named or not _is_command(command):
        return command
    last, kind = _one(named[-1]), noun_of(named[-1])
    every = " and ".join(_one(phrase) for phrase in named)

    def other(match: re.Match[str]) -> str:
        is_of_it = match["kind"] is None or match["kind"].lower() == kind.lower()
        return f"the {kind} other than {last}" if is_of_it else match[0]

    # Functions put the texts in, not templates: \1 is a text too.
    command = _OTHER.sub(other, command, count=1)
    if find_phrases(command):
        command = _THAT_ONE.sub(lambda _: last, command, count=1)
    else:
        command = _ALL_OF_THEM.sub(lambda _: every, command, count=1)
        command = _IT.sub(lambda _: last, command, count=1)
    if not kind:
        return command
    command = _ONE_THAT.sub(lambda _: f"the {kind}", command, count=1)
    return _ONE.sub(lambda match: f"{match[1]}{kind}", command, count=1)


def _is_command(command: str) -> bool:
    """Something to do, or to leave alone, and no question."""
    if is_imperative(command) or _NEGATED.match(command):
        return True
    at, is_request = opened(command)
    core = command[at:]
    is_asked = is_plain_question(core) or is_question(core)
    is_asked = is_asked or (command.rstrip().endswith("?") and not is_request)
    return bool(core) and not is_asked


def _one(phrase: str) -> str:
    """A phrase as one mentions it again: "a red mug" -> "the red mug"."""
    first, _, rest = phrase.partition(" ")
    return f"the {rest}" if rest and first.lower() in ("a", "an", "another", "some") else phrase
