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

"""The engine: a frozen large multimodal model answers, and its attention becomes masks. No ROS.

Shape legend, used by every docstring of the engine:

    N  phrases            T  tokens of one phrase      R  recorded rows (tokens of all phrases)
    L  text layers        A  attention heads           C  map channels (L * A * views)
    S  sequence length    I  image tokens (columns)    D  hidden width of the language model
    h, w  attention grid or coarse mask                H, W  the user's image

Images are RGB uint8 [H, W, 3]. Boxes are (x0, y0, x1, y1) in pixels of the user's image, far edges
exclusive.
"""
