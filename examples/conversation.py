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
