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

"""What the results of a run depend on, as short texts: results made with the same are kept."""

from __future__ import annotations

import torch

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.config.model_search import locate_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.fingerprint import (
    file_fingerprint,
    joint_fingerprint,
    model_fingerprint,
    settings_fingerprint,
)
from flmm_ros.replay.scenario import Scenario


def model_version(model: str) -> str:
    """Of a model's files and everything its model file says, wherever they lie.

    Of a language model that comes from a hub, only its id and revision. A model that is not found
    has a version too: whoever loads it says what is wrong.
    """
    try:
        return joint_fingerprint(model_fingerprint(locate_model(model), with_weights=True))
    except ConfigError:
        return joint_fingerprint({"model": model})


def run_fingerprint(config: GrounderConfig, mode: str, bag_sha256: str, scenario: Scenario) -> str:
    """The same for two runs that have to give the same results."""
    parts = settings_fingerprint(config, torch.device("cpu"))
    # Whoever looks for finished results may have no GPU, where the worker that made them had one.
    del parts["device"]
    sidecar = scenario.path.parent / scenario.truth.sidecar
    return joint_fingerprint(
        {
            **parts,
            "model": model_version(config.model),
            "mode": mode,
            "recording": bag_sha256,
            "scenario": scenario.sha256,
            "true masks": file_fingerprint(sidecar) if sidecar.is_file() else "",
        }
    )
