"""Ask the running node one thing.

python -m examples.ask_the_node pick up the red mug
"""

import sys

import rclpy

from flmm_ros import GroundingClient


def main() -> None:
    """Asks what stands on the command line and prints what was found."""
    words = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    rclpy.init()
    with GroundingClient(rclpy.create_node("robot")) as client:
        result = client.ground(" ".join(words), timeout_s=10.0)
        print(result.text or result.error_text)
        for found in result.present:
            print(f"{found.phrase}: score {found.score:.2f}, box {found.box_xyxy_px}")
    rclpy.shutdown()


if __name__ == "__main__":
    main()
