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

"""An arm, the grounding node and a robot program over ROS: told twice, judged by physics."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from PIL import Image

from examples.grasping.world_monitor import WorldMonitor
from flmm_ros.ros.messages.poses import matrix_of, pose_to_msg
from flmm_sim.arm.arm_client import ArmClient
from flmm_sim.processes import ChildProcess

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ros() -> Iterator[None]:
    """rclpy, which other tests of this process may use already."""
    is_first = not rclpy.ok()
    if is_first:
        rclpy.init()
    yield
    if is_first:
        rclpy.try_shutdown()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_told_is_done(tmp_path: Path) -> None:
    domain = (int(os.environ["ROS_DOMAIN_ID"]) + 50) % 101  # there are other nodes with these names
    run = subprocess.run(
        [
            *(sys.executable, "-m", "examples.grasping"),
            *("--seeds", "2000105:2000107", "--out", str(tmp_path)),
        ],
        cwd=ROOT,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        capture_output=True,
        text=True,
        timeout=570,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [json.loads(line) for line in (tmp_path / "attempts.jsonl").read_text().splitlines()]
    assert [line["task"]["kind"] for line in lines] == ["pick up", "put beside"]
    assert [line["problem"] for line in lines] == ["", ""]
    assert lines[1]["said"] == "Done: put the orange bunny to the left of the blue mug"
    assert "2 of 2 as told" in run.stdout
    assert Image.open(tmp_path / "contact_sheet.png").size == (2 * 486, 216)
    assert Image.open(tmp_path / "grasp.gif").n_frames > 20


@pytest.mark.timeout(300)
def test_the_arm_follows_goals_and_refuses_what_is_wrong(tmp_path: Path, ros: None) -> None:
    log = tmp_path / "world.log"
    with (
        ChildProcess("world", "flmm_sim.nodes.arm_node", [], log) as world,
        WorldMonitor(world.check) as monitor,
    ):
        monitor.show(2_000_107, 120.0)
        places = monitor.places(60.0)
        assert set(places) == {"green mug", "black cylinder"}
        node = rclpy.create_node("somebody")
        arm = ArmClient(node)
        down = np.diag([1.0, -1.0, -1.0, 1.0])
        down[:3, 3] = 0.0, 0.0, 0.25
        assert arm.move(down)
        arm.open_to(0.03)
        assert arm.width_m == pytest.approx(0.03, abs=0.002)
        goal = node.create_publisher(PoseStamped, "arm/goal", 10)
        far = down.copy()
        far[0, 3] = 2.0
        assert not arm.move(far)  # it stays where it is
        msg = PoseStamped(pose=pose_to_msg(down))
        msg.header.frame_id = "camera"
        goal.publish(msg)
        msg.header.frame_id, msg.pose.orientation.w = "world", 7.0
        goal.publish(msg)
        np.testing.assert_allclose(matrix_of(pose_to_msg(down)), down, atol=1e-9)
        end_s = time.monotonic() + 20
        while "length 1" not in log.read_text() and time.monotonic() < end_s:
            time.sleep(0.1)
        node.destroy_node()
    text = log.read_text()
    assert "within the arm's reach, got (2.500" in text
    assert "expected the frame world, got 'camera'" in text
    assert "expected a quaternion of length 1" in text
