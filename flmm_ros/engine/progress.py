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

"""The stages of a command, and how a caller hears of them while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Stage(str, Enum):
    """The stages of one command, in order; the names of timings and of progress reports."""

    ENCODE = "encode"  # image -> LMM prefix cache
    GENERATE = "generate"  # command -> answer text
    READ = "read"  # phrase tokens -> attention rows and hidden states
    DECODE = "decode"  # attention maps -> coarse logits
    SEE = "see"  # image -> SAM features
    REFINE = "refine"  # coarse logits + SAM features -> mask logits and scores


@dataclass(frozen=True)
class Progress:
    """Passed to a progress callback before each stage and after each generated token."""

    stage: Stage
    partial_text: str = ""


# Where it also has a method `check()`, that is called between the layers within a stage, so that a
# long one can be left too.
ProgressCallback = Callable[[Progress], None]
