"""Decides from a command's form what it wants: a mask, an answer with masks, or an answer only.

Rules, not a model: a robot's user must be able to predict them, and every request can override
them.

Does not know about: tokens, images, the language model.
"""

from __future__ import annotations

import re

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.language.phrases import command_phrases, is_imperative

_SHOWN_CHARS = 60

# What people put in front of what they want: "please", "hey robot,", "could you", "now".
_POLITE = re.compile(
    r"^(?:(?:please|kindly|now|then|so|okay|ok|hey|hi|hello|robot|dear|well|and)\b[\s,.!]*"
    r"|(?:can|could|would|will)\s+you\b(?!\s+(?:see|spot|tell|say|describe|count|explain))[\s,]*"
    r"(?:please\b\s*)?)+",
    re.IGNORECASE,
)
# Questions whose whole answer is a word or a number: there is nothing to point at.
_PLAIN = re.compile(
    r"^(?:how\s+(?:many|much|often|old|big|large|tall)\b|count\b|tell\s+me\s+how\s+many\b"
    r"|(?:is|are|was|were)\s+there\b|(?:do|can|could)\s+you\s+(?:see|spot)\b(?!\s+what)"
    r"|(?:what|which)\s+(?:colou?r|time|day|kind|type|shape|material)\b"
    r"|(?:can|could)\s+you\s+(?:tell\s+me\s+how\s+many|count)\b)",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"^(?:what|which|where|who|whose|whom|when|why|how|is|are|was|were|do|does|did|has|have|had|"
    r"can|could|should|would|will|may|tell|describe|explain|say|list|name)\b",
    re.IGNORECASE,
)
_DESCRIPTION = re.compile(
    r"^(?:give\s+(?:me\s+)?(?:a|an|the)\s+(?:\w+\s+)?(?:description|caption|summary|overview)\b"
    r"|caption\b|summari[sz]e\b|look\s+around\b)",
    re.IGNORECASE,
)
# "give me something to drink from": the thing is not named, the model has to think of one.
_UNNAMED = re.compile(
    r"\b(?:something|anything|someone|somebody|whatever|some\s+thing)\b", re.IGNORECASE
)


def checked_command(text: str, max_chars: int) -> str:
    """The text without surrounding space and doubled blanks.

    Raises:
        PromptError: not text, empty, too long, or without any word in it.
    """
    if not isinstance(text, str):
        raise PromptError(f"command: expected text, got {type(text).__name__}")
    if len(text) > max_chars:
        raise PromptError(f"command: expected at most {max_chars} characters, got {len(text)}")
    plain = " ".join(text.split())
    if not plain:
        raise PromptError(
            'command: expected a sentence, got only blanks; for example "the red mug"'
        )
    if not any(character.isalpha() for character in plain):
        shown = plain if len(plain) <= _SHOWN_CHARS else plain[:_SHOWN_CHARS] + "..."
        raise PromptError(f"command: expected words, got {shown!r}; say it in a sentence")
    return plain


def find_intent(command: str) -> Intent:
    """What a command wants, from its form."""
    core = _POLITE.sub("", command).strip()
    if _PLAIN.match(core):
        return Intent.ANSWER
    if _QUESTION.match(core) or _DESCRIPTION.match(core) or _UNNAMED.search(core):
        return Intent.ANSWER_AND_GROUND
    if core.endswith("?") and not is_imperative(core):  # "can you pick up the duck?" is no question
        return Intent.ANSWER_AND_GROUND
    return Intent.GROUND if command_phrases(core) else Intent.ANSWER_AND_GROUND
