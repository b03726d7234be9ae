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

"""Point at things in a photo; needs no ROS.

python -m examples.ground_a_photo photo.png "the red mug" "the duck"
"""

import sys

import numpy as np
from PIL import Image

from flmm_ros import Grounder


def main() -> None:
    """Grounds every phrase after the photo's path; prints where each is."""
    path, *phrases = sys.argv[1:]
    scene = Grounder.from_config("tabletop").open(np.array(Image.open(path).convert("RGB")))
    for found in scene.ground(phrases):
        where = found.box_xyxy_px if found.is_present else "not there"
        print(f"{found.phrase}: {where}, score {found.score:.2f}, {found.mask.sum()} pixels")


if __name__ == "__main__":
    main()
