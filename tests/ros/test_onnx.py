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

"""The node with its heads in ONNX Runtime: exported while the node stays awake, and said so."""

import threading
import time

import numpy as np
from harness import ANSWER_S, wait_until

from flmm_ros.msg import GroundedAnswer

SEED = 1_000_007
BACKEND = "onnx: CPUExecutionProvider (float32)"


def test_the_state_can_be_asked_while_heads_are_exported(start, table, engine, tmp_path):
    node, robot = start(refiner_backend="onnx", refiner_cache=tmp_path / "cache")
    assert robot.state == "unconfigured"
    changed = []
    change = threading.Thread(target=lambda: changed.append(robot.change("configure")))
    start_s = time.monotonic()
    change.start()
    waits_s = []
    while change.is_alive():
        asked_s = time.monotonic()
        if robot.state == "configuring":
            waits_s.append(time.monotonic() - asked_s)
        time.sleep(0.05)
    took_s = time.monotonic() - start_s
    assert changed == [True], node.text()
    assert "exporting heads for CPUExecutionProvider: nothing was made yet" in node.text()
    # A node that exported by itself would answer once, at the end.
    assert len(waits_s) > 5 and max(waits_s) < took_s / 2

    assert robot.change("activate")
    rgb, command = table.render(SEED).rgb, "point at the red mug and the blue cube"
    robot.show(rgb)
    msg = robot.say(command)
    assert msg.error_code == GroundedAnswer.OK
    wanted = engine.open(rgb).ask(command)
    assert [o.phrase for o in msg.objects] == [o.phrase for o in wanted.objects]
    scores, wanted_scores = ([o.score for o in each.objects] for each in (msg, wanted))
    np.testing.assert_allclose(scores, wanted_scores, atol=1e-3)

    def said_by_diagnostics():
        values = [v for m in robot.seen.diagnostics for v in m.status[0].values]
        return BACKEND in {v.value for v in values if v.key == "heads run on"}

    wait_until(said_by_diagnostics, ANSWER_S, "the backend in diagnostics")
    assert f"(heads on {BACKEND})" in node.text()
