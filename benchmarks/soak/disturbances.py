"""What goes wrong during a soak, one after another, and whether the node says so and recovers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from benchmarks.soak.camera import SoakCamera
from benchmarks.soak.event_log import IN_FLIGHT_S, Ledger
from benchmarks.soak.node_process import SoakProcess
from benchmarks.soak.robot import SoakRobot

DIAGNOSIS_S = 15.0  # diagnostics come once a second; a silent camera is reported after five
RECOVERY_S = 60.0
CLOCK_BACK_S = 30.0
BURST = 20
_POLL_S = 0.1


@dataclass(frozen=True)
class World:
    """All that can be disturbed."""

    process: SoakProcess
    robot: SoakRobot
    camera: SoakCamera
    ledger: Ledger


@dataclass(frozen=True)
class Event:
    """One disturbance that happened. diagnosed: what /diagnostics said about it; None where nothing
    had to be said, "" where nothing was. recovered_s: from its end to the first command answered
    that was sent after it; None where that took more than RECOVERY_S."""

    name: str
    at_s: float
    took_s: float
    diagnosed: str | None
    recovered_s: float | None

    @property
    def is_fine(self) -> bool:
        """Named where it had to be, and over."""
        return self.diagnosed != "" and self.recovered_s is not None


def happen(name: str, world: World) -> Event:
    """Lets one of DISTURBANCES happen and waits until the node answers again."""
    start_s = time.monotonic()
    diagnosed = DISTURBANCES[name](world)
    end_s = time.monotonic()
    recovered_s = None
    while recovered_s is None and time.monotonic() < end_s + RECOVERY_S:
        world.process.check()
        recovered_s = world.ledger.ok_since(end_s)
        time.sleep(_POLL_S)
    return Event(
        name,
        start_s,
        end_s - start_s,
        diagnosed,
        None if recovered_s is None else recovered_s - end_s,
    )


def _diagnosis(world: World, pattern: str, since_s: float) -> str:
    """The first message of /diagnostics since then that fits; empty where none does in time."""
    while time.monotonic() < since_s + DIAGNOSIS_S:
        world.process.check()
        for text in world.robot.diagnosed_since(since_s):
            if re.search(pattern, text):
                return text
        time.sleep(_POLL_S)
    return ""


def _camera_leaves(world: World) -> str:
    start_s = time.monotonic()
    world.camera.stop()
    said = _diagnosis(world, "nobody publishes", start_s)
    world.camera.start()
    return said


def _camera_hangs(world: World) -> str:
    start_s = time.monotonic()
    world.camera.freeze()
    said = _diagnosis(world, "problem: the newest image .* old", start_s)
    world.camera.thaw()
    return said


def _camera_of_another_type(world: World) -> str:
    start_s = time.monotonic()
    world.camera.start(kind=CompressedImage)
    said = _diagnosis(world, "CompressedImage.*image_transport", start_s)
    world.camera.start()
    return said


def _camera_best_effort(world: World) -> None:
    """The node may be subscribed reliably, which does not match; it has to notice."""
    world.camera.start(ReliabilityPolicy.BEST_EFFORT)


def _camera_reliable(world: World) -> None:
    world.camera.start(ReliabilityPolicy.RELIABLE)


def _clock_back(world: World) -> None:
    world.camera.clock.set_back(CLOCK_BACK_S)
    world.ledger.jump(time.monotonic())


def _pause(world: World) -> str:
    world.robot.change("deactivate")
    inactive_s = time.monotonic()
    said = _diagnosis(world, "inactive", inactive_s)
    world.ledger.pause(inactive_s, time.monotonic())
    world.robot.change("activate")
    return said


def _reload(world: World) -> str:
    """Every other configure fails on purpose: the reason is to be named, and it is repeated."""
    world.robot.change("deactivate")
    inactive_s, said = time.monotonic(), ""
    world.robot.change("cleanup")
    if not world.robot.change("configure"):
        said = _diagnosis(world, "configure failed: .* on purpose", inactive_s)
        world.robot.change("configure")
    else:
        said = _diagnosis(world, "inactive|unconfigured", inactive_s)
    world.ledger.pause(inactive_s, time.monotonic())
    world.robot.change("activate")
    return said


def _flood(world: World) -> None:
    world.robot.burst(BURST)


def _kill(world: World) -> None:
    world.process.kill()
    _come_back(world, 0.0)


def _terminate(world: World) -> None:
    """Asked to end, the node answers what it had; what is sent after that may find nobody."""
    asked_s = time.monotonic()
    world.process.terminate()
    time.sleep(1.0)  # for the last answers
    _come_back(world, asked_s - IN_FLIGHT_S)


def _come_back(world: World, unanswerable_since_s: float) -> None:
    """A new process. What was sent to the old one since then nobody can answer any more."""
    world.process.start()
    world.robot.wait_until_ready(world.process.check)
    world.ledger.begin_life(unanswerable_since_s)


DISTURBANCES: dict[str, Callable[[World], str | None]] = {
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
