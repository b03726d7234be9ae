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

"""The words of the tabletop's language: names, plurals, synonyms, uses, and words for what is never
there.

Strange words stand in phrases and questions about things that no table has, so that an unknown
name means "not here" to the model. `UNTRAINED_WORDS` are kept out of training, to measure that.
"""

from __future__ import annotations

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip
PLURALS = {
    "cube": "cubes",
    "ball": "balls",
    "cylinder": "cylinders",
    "mug": "mugs",
    "duck": "ducks",
    "ring": "rings",
    "bunny": "bunnies",
    "bear": "bears",
    "brick": "bricks",
    "plank": "planks",
    "plate": "plates",
}
SYNONYMS = {
    "cube": ("block", "box"),
    "ball": ("sphere", "orb"),
    "cylinder": ("tube", "can"),
    "mug": ("cup", "teacup"),
    "duck": ("bird", "duckling"),
    "ring": ("donut", "hoop"),
    "bunny": ("rabbit", "hare"),
    "bear": ("teddy", "cub"),
    "brick": ("lego", "clinker"),
    "plank": ("board", "beam"),
    "plate": ("dish", "saucer"),
}
USES: dict[str, tuple[str, ...]] = {
    "mug": ("drink from", "pour tea into", "fill with water", "have my coffee from"),
    "ball": ("play soccer with", "throw and catch", "roll on the floor", "kick"),
    "cube": ("build a tower with", "stack", "throw as a die"),
    "duck": ("put in the bath", "let swim on the water", "hear quack"),
    "bunny": ("feed a carrot", "let hop in the garden"),
    "ring": ("put on a finger", "hang on a peg"),
    "cylinder": ("use as a pillar", "use as a rolling pin"),
    "bear": ("hug at night", "give honey to"),
    "brick": ("build a wall with", "click onto another one"),
    "plank": ("build a bridge with", "use as a ruler"),
    "plate": ("eat from", "serve cake on", "put food on"),
}
STRANGE_USES = (
    "sit on", "write with", "read", "cut paper with", "call my mother with", "listen to", "wear",
    "lock the door with", "see better with", "sweep the floor with", "light the room with", "eat",
    "tell the time with", "pay with", "take a picture with", "open a bottle with", "sleep in",
)  # fmt: skip
STRANGE = (
    "apple", "banana", "orange juice", "lemon", "carrot", "bread", "cake", "egg", "cheese", "onion",
    "potato", "tomato", "grape", "peach", "cherry", "cookie", "bottle", "glass", "jar", "bowl",
    "spoon", "fork", "knife", "pan", "pot", "kettle", "lid", "basket", "bucket", "tray", "towel",
    "sponge", "brush", "soap", "comb", "mirror", "candle", "lamp", "clock", "watch", "phone",
    "camera", "laptop", "keyboard", "mouse", "screen", "cable", "battery", "charger", "speaker",
    "book", "pen", "pencil", "paper", "envelope", "stamp", "eraser", "scissors", "stapler",
    "key", "lock", "wallet", "coin", "purse", "bag", "backpack", "suitcase", "umbrella", "hat",
    "scarf", "glove", "shoe", "sock", "shirt", "jacket", "belt", "button", "needle", "thread",
    "hammer", "screwdriver", "wrench", "drill", "saw", "nail", "screw", "bolt", "nut", "rope",
    "chain", "ladder", "chair", "sofa", "bed", "pillow", "blanket", "curtain", "carpet", "door",
    "window", "wall", "car", "truck", "bus", "train", "plane", "boat", "bicycle", "wheel", "tire",
    "dog", "cat", "horse", "cow", "pig", "sheep", "goat", "chicken", "goose", "frog", "fish",
    "shark", "whale", "snake", "turtle", "lion", "tiger", "elephant", "monkey", "giraffe", "deer",
    "fox", "wolf", "tree", "flower", "leaf", "grass", "stone", "rock", "sand", "cloud", "star",
    "pyramid", "cone", "triangle", "square", "circle", "robot", "doll", "puzzle", "kite", "drum",
    "guitar", "piano", "violin", "trumpet", "racket", "bat", "helmet", "person", "man", "woman",
    "child", "hand", "foot", "nose",
)  # fmt: skip
STRANGE_COLORS = ("pink", "brown", "gray", "grey", "golden", "silver", "cyan", "violet", "beige")
UNTRAINED_WORDS = (
    "zebra", "pineapple", "stethoscope", "microwave", "penguin", "mango", "tractor", "toothbrush",
    "cactus", "headphones", "printer", "crocodile", "flashlight", "pretzel", "remote", "kangaroo",
    "broccoli", "calculator", "marker", "stool", "squirrel", "pepper", "tablet", "vase", "dolphin",
)  # fmt: skip
