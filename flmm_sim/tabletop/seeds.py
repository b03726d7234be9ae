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

"""Ranges of scene seeds on command lines: "A:B" are the seeds A to B-1."""

from __future__ import annotations

from flmm_ros.engine.errors import ConfigError

MAX_SEED = 5_000_000


def seed_range(text: str) -> range:
    """ "A:B" -> the seeds A to B-1.

    Raises:
        ConfigError: not two numbers, none in between, or beyond MAX_SEED.
    """
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"seeds: expected FIRST:STOP, got {text!r}") from None
    if not 0 <= first < stop <= MAX_SEED:
        raise ConfigError(f"seeds: expected 0 <= FIRST < STOP <= {MAX_SEED}, got {text!r}")
    return range(first, stop)
