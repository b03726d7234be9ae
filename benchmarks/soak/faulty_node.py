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

"""The grounding node with faults on purpose, for the soak: not for a robot.

    FLMM_FAULTS=exception=17,out_of_memory=23,load=2 python -m benchmarks.soak.faulty_node

Node, worker, topics and model are the real ones; only what stands between the node and the model is
wrapped. The environment variable FLMM_FAULTS, read here and nowhere in the product, says which
calls fail: `exception=N` every Nth command raises inside the model, `out_of_memory=N` every Nth
command asks the allocator for a pebibyte, `load=N` every Nth configure fails. Every answer ends
with the number in the image's pixels (`image_number`) and when the image was opened, in
monotonic seconds, so that a soak can tell a stale answer from a fresh one.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.soak.image_number import OpenedImage, number_of
from benchmarks.soak.soak_process import VARIABLE
from flmm_ros.engine.answer import Answer, Intent
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import CheckpointError, ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.progress import ProgressCallback
from flmm_ros.engine.runtime.scene_cache import SceneMemory
from flmm_ros.ros.node.grounding_node import GroundingNode
from flmm_ros.ros.node.process import run

KINDS = ("exception", "out_of_memory", "load")
_PEBIBYTE = 2**50


def parse_faults(text: str) -> dict[str, int]:
    """ "exception=17,load=2" -> how often each fault happens; a kind that is missing never does.

    Raises:
        ConfigError: an unknown kind or a number that is none.
    """
    faults = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        kind, _, number = part.partition("=")
        if kind not in KINDS or not number.isdecimal() or int(number) < 1:
            raise ConfigError(
                f"{VARIABLE}: expected KIND=N with KIND out of {', '.join(KINDS)} and N from 1, "
                f"got {part!r}"
            )
        faults[kind] = int(number)
    return faults


class Faults:
    """Counts calls and fails every Nth of them."""

    def __init__(self, every: Mapping[str, int]) -> None:
        self._every = every
        self._commands = self._loads = 0

    def check_load(self) -> None:
        """Raises CheckpointError where this configure is to fail."""
        self._loads += 1
        if self._hits("load", self._loads):
            raise CheckpointError(f"load {self._loads} fails on purpose ({VARIABLE})")

    def check_command(self) -> None:
        """Raises where this command is to fail, as a fault in a model or an allocator would."""
        self._commands += 1
        if self._hits("exception", self._commands):
            raise RuntimeError(f"command {self._commands} fails on purpose ({VARIABLE})")
        if self._hits("out_of_memory", self._commands):
            torch.empty(_PEBIBYTE, dtype=torch.uint8)

    def _hits(self, kind: str, count: int) -> bool:
        return kind in self._every and count % self._every[kind] == 0


class FaultyChat:
    """A conversation that fails now and then, and says which picture it is about."""

    def __init__(self, chat: Any, faults: Faults, opened: OpenedImage | None) -> None:
        self._chat, self._faults, self._opened = chat, faults, opened

    def say(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
    ) -> Answer:
        """As the engine's chat, see the module's docstring for what is different."""
        self._faults.check_command()
        answer: Answer = self._chat.say(command, intent=intent, on_stage=on_stage)
        text = answer.text + ("" if self._opened is None else str(self._opened))
        return dataclasses.replace(answer, text=text)


class FaultyScene:
    """One picture."""

    def __init__(self, scene: Any, faults: Faults, opened: OpenedImage | None) -> None:
        self._scene, self._faults, self._opened = scene, faults, opened

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture, RGB uint8 [H, W, 3]."""
        image: NDArray[np.uint8] = self._scene.image
        return image

    def chat(self) -> FaultyChat:
        """A conversation about the picture."""
        return FaultyChat(self._scene.chat(), self._faults, self._opened)


class FaultyGrounder:
    """The engine's Grounder behind `faults`."""

    def __init__(self, config: GrounderConfig, faults: Faults) -> None:
        faults.check_load()
        self._faults = faults
        self._grounder = Grounder.from_config(config)
        self.warm_up, self.update = self._grounder.warm_up, self._grounder.update
        self.close = self._grounder.close

    @property
    def model_name(self) -> str:
        """Of the real model."""
        return self._grounder.model_name

    @property
    def backend(self) -> str:
        """Of the real heads."""
        return self._grounder.backend

    @property
    def score_threshold(self) -> float:
        """Of the real model."""
        return self._grounder.score_threshold

    @property
    def scene_memory(self) -> SceneMemory:
        """Of the real model."""
        return self._grounder.scene_memory

    def open(self, image: NDArray[np.uint8]) -> FaultyScene:
        """RGB uint8 [H, W, 3] -> the scene to ask about."""
        number = number_of(image)
        opened = None if number is None else OpenedImage(number, time.monotonic())
        return FaultyScene(self._grounder.open(image), self._faults, opened)


def main(argv: list[str] | None = None) -> int:
    """Runs the node until it is interrupted or terminated. Returns the exit status."""
    try:
        faults = Faults(parse_faults(os.environ.get(VARIABLE, "")))
    except ConfigError as error:
        print(f"faulty_node: {error}", file=sys.stderr)
        return 2
    return run(
        lambda: GroundingNode(lambda config: FaultyGrounder(config, faults)),
        GroundingNode.stop,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
