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

"""A sentence as words, and the words that the rules know by name.

Everything here is English; a word of another script is a word all the same, and is never cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from flmm_ros.engine.language.normalisation import is_pictograph, is_word_character


def word_set(text: str) -> frozenset[str]:
    """The words of a table, separated by blanks."""
    return frozenset(text.split())


NUMBERS = word_set("one two three four five six seven eight nine ten several many few")
DETERMINERS = NUMBERS | word_set(
    "the a an this that these those my your his her its our their some any another each every both "
    "no"
)
ENDS = word_set(
    # prepositions
    "in on at of from to into onto with without by near beside besides next behind under "
    "underneath below above over between among through across around along against toward towards "
    "upon inside outside within off up down out for as like than before after "
    "during about per "
    # conjunctions, relative and question words
    "and or but nor so yet while because if when where which who whom whose that what how although "
    # auxiliaries
    "is are was were be been being am has have had do does did can could will would shall should "
    "may might must not isn't aren't doesn't don't mustn't shouldn't can't couldn't won't "
    "wouldn't "
    # verbs that follow a thing in descriptions
    "sits sit stands stand lies lie rests rest hangs hang appears appear seems seem looks look "
    "wears wear holds hold carries carry rides ride walks walk runs run plays play eats eat drinks "
    "drink shows show depicts depict features feature contains contain includes include surrounds "
    "surround covers cover fills fill belongs belong fits fit goes go comes come makes make takes "
    "take gets placed located seen shown filled covered surrounded parked seated dressed "
    "positioned attached "
    # adverbs and pronouns
    "here there now then too also please together away back again only just very i you he she it "
    "we they me him them us something anything nothing everything someone everyone himself itself "
    "instead alone untouched undisturbed rather except never unless otherwise until since else "
    "stay stays remain remains that's who's "
    "which's"
)
# Ends a phrase, but names a thing where an article stands before it and no verb after it.
HOMOGRAPHS = word_set(
    "can cover drink play run stand hold look show ride walk off out in down up fit fill rest "
    "over under inside outside back like only very same"
)
# Right behind a determiner these begin a name: "the no entry sign", "a never ending story".
NEGATIVE_NAMES = word_set("no not never non stop")
# Ends in -ing and is a thing all the same.
ING_NOUNS = word_set(
    "thing ring king wing string spring swing sling building ceiling painting clothing railing "
    "pudding morning evening earring stocking dressing icing topping awning crossing drawing "
    "sibling duckling keyring padding lighting bedding dumpling wedding parking "
    "filling molding"
)
NO_OBJECTS = word_set(
    "image picture photo photograph scene view frame shot description caption background "
    "foreground left right middle center centre top bottom front back side corner edge far near "
    "rest kind type way time moment lot number color colour total answer question nothing one ones"
)
# Ends in -ly and describes a thing all the same.
LY_ADJECTIVES = word_set(
    "friendly lovely lively lonely elderly curly woolly smelly family butterfly jelly assembly "
    "trolley"
)
# What a command does to its object. Particles and "me" may stand between.
COMMANDS = word_set(
    "pick grab grasp take get fetch bring hand pass give point show find locate segment mask "
    "highlight mark select touch push pull press move put place drop lift raise hold look search "
    "watch track detect identify ground go drive approach reach follow open close turn want need "
    "see spot outline choose throw stack insert clean wipe carry seize collect retrieve deliver "
    "indicate remove use keep check inspect examine rotate tilt shake flip catch aim focus lay set "
    "slide drag nudge poke tap knock hit rinse wash pour attach swap return lend snatch scoop tip"
)
# Of these, the ones that bring their object to a place: "put the mug on the plate" is two things.
PLACEMENTS = word_set(
    "put place move drop set lay stack push pull slide throw insert pour attach drag hang lean "
    "stick putting placing moving dropping setting laying stacking pushing sliding throwing"
)
ADJECTIVES = word_set(
    "red green blue yellow orange purple black white pink brown grey gray silver golden gold cyan "
    "violet beige turquoise magenta dark light bright pale big small large little tiny huge tall "
    "short long thick thin round square flat empty full broken clean dirty old new wooden plastic "
    "metal metallic glass striped spotted plain shiny transparent upright heavy open closed "
    "colored coloured reddish bluish greenish yellowish hot cold wet dry soft hard nearest closest "
    "farthest furthest biggest largest smallest tallest shortest leftmost rightmost topmost longest"
)
# Words for anything at all: "the thing that is a red cube" means the red cube.
GENERIC = word_set("thing things object objects one ones item items stuff piece")
# What a thing is to the speaker, and what the robot is made of: beside others, not pointed at.
ROLES = word_set("target goal choice favourite favorite wish answer job task aim")
BODY = word_set(
    "gripper hand hands arm arms finger fingers claw attention eye eyes focus camera head"
)
PRONOUN_HEADS = word_set("something anything whatever someone")
COMMAND_FILLERS = word_set(
    "up me us out to at for down over i we you it's would like please now then just also and robot "
    "let's lets go hey can could will describe tell say list count name i'd i'm i'll you're "
    "thank thanks ok okay"
)

# As people type them in a hurry.
_SHORTENED = word_set(
    "don't doesn't didn't isn't aren't wasn't weren't can't couldn't won't wouldn't shouldn't "
    "mustn't haven't hasn't that's what's where's who's which's there's"
)
CONTRACTIONS = {word.replace("'", ""): word for word in _SHORTENED} | {"cannot": "can't"}


@dataclass(frozen=True)
class Word:
    """A word, a punctuation mark or an emoji; [start, end) is its place in the normal text."""

    text: str
    start: int
    end: int

    @property
    def lower(self) -> str:
        """What the tables know it by."""
        lower = self.text.lower()
        return CONTRACTIONS.get(lower, lower)

    @property
    def is_word(self) -> bool:
        """Letters or digits, in any script."""
        return is_word_character(self.text[0])

    @property
    def is_pictograph(self) -> bool:
        """An emoji: no word, but it may name a thing."""
        return is_pictograph(self.text[0])


def words_of(text: str) -> list[Word]:
    """The words and marks of a normal text, in order; "don't" and "coffee-mug" are one word each.

    A word is never cut between a letter and its accents, an emoji never between its parts.
    """
    found: list[Word] = []
    start = 0
    while start < len(text):
        stop = start + 1
        if is_word_character(text[start]):
            while stop < len(text) and (is_word_character(text[stop]) or _joins(text, stop)):
                stop += 1
        elif is_pictograph(text[start]):
            while stop < len(text) and (
                is_pictograph(text[stop])
                or (is_word_character(text[stop]) and not text[stop].isalnum())
            ):
                stop += 1
        if not text[start].isspace():
            found.append(Word(text[start:stop], start, stop))
        start = stop
    return found


def _joins(text: str, at: int) -> bool:
    """Whether an apostrophe or hyphen stands between two letters."""
    return (
        text[at] in "'-"
        and at + 1 < len(text)
        and is_word_character(text[at + 1])
        and is_word_character(text[at - 1])
    )
