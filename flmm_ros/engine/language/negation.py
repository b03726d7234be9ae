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

"""Words that say what is not meant, as a table: what each does to the things named behind it.

    "not the blue ball"            EXCLUDE  until a comma, "but" or the next command
    "except the red mug"           EXCEPT   the same; behind "don't touch anything" it is meant
    "don't touch the red mug"      FORBID   until the sentence or the next command
    "nothing but the red mug"      ALLOW
    "don't forget the red mug"     (none)   no negation at all

Longer sayings win over shorter ones at the same word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from flmm_ros.engine.language.words import Word, word_set


class Effect(Enum):
    """What a saying does to the things named behind it."""

    NONE = "none"
    ALLOW = "allow"
    EXCLUDE = "exclude"
    EXCEPT = "except"
    FORBID = "forbid"
    LEAVE = "leave"
    STOP = "stop"


@dataclass(frozen=True)
class Cue:
    """A saying found at a word: what it does, and how many words it has."""

    effect: Effect
    length: int


_SAYINGS: dict[Effect, str] = {
    Effect.NONE: (
        "don't forget to|do not forget to|don't forget|do not forget|never forget to|"
        "never forget|don't hesitate to|do not hesitate to|don't fail to|do not fail to|"
        "don't worry|do not worry|don't mind|do not mind|don't be shy|don't wait|don't miss|"
        "do not miss|don't ignore|do not ignore|don't skip|do not skip|don't leave out|"
        "do not leave out|don't you want to|don't you think|why don't you|why do not you|"
        "why not|can't you|couldn't you|won't you|wouldn't you|not only|not just|"
        "don't only|don't just|do not only|do not just|not merely|"
        "not at all|not to worry|whether or not|last but not least|no matter|no doubt|"
        "no worries|no problem|no rush|no hurry|without fail|without delay|without hesitation|"
        "without question|without doubt|without further ado|and nothing else|nothing else|"
        "i don't see|i do not see|i don't know|i do not know|i don't have|i do not have|"
        "i can't reach|i can't see|i can't find|i can't get|i couldn't find|i couldn't reach|"
        "stop at|stop by|stop near|stop next to|stop beside|stop in front of|stop behind|"
        "stop sign|stop signs|stop button|stop light|stop line|stop watch|stop lamp|stop valve|"
        "stop lever|stop switch|if you don't mind|if you do not mind|if you wouldn't mind|"
        "if you would not mind|if it's not too much trouble|if it isn't too much trouble|"
        "if it is not too much trouble|if that's not too much trouble|if it's no trouble|"
        "if it's no bother|if that's no problem|if it's not too much to ask|if you can|"
        "if you could|if you please|if you would|if possible|if that's possible|if that's ok"
    ),
    Effect.ALLOW: (
        "nothing but|nothing except for|nothing except|nothing other than|nothing besides|"
        "nothing else than|nothing else but|nothing else except|nothing more than|"
        "nothing apart from|nothing aside from|none other than|no other than|none except|"
        "no one except|no one but|anything if not|nobody but"
    ),
    Effect.EXCEPT: (
        "except for|except|besides|excepting|excluding|apart from|aside from|other than|save for|"
        "barring|minus|bar|save|with the exception of|with exception of|bar only|different from|"
        "different than|but for|unlike"
    ),
    Effect.EXCLUDE: (
        "isn't|aren't|wasn't|weren't|and not|but not|or not|not|nor|neither|as opposed to|"
        "instead of|in place of|rather than|in preference to|and certainly not|definitely not|"
        "certainly not|absolutely not|avoiding|ignoring|skipping|sparing|leaving out|leaving|"
        "without using|not counting|not including|and no|but no|never mind|nevermind"
    ),
    Effect.FORBID: (
        "don't ever|do not ever|don't|do not|never ever|never again|never|"
        "under no circumstances|in no case|by no means|on no account|no way|must not|mustn't|"
        "should not|shouldn't|may not|shall not|you can't|you couldn't|you won't|will not|"
        "are not to|aren't to|not to|is not to be|are not allowed to|aren't allowed to|"
        "not allowed to|is off limits|avoid|refrain from|quit|cease|stay away from|"
        "keep away from|stay clear of|keep clear of|steer clear of|keep off|stay off|hands off|"
        "keep your hands off|get away from|ignore|skip|omit|disregard|exclude|spare|"
        "forget about|forget|leave out|beware of|watch out for|no need to|no need for|"
        "no longer|wouldn't|would not|nobody|no one|no-one|forbidden|prohibited|not permitted|"
        "off limits|off-limits|taboo|out of bounds|keep your distance from|hold off on|lay off|"
        "back off from|cancel|abort|halt|freeze|isn't to be|mustn't be|must not be|can't be|"
        "couldn't be|won't be"
    ),
    Effect.LEAVE: "leave",
    Effect.STOP: "stop",
}
_TABLE: dict[str, list[tuple[tuple[str, ...], Effect]]] = {}
for _effect, _sayings in _SAYINGS.items():
    for _saying in _sayings.split("|"):
        _parts = tuple(_saying.split())
        _TABLE.setdefault(_parts[0], []).append((_parts, _effect))
for _entries in _TABLE.values():
    _entries.sort(key=lambda entry: -len(entry[0]))

# "without touching the ball", "no touching": what is not to be done.
_DOINGS = word_set(
    "touching moving disturbing bumping hitting taking grabbing picking lifting knocking "
    "pushing using tipping spilling dropping harming damaging changing holding grasping "
    "selecting brushing colliding shifting going"
)
UNIVERSALS = word_set(
    "everything anything something everyone all any every each none nothing whatever both no "
    "anybody"
)
ANYTHING_AT_ALL = word_set("everything anything something everyone all none nothing whatever")


# Are names too ("spare tire"): commands only where a thing is named right behind them.
WITH_OBJECT = word_set("spare skip quit exclude omit forget cancel abort halt freeze")

# Leave out only right behind what they leave out of ("the mugs bar the red one").
BEHIND_NAMES = word_set("bar save minus")


def cue_at(words: Sequence[Word], i: int) -> Cue | None:
    """The longest saying that begins at a word, or None."""
    if i >= len(words):
        return None
    begins = words[i].lower in ("no", "without") and i + 1 < len(words)
    if begins and words[i + 1].lower in _DOINGS:
        return Cue(Effect.FORBID if words[i].lower == "no" else Effect.EXCLUDE, 2)
    for parts, effect in _TABLE.get(words[i].lower, ()):
        said = tuple(word.lower for word in words[i : i + len(parts)])
        if said == parts:
            return Cue(effect, len(parts))
    return None
