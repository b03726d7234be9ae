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

"""The forms that commands and questions come in: polite openings, kinds of questions, bare stops.

Each form is one regular expression over the normal text of a command.
"""

from __future__ import annotations

import re


def _form(*alternatives: str, behind: str = "", whole: bool = False) -> re.Pattern[str]:
    end = behind or (r"[\s.!,]*$" if whole else "")
    return re.compile(rf"^(?:{'|'.join(alternatives)}){end}", re.IGNORECASE)


# Put in front of what is wanted, and say nothing about it.
_OPENING = _form(
    r"(?:please|kindly|now|then|so|okay|ok|hey|hi|hello|robot|dear|well|and|yes|yeah|sure|alright"
    r"|all right|right|sorry|excuse me|thanks|thank you|hmm?|um|uh|ah|oh|actually|listen|look here"
    r"|good morning|good evening|i mean|i said|maybe|perhaps|simply|quickly|carefully|gently|slowly"
    r"|also|instead(?! of)|rather(?! than)|just|only|go ahead and|go and|be a dear and"
    r"|be so (?:kind|good)(?: as)? to"
    r"|try to|make sure to|make sure you|be sure to|remember to|time to|your task is to"
    r"|your job is to|the task is to|do me a favou?r(?: and)?|would you kindly)\b[\s,.!:]*",
    r"(?:no|right|first|next|finally|again)\b[\s]*[,.!:]+[\s]*",
    r"(?:if you (?:please|would|could|can|do not mind|don't mind|wouldn't mind|would not mind)"
    r"|if it(?:'s| is) (?:not |no )?(?:too much )?(?:trouble|bother|problem|possible|ok|okay)"
    r"|when you (?:have|get) (?:a|the) (?:moment|minute|second|time|chance)"
    r"|whenever you(?:'re| are) ready|as soon as you can|for me)\b[\s,]*",
    r"[^\w\s]+[\s]*",
)
# The same, and the sentence is then a request although it is built like a question.
_REQUEST = _form(
    r"(?:can|could|would|will|can't|couldn't|won't|wouldn't)\s+you\b(?!\s+(?:see|spot|tell|say|"
    r"describe|count|explain))(?:\s+(?:please|kindly|maybe|perhaps|possibly|just|quickly|also|"
    r"now|then)\b)*(?:\s+(?:mind|be "
    r"(?:so kind|so good|kind enough|able|willing)(?:\s+as)?(?:\s+to)?))?"
    r"[\s,]*",
    r"(?:do|would) you mind\b[\s,]*",
    r"(?:can|could|may|might|should) (?:i|we) (?:(?:please|maybe|just|perhaps|possibly) )*"
    r"(?=(?:have|get|take|borrow|ask|grab|use|trouble)\b)(?:ask (?:you )?for|ask you to|"
    r"trouble you for)?[\s,]*",
    r"(?:is|would) it (?:be )?(?:possible|ok|okay|alright|too much trouble)"
    r" (?:for you )?to\b[\s,]*",
    r"mind (?=\w+ing\b)",
    r"don't you think (?:you|we) (?:should|could|might|ought to)\b[\s,]*",
    r"are you able to\b[\s,]*",
    r"(?:why don't you|why not|how about you|what if you)\b[\s,]*",
    r"how about (?=\w+ing\b)",
    r"(?:is there )?any chance (?:you (?:could|can|would)|i (?:could|can) (?=have|get)|of)\b[\s,]*",
    r"do you think you (?:could|can)\b[\s,]*",
    r"(?:can|could|would|will) you tell me(?= which one\b)[\s,]*",
)
_QUESTION_OF_SIGHT = (
    r"(?:see|spot|find|notice|have|know|think|want|like|recogni[sz]e|hear|remember)"
)
# Questions whose whole answer is a word or a number: there is nothing to point at.
_PLAIN = _form(
    r"how\s+(?:many|much|often|old|big|large|tall)\b",
    r"count\b",
    r"tell\s+me\s+how\s+many\b",
    r"(?:is|are|was|were|isn't|aren't|wasn't|weren't)\s+there\b",
    r"(?:do|can|could|don't|can't|couldn't)\s+you\s+(?:see|spot)\b(?!\s+what)",
    r"(?:what|which)\s+(?:colou?r|time|day|kind|type|shape|material)\b",
    r"(?:can|could)\s+you\s+(?:tell\s+me\s+how\s+many|count)\b",
)
_QUESTION = _form(
    r"(?:what|which|where|who|whose|whom|why|how|is|are|was|were|do|does|did|has|have|had|"
    r"can|could|should|would|will|may|tell|describe|explain|say|list|name|isn't|aren't|wasn't|"
    r"weren't|doesn't|didn't|hasn't|haven't|can't|couldn't|shouldn't|wouldn't|what's|where's|who's|"
    r"which's|there's)\b",
    r"when\s+(?:is|are|was|were|do|does|did|will|would|can|could|should|has|have)\b",
    rf"don't\s+you\s+{_QUESTION_OF_SIGHT}\b",
    rf"do\s+you\s+not\s+{_QUESTION_OF_SIGHT}\b",
)
_NO_QUESTION = _form(
    r"do\s+not\b(?!\s+you)",
    r"what\s+(?:i|we)\s+(?:want|need|would|am|mean)\b.*\s(?:is|are)\s",
    r"(?:have|has)\s+the\b",
    r"can\s+of\b",
    r"will\s+of\b",
)
_DESCRIPTION = _form(
    r"give\s+(?:me\s+)?(?:a|an|the)\s+(?:\w+\s+)?(?:description|caption|summary|overview)\b",
    r"caption\b",
    r"summari[sz]e\b",
    r"look\s+around\b",
)
# "give me something to drink from": the thing is not named, the model has to think of one.
_UNNAMED = re.compile(
    r"\b(?:something|anything|someone|somebody|whatever|some\s+thing)\b", re.IGNORECASE
)
# "which one is the black bunny": the question holds the name of what is asked for.
WHICH = re.compile(
    r"\b(?:which|what)(?P<kind>(?: (?!is\b|are\b|was\b|isn't\b|aren't\b)[^\s,.?!]+){0,5}?) "
    r"(?P<verb>is|are|isn't|aren't|would be|looks like)\s+(?P<not>not\s+)?",
    re.IGNORECASE,
)
_STANDSTILL = _form(
    r"(?:please\s+|robot[\s,]+|hey[\s,]+|no[\s,!.]+)*"
    r"(?:stop|halt|freeze|wait|hold on|hold it|abort|cancel|enough|pause|stand still|stay still|"
    r"don't|do not|no|nope|no thanks|no thank you|never|nothing|never mind|nevermind|forget it|"
    r"do nothing|don't move|do not move|"
    r"don't do (?:it|that|anything)|"
    r"do not do (?:it|that|anything)|"
    r"stop (?:it|that|this|moving|everything|doing that|what you are doing)|leave it|let it be|"
    r"hands off|not now|not yet|cut it out|quit it|stay(?: there| where you are| put)?|"
    r"cancel (?:that|it|everything))"
    r"(?:[\s,!.]+(?:stop|now|right now|please|there|here|robot|immediately|at once|it|that|all|"
    r"halt|wait|don't|do not|no|moving|everything))*",
    whole=True,
)


def opened(command: str) -> tuple[int, bool]:
    """How many characters of a normal command are a polite opening, and whether they make the rest
    a request: "could you please", "I was wondering if you could"."""
    at, is_request = 0, False
    while at < len(command):
        rest = command[at:]
        request, opening = _REQUEST.match(rest), _OPENING.match(rest)
        match = request if request and request.end() else opening
        if match is None or match.end() == 0:
            break
        is_request = is_request or match is request
        at += match.end()
    return at, is_request


def is_plain_question(core: str) -> bool:
    """Its whole answer is a word or a number."""
    return _PLAIN.match(core) is not None


def is_question(core: str) -> bool:
    """The model has to answer it, in words."""
    return _NO_QUESTION.match(core) is None and (
        _QUESTION.match(core) is not None or _DESCRIPTION.match(core) is not None
    )


def is_unnamed(core: str) -> bool:
    """The thing is asked for by what it is good for."""
    return _UNNAMED.search(core) is not None


def is_standstill(command: str) -> bool:
    """Nothing but "stop", "don't", "never mind"."""
    return _STANDSTILL.match(command) is not None
