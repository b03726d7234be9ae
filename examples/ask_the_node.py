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
