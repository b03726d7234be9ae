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

"""The real node with the real model, whose stages take longer: as a large model would.

Not a test; started by tests that need time to cancel, preempt or deactivate within a stage. A
command that begins with "quickly: " is answered at the model's own speed, without these words.
SLOW_LOAD_S seconds pass before a model is loaded, in one call that nothing interrupts.
"""

import os
import sys
import time

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.progress import Progress
from flmm_ros.ros.node.grounding_node import GroundingNode
from flmm_ros.ros.node.process import run

STAGE_S = 0.35
QUICKLY = "quickly: "


class SlowScene:
    """Its conversations are slow."""

    def __init__(self, scene):
        self._scene = scene

    @property
    def image(self):
        return self._scene.image

    def chat(self):
        return SlowChat(self._scene.chat())


class SlowChat:
    """Waits after it has reported a stage."""

    def __init__(self, chat):
        self._chat = chat

    def say(self, command, intent=None, on_stage=None):
        if command.startswith(QUICKLY):
            return self._chat.say(command.removeprefix(QUICKLY), intent, on_stage)
        seen = set()

        def slowly(progress: Progress) -> None:
            on_stage(progress)
            if progress.stage not in seen:  # once for a stage, not for each token
                seen.add(progress.stage)
                time.sleep(STAGE_S)

        return self._chat.say(command, intent=intent, on_stage=slowly)


class SlowGrounder:
    """A Grounder whose scenes are slow."""

    def __init__(self, config: GrounderConfig):
        time.sleep(float(os.environ.get("SLOW_LOAD_S", "0")))
        self._grounder = Grounder.from_config(config)
        self.model_name, self.backend = self._grounder.model_name, self._grounder.backend
        self.warm_up, self.update = self._grounder.warm_up, self._grounder.update
        self.close = self._grounder.close

    @property
    def score_threshold(self):
        return self._grounder.score_threshold

    @property
    def scene_memory(self):
        return self._grounder.scene_memory

    def open(self, image):
        return SlowScene(self._grounder.open(image))


if __name__ == "__main__":
    sys.exit(run(lambda: GroundingNode(SlowGrounder), GroundingNode.stop))
