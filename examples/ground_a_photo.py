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
