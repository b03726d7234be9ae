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
