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

"""How much of a known GPU's peak a measured model reaches."""

from __future__ import annotations

import statistics

from benchmarks.engine.models import ANSWER
from benchmarks.engine.rows import ModelMeasurement, seconds

# Peak bfloat16 operations and memory bytes a second, from the vendors' data sheets.
GPUS = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.04e12),
    "L40S": (362e12, 0.86e12),
    "RTX 4090": (165e12, 1.01e12),
}


def roofline(model: ModelMeasurement, device: str) -> dict[str, float]:
    """The share of a known GPU's peak that encoding (operations) and generating (bytes) reach;
    empty elsewhere. Counts the text layers' weights only."""
    peaks = next((peak for name, peak in GPUS.items() if name in device), None)
    if peaks is None:
        return {}
    s, tokens = model.shape, 576 if model.shape.family == "llava" else 2340
    kv_width = s.width * s.key_value_heads // s.heads
    weights = s.layers * (2 * s.width * (s.width + kv_width) + 3 * s.width * s.mlp_width)
    encode = statistics.median(seconds(model.commands, "question", "encode"))
    generate = statistics.median(seconds(model.commands, "question", "generate"))
    steps = len(ANSWER.split()) + 1  # a token a word, and the end
    return {
        "encode": 2 * weights * tokens / encode / peaks[0],
        "generate": 2 * weights * steps / generate / peaks[1],
    }
