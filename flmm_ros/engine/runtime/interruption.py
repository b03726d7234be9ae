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

"""Lets a command end in the middle of a stage: between two layers of a model.

A stage of a large model can take seconds. Whoever waits for a cancel should not wait for its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class Interruption:
    """Asks before each layer whether to go on. What the question raises leaves the forward; nothing
    is asked outside of `during`."""

    def __init__(self) -> None:
        self._check: Callable[[], None] | None = None

    def watch(self, *models: object) -> None:
        """Watches all layers of these models: whatever stands in their module lists. What is no
        PyTorch module runs elsewhere and cannot be watched."""
        for model in models:
            parts = model.modules() if isinstance(model, nn.Module) else ()
            for part in parts:
                if isinstance(part, nn.ModuleList):
                    for layer in part:
                        layer.register_forward_pre_hook(self._ask)

    @contextmanager
    def during(self, check: Callable[[], None] | None) -> Iterator[None]:
        """Within this, `check` is called before each layer."""
        before, self._check = self._check, check
        try:
            yield
        finally:
            self._check = before

    def _ask(self, layer: nn.Module, inputs: Any) -> None:
        if self._check is not None:
            self._check()
