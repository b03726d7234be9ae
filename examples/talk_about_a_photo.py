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

"""Talk about a photo; needs no ROS.

python -m examples.talk_about_a_photo photo.png "what is on the left?" "what color is it?"
"""

import sys

import numpy as np
from PIL import Image

from flmm_ros import Grounder


def main() -> None:
    """Says every argument after the photo's path, in one conversation."""
    path, *turns = sys.argv[1:]
    chat = Grounder.from_config("tabletop").open(np.array(Image.open(path).convert("RGB"))).chat()
    for turn in turns:
        answer = chat.say(turn)
        print(answer.text, [g.phrase for g in answer.objects if g.is_present])


if __name__ == "__main__":
    main()
