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
