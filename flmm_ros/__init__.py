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

"""Language grounding for robots: a frozen large multimodal model answers and points, pixel by
pixel.

    from flmm_ros import Grounder          # the model, in this process; needs torch, no ROS
    from flmm_ros import GroundingClient   # asks a running node; needs ROS, no torch

`flmm_ros.engine` is ROS-free, `flmm_ros.ros` is the node around it, `flmm_ros.cli` is the command
`flmm`. The names listed in `__all__` are the public API; each is imported on first use, so that
`import flmm_ros` alone loads neither torch nor rclpy.

The generated messages have the same package name, in another directory: `extend_path` joins the
two.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flmm_ros.engine.answer import Answer, Grounding, Intent
    from flmm_ros.engine.chat import Chat
    from flmm_ros.engine.config import GrounderConfig
    from flmm_ros.engine.errors import (
        Cancelled,
        CheckpointError,
        ConfigError,
        FlmmError,
        ImageError,
        PromptError,
        TargetError,
        UnknownWordError,
    )
    from flmm_ros.engine.grounder import Grounder
    from flmm_ros.engine.scene import Scene
    from flmm_ros.ros.client.client import GroundingClient, GroundingError

# OpenMP threads that wait give their core back instead of spinning on it: on a machine that does
# other things too, as a robot's does, a command may take fifty times as long otherwise. Read when
# torch is loaded, so it must stand before that; a value that is set already stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__path__ = extend_path(__path__, __name__)

__all__ = [
    "Answer",
    "Cancelled",
    "Chat",
    "CheckpointError",
    "ConfigError",
    "FlmmError",
    "Grounder",
    "GrounderConfig",
    "Grounding",
    "ImageError",
    "Intent",
    "PromptError",
    "Scene",
    "TargetError",
    "UnknownWordError",
]
if find_spec("rclpy"):  # listed where it can be used
    __all__ += ["GroundingClient", "GroundingError"]

_CLIENT = "flmm_ros.ros.client.client"
_ERRORS = "flmm_ros.engine.errors"
_MODULES = {
    "Answer": "flmm_ros.engine.answer",
    "Cancelled": _ERRORS,
    "Chat": "flmm_ros.engine.chat",
    "CheckpointError": _ERRORS,
    "ConfigError": _ERRORS,
    "FlmmError": _ERRORS,
    "Grounder": "flmm_ros.engine.grounder",
    "GrounderConfig": "flmm_ros.engine.config",
    "Grounding": "flmm_ros.engine.answer",
    "GroundingClient": _CLIENT,
    "GroundingError": _CLIENT,
    "ImageError": _ERRORS,
    "Intent": "flmm_ros.engine.answer",
    "PromptError": _ERRORS,
    "Scene": "flmm_ros.engine.scene",
    "TargetError": _ERRORS,
    "UnknownWordError": _ERRORS,
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is used for the first time (PEP 562).

    Raises:
        ImportError: `GroundingClient` where there is no ROS 2.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if _MODULES[name] != _CLIENT:
            raise
        raise ImportError(
            f"flmm_ros.{name}: expected ROS 2 with rclpy and flmm_ros's messages, got: {error}; "
            "source your distribution and the workspace that flmm_ros was built in, or, in a "
            "checkout, scripts/env.sh"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
