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

"""What can be set, with its meaning, default and bounds, once for Python, YAML and ROS.

`GrounderConfig` is what a user of the engine chooses, `ModelConfig` one model. schema.py is the
mechanism behind both, and behind every other settings file of the repository.
"""

from flmm_ros.engine.config.grounder_config import GrounderConfig, load_grounder_config
from flmm_ros.engine.config.model_config import TRAINING_FREE, ModelConfig, load_model_config
from flmm_ros.engine.config.model_search import (
    find_model,
    known_models,
    locate_model,
    model_roots,
)
from flmm_ros.engine.config.schema import setting, with_overrides

__all__ = [
    "TRAINING_FREE",
    "GrounderConfig",
    "ModelConfig",
    "find_model",
    "known_models",
    "load_grounder_config",
    "load_model_config",
    "locate_model",
    "model_roots",
    "setting",
    "with_overrides",
]
