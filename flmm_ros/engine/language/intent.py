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

"""The door: a command is text, short enough, and holds words; what it wants tells its form.

Rules, not a model: a robot's user must be able to predict them, and every request can override
them.
"""

from __future__ import annotations

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.language.meaning import understand
from flmm_ros.engine.language.normalisation import normalised

_SHOWN_CHARS = 60


def checked_command(text: str, max_chars: int) -> str:
    """The text in normal form, without surrounding space and doubled blanks.

    Raises:
        PromptError: not text, empty, too long, or without any word in it.
    """
    if not isinstance(text, str):
        raise PromptError(f"command: expected text, got {type(text).__name__}")
    if len(text) > max_chars:
        raise PromptError(f"command: expected at most {max_chars} characters, got {len(text)}")
    plain = normalised(text).text
    if not plain:
        raise PromptError(
            'command: expected a sentence, got only blanks; for example "the red mug"'
        )
    if len(plain) > max_chars:  # one character may stand for a whole word
        raise PromptError(f"command: expected at most {max_chars} characters, got {len(plain)}")
    if not any(character.isalpha() for character in plain):
        shown = plain if len(plain) <= _SHOWN_CHARS else plain[:_SHOWN_CHARS] + "..."
        raise PromptError(f"command: expected words, got {shown!r}; say it in a sentence")
    return plain


def find_intent(command: str) -> Intent:
    """What a command wants, from its form."""
    return understand(command).intent
