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

"""What a scene needs of a loaded model, and the place from which it takes it.

A scene outlives settings and may outlive the model: it asks the `ModelHolder` before each use, so
that settings which change while it is open reach it, and a closed model is freed.
"""

from __future__ import annotations

from dataclasses import dataclass

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.heads.trained import AnyHeads
from flmm_ros.engine.lmm.base import Lmm
from flmm_ros.engine.runtime.interruption import Interruption


@dataclass(frozen=True)
class LoadedModel:
    """Language model and heads, the file that describes them, and the settings in force.

    selects_phrases: whether the phrase selector finds the phrases of an answer, instead of the
        rules. interruption: ends a command between two layers.
    """

    lmm: Lmm
    heads: AnyHeads
    config: ModelConfig
    settings: GrounderConfig
    selects_phrases: bool
    interruption: Interruption

    @property
    def score_threshold(self) -> float:
        """Objects with a lower score are reported absent."""
        own = self.settings.score_threshold
        return own if own >= 0 else self.config.score_threshold


class ModelHolder:
    """Holds the loaded model for a grounder and all its scenes, until it is closed."""

    def __init__(self, model: LoadedModel) -> None:
        self._model: LoadedModel | None = model

    def get(self) -> LoadedModel:
        """The model with the settings now in force.

        Raises:
            RuntimeError: the grounder was closed.
        """
        if self._model is None:
            raise RuntimeError("grounder: expected an open one, got one that was closed")
        return self._model

    def replace(self, model: LoadedModel) -> None:
        """Puts another in its place, for all scenes."""
        self._model = model

    def close(self) -> None:
        """Lets go of the model."""
        self._model = None
