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

"""What goes wrong during a soak, one disturbance after another, and whether the node recovers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from benchmarks.soak.camera import SoakCamera
from benchmarks.soak.event_log import IN_FLIGHT_S, EventLog
from benchmarks.soak.robot import SoakRobot
from benchmarks.soak.soak_process import SoakProcess

DIAGNOSIS_S = 15.0  # diagnostics come once a second; a silent camera is reported after five
RECOVERY_S = 60.0
CLOCK_BACK_S = 30.0
BURST = 20
_POLL_S = 0.1


@dataclass(frozen=True)
class SoakParts:
    """Everything around the node that can be disturbed, and the event log."""

    process: SoakProcess
    robot: SoakRobot
    camera: SoakCamera
    log: EventLog


@dataclass(frozen=True)
class DisturbanceResult:
    """One disturbance. diagnosed: what /diagnostics said about it; None where nothing had to be
    said, "" where nothing was although it had to be. recovered_s: from its end to the first answer
    to a command sent after it; None where that took more than RECOVERY_S."""

    name: str
    at_s: float
    took_s: float
    diagnosed: str | None
    recovered_s: float | None

    @property
    def is_fine(self) -> bool:
        """Named where it had to be, and recovered from."""
        return self.diagnosed != "" and self.recovered_s is not None


def run_disturbance(name: str, parts: SoakParts) -> DisturbanceResult:
    """Causes one of DISTURBANCES and waits until the node answers again."""
    start_s = time.monotonic()
    diagnosed = DISTURBANCES[name](parts)
    end_s = time.monotonic()
    recovered_s = None
    while recovered_s is None and time.monotonic() < end_s + RECOVERY_S:
        parts.process.check()
        recovered_s = parts.log.first_ok_since(end_s)
        time.sleep(_POLL_S)
    return DisturbanceResult(
        name,
        start_s,
        end_s - start_s,
        diagnosed,
        None if recovered_s is None else recovered_s - end_s,
    )


def _diagnosed(parts: SoakParts, pattern: str, since_s: float) -> str:
    """The first message of /diagnostics since then that fits; empty where none does in time."""
    while time.monotonic() < since_s + DIAGNOSIS_S:
        parts.process.check()
        for text in parts.robot.diagnosed_since(since_s):
            if re.search(pattern, text):
                return text
        time.sleep(_POLL_S)
    return ""


def _camera_leaves(parts: SoakParts) -> str:
    start_s = time.monotonic()
    parts.camera.stop()
    said = _diagnosed(parts, "nobody publishes", start_s)
    parts.camera.start()
    return said


def _camera_hangs(parts: SoakParts) -> str:
    start_s = time.monotonic()
    parts.camera.freeze()
    said = _diagnosed(parts, "problem: the newest image .* old", start_s)
    parts.camera.thaw()
    return said


def _camera_of_another_type(parts: SoakParts) -> str:
    start_s = time.monotonic()
    parts.camera.start(kind=CompressedImage)
    said = _diagnosed(parts, "CompressedImage.*image_transport", start_s)
    parts.camera.start()
    return said


def _camera_best_effort(parts: SoakParts) -> None:
    """The node may be subscribed reliably, which does not match; it has to notice."""
    parts.camera.start(ReliabilityPolicy.BEST_EFFORT)


def _camera_reliable(parts: SoakParts) -> None:
    parts.camera.start(ReliabilityPolicy.RELIABLE)


def _clock_back(parts: SoakParts) -> None:
    parts.camera.clock.set_back(CLOCK_BACK_S)
    parts.log.record_clock_jump(time.monotonic())


def _pause(parts: SoakParts) -> str:
    parts.robot.change("deactivate")
    inactive_s = time.monotonic()
    said = _diagnosed(parts, "inactive", inactive_s)
    parts.log.record_inactive(inactive_s, time.monotonic())
    parts.robot.change("activate")
    return said


def _reload(parts: SoakParts) -> str:
    """Every other configure fails on purpose: the reason is to be named, and it is repeated."""
    parts.robot.change("deactivate")
    inactive_s, said = time.monotonic(), ""
    parts.robot.change("cleanup")
    if not parts.robot.change("configure"):
        said = _diagnosed(parts, "configure failed: .* on purpose", inactive_s)
        parts.robot.change("configure")
    else:
        said = _diagnosed(parts, "inactive|unconfigured", inactive_s)
    parts.log.record_inactive(inactive_s, time.monotonic())
    parts.robot.change("activate")
    return said


def _flood(parts: SoakParts) -> None:
    parts.robot.burst(BURST)


def _kill(parts: SoakParts) -> None:
    parts.process.kill()
    _restart(parts, 0.0)


def _terminate(parts: SoakParts) -> None:
    """Asked to end, the node answers what it had; later commands may find no node."""
    asked_s = time.monotonic()
    parts.process.terminate()
    time.sleep(1.0)  # for the last answers
    _restart(parts, asked_s - IN_FLIGHT_S)


def _restart(parts: SoakParts, unanswerable_since_s: float) -> None:
    """Starts a new process; commands sent to the old one since then cannot be answered."""
    parts.process.start()
    parts.robot.wait_until_ready(parts.process.check)
    parts.log.record_restart(unanswerable_since_s)


DISTURBANCES: dict[str, Callable[[SoakParts], str | None]] = {
    "node killed": _kill,
    "node terminated": _terminate,
    "camera best effort": _camera_best_effort,
    "deactivated": _pause,
    "clock set back": _clock_back,
    "camera hangs": _camera_hangs,
    "flood": _flood,
    "camera reliable": _camera_reliable,
    "model reloaded": _reload,
    "camera of another type": _camera_of_another_type,
    "camera leaves": _camera_leaves,
}
FATAL = ("node killed", "node terminated")  # they end a process, whose memory is then not followed
