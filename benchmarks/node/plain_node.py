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

"""The grounding node around an engine that does next to nothing, to measure the node alone.

    python -m benchmarks.node.plain_node --ros-args -p autostart:=true

Node, worker, topics and messages are the real ones. Not for a robot.
"""

from __future__ import annotations

import sys

from benchmarks.node.plain_engine import PlainGrounder
from flmm_ros.ros.node.grounding_node import GroundingNode
from flmm_ros.ros.node.process import run

if __name__ == "__main__":
    sys.exit(run(lambda: GroundingNode(PlainGrounder), GroundingNode.stop))
