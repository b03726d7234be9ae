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

"""How large the language models of the packaged model files are, before anything is fetched.

The numbers are those of the published configurations; what weights follow from them is arithmetic,
and the test compares it with transformers' own classes. A model that is on this machine is measured
instead (`flmm_ros.engine.runtime.memory.size_of`).
"""

from __future__ import annotations

from dataclasses import dataclass

from flmm_ros.engine.runtime.memory import LmmSize


@dataclass(frozen=True)
class Published:
    """A text model's shape, and the millions of weights of everything that sees. is_tied: the words
    going in and coming out are the same matrix."""

    layers: int
    width: int
    heads: int
    key_heads: int
    head_width: int
    mlp_width: int
    vocabulary: int
    seeing_m: int
    max_tokens: int
    is_tied: bool = False

    def size(self) -> LmmSize:
        """The size that memory follows from; biases and norms are left out."""
        queries, keys = self.heads * self.head_width, self.key_heads * self.head_width
        layer = 2 * self.width * (queries + keys) + 3 * self.width * self.mlp_width
        words = self.vocabulary * self.width * (1 if self.is_tied else 2)
        whole = words + self.seeing_m * 1_000_000
        return LmmSize(
            self.layers * layer, whole, self.layers, keys, self.mlp_width, self.max_tokens
        )


PUBLISHED = {
    "llava-hf/llava-1.5-7b-hf": Published(32, 4096, 32, 32, 128, 11008, 32064, 325, 4096),
    "llava-hf/llava-v1.6-vicuna-7b-hf": Published(32, 4096, 32, 32, 128, 11008, 32064, 325, 4096),
    "llava-hf/llava-v1.6-mistral-7b-hf": Published(32, 4096, 32, 8, 128, 14336, 32064, 325, 32768),
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": Published(
        28, 3584, 28, 4, 128, 18944, 152000, 415, 32768
    ),
    "deepseek-community/deepseek-vl-1.3b-chat": Published(
        24, 2048, 16, 16, 128, 5504, 102400, 323, 16384
    ),
    "deepseek-community/deepseek-vl-7b-chat": Published(
        30, 4096, 32, 32, 128, 11008, 102400, 430, 16384
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": Published(28, 3584, 28, 4, 128, 18944, 152064, 677, 128000),
    "Qwen/Qwen3-VL-8B-Instruct": Published(36, 4096, 32, 8, 128, 12288, 151936, 577, 262144),
    "OpenGVLab/InternVL3-8B-hf": Published(28, 3584, 28, 4, 128, 18944, 151674, 331, 32768),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": Published(24, 2048, 32, 32, 64, 8192, 49280, 436, 8192),
    "google/gemma-3-4b-it": Published(34, 2560, 8, 4, 256, 10240, 262208, 420, 131072, True),
}
