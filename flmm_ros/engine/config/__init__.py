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
