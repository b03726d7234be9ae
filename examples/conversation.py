"""Talk to the running node: all turns are about the image of the first one.

python -m examples.conversation "what is on the left?" "what color is it?"
"""

import sys
import uuid

import rclpy

from flmm_ros import GroundingClient


def main() -> None:
    """Says every argument, one after another, in one conversation."""
    turns = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    rclpy.init()
    with GroundingClient(rclpy.create_node("robot")) as client:
        chat_id = uuid.uuid4().hex
        for turn in turns:
            result = client.ground(turn, chat_id=chat_id)
            print(result.text or result.error_text)
            if result.is_ambiguous:  # several things fit: the robot asks instead of guessing
                print(f"({len(result.present)} candidates, each with its own mask)")
    rclpy.shutdown()


if __name__ == "__main__":
    main()
