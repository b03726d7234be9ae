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

"""What the node says about itself on /diagnostics, once a second, and which problems it sees."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from flmm_ros.engine.runtime.scene_cache import SceneMemory
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.images.camera import CameraFacts
from flmm_ros.ros.interface.error_codes import code_name
from flmm_ros.ros.interface.problems import STATES, Complaint, Problem

SILENT_CAMERA_S = 5.0  # an active node without a newer image than this deserves a warning
FUTURE_STAMP_S = 1.0  # clocks of two machines differ by less, where somebody looks after them
LONG_COMMAND_S = 30.0
FAILURES = 3  # in a row: one is a command's fault, three are the model's
LITTLE_MEMORY_MIB = 256.0
MIB = 2**20
_MODEL_FAULTS = (GroundedAnswer.MODEL_ERROR, GroundedAnswer.INTERNAL)


class Statistics:
    """Counts answers by code and remembers the last times. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_code: Counter[int] = Counter()
        self._last_ms: dict[str, float] = {}
        self._failures, self._reason = 0, ""

    def add(self, msg: GroundedAnswer) -> None:
        """Counts one answer."""
        with self._lock:
            self._by_code[msg.error_code] += 1
            if msg.error_code == GroundedAnswer.OK:
                self._last_ms = dict(zip(msg.stages, msg.stage_ms, strict=True))
                self._last_ms["total"] = msg.total_ms
                self._last_ms["wait"] = msg.wait_ms
                self._failures = 0
            elif msg.error_code in _MODEL_FAULTS:
                self._failures, self._reason = self._failures + 1, msg.error_text

    @property
    def failures(self) -> tuple[int, str]:
        """How many commands in a row failed inside the model, and why the last one did."""
        with self._lock:
            return self._failures, self._reason

    def values(self) -> dict[str, str]:
        """Counts and times as the key-value pairs of a diagnostic status."""
        with self._lock:
            refused = {c: n for c, n in sorted(self._by_code.items()) if c != GroundedAnswer.OK}
            values = {
                "commands answered": str(self._by_code[GroundedAnswer.OK]),
                "commands refused": str(sum(refused.values())),
            }
            values |= {f"refused {code_name(code)}": str(count) for code, count in refused.items()}
            values |= {f"last {name} ms": f"{ms:.1f}" for name, ms in self._last_ms.items()}
            return values


@dataclass(frozen=True)
class Snapshot:
    """The node's state at one moment. The first camera is the main one.

    busy_s: how long the present command has been at work. failures, failure_text: see Statistics.
    """

    state: str
    model: str = ""
    device: str = ""
    backend: str = ""  # what runs the heads
    transition: str = "configure"  # of the lifecycle, the one that `failure` is about
    failure: str = ""  # why it failed, where the last one did
    cameras: tuple[CameraFacts, ...] = ()
    queue_length: int = 0
    is_queue_full: bool = False
    busy_s: float = 0.0
    failures: int = 0
    failure_text: str = ""
    memory_mib: float = 0.0  # of this process
    free_mib: float = float("inf")  # of the machine
    scenes: SceneMemory | None = None  # of the loaded model
    statistics: Mapping[str, str] = field(default_factory=dict)


def to_msg(name: str, snapshot: Snapshot, header: Header) -> DiagnosticArray:
    """The message for /diagnostics: one status, the worst problem first."""
    found = sorted(complaints(snapshot), key=lambda complaint: not complaint.is_error)
    level = DiagnosticStatus.OK
    if found:
        level = DiagnosticStatus.ERROR if found[0].is_error else DiagnosticStatus.WARN
    text = "; also: ".join(complaint.text for complaint in found)
    status = DiagnosticStatus(
        level=level,
        name=f"{name}: grounding",
        message=text or STATES.get(snapshot.state, snapshot.state),
        hardware_id=snapshot.device,
        values=[KeyValue(key=key, value=value) for key, value in _values(snapshot).items()],
    )
    return DiagnosticArray(header=header, status=[status])


def _values(snapshot: Snapshot) -> dict[str, str]:
    values = {
        "state": snapshot.state,
        "model": snapshot.model,
        "device": snapshot.device,
        "heads run on": snapshot.backend,
        "memory MiB": f"{snapshot.memory_mib:.0f}",
        "free memory MiB": f"{snapshot.free_mib:.0f}",
        "commands waiting": str(snapshot.queue_length),
        "command at work s": f"{snapshot.busy_s:.1f}",
    }
    if snapshot.scenes is not None:
        scenes = snapshot.scenes
        values |= {
            "scenes open": str(scenes.open_images),
            "scenes encoded": f"{scenes.encoded_images} of at most {scenes.encoded_limit}",
            "scenes pixels MiB": f"{scenes.pixel_bytes / MIB:.1f}",
            "scenes tensors MiB": f"{scenes.tensor_bytes / MIB:.1f}",
        }
    for number, camera in enumerate(snapshot.cameras):
        of = f" ({camera.topic})" if number else ""  # the main one's keys are the plain ones
        values |= {
            f"image topic{of}": camera.topic,
            f"image publishers{of}": str(len(camera.publishers)),
            f"image published by{of}": "; ".join(map(str, camera.publishers)) or "nobody",
            f"images received{of}": str(camera.received),
            f"image rate hz{of}": f"{camera.rate_hz:.1f}",
            f"image age s{of}": "" if camera.age_s is None else f"{camera.age_s:.2f}",
        }
        values |= {f"images {why}{of}": str(count) for why, count in camera.drops.items()}
    return {**values, **snapshot.statistics}


def complaints(snapshot: Snapshot) -> Iterator[Complaint]:
    """Every problem that is there."""
    if snapshot.failure:
        yield Complaint.of(
            Problem.TRANSITION_FAILED, transition=snapshot.transition, reason=snapshot.failure
        )
    if snapshot.free_mib < LITTLE_MEMORY_MIB:
        yield Complaint.of(Problem.LITTLE_MEMORY, free_mib=snapshot.free_mib)
    if snapshot.state != "active":
        return
    for camera in snapshot.cameras:
        yield from _of_camera(camera)
    if snapshot.failures >= FAILURES:
        yield Complaint.of(Problem.FAILING, count=snapshot.failures, reason=snapshot.failure_text)
    if snapshot.busy_s > LONG_COMMAND_S:
        yield Complaint.of(Problem.LONG_COMMAND, busy_s=snapshot.busy_s)
    if snapshot.is_queue_full:
        yield Complaint.of(Problem.FULL_QUEUE, waiting=snapshot.queue_length)


def _of_camera(camera: CameraFacts) -> Iterator[Complaint]:
    """Why there is no image, or none that is new."""
    topic, age_s = camera.topic, camera.age_s
    if age_s is not None and -FUTURE_STAMP_S <= age_s <= SILENT_CAMERA_S:
        return
    if not camera.publishers:
        yield Complaint.of(Problem.NO_PUBLISHER, topic=topic)
        return
    mismatches = [p for p in camera.publishers if p.problem]
    for publisher in mismatches:
        yield Complaint.of(
            Problem.MISMATCH, topic=topic, publisher=publisher, why=publisher.problem
        )
    matching = ", ".join(str(p) for p in camera.publishers if not p.problem)
    if age_s is None:
        if matching:
            yield Complaint.of(Problem.SILENT_PUBLISHER, topic=topic, publishers=matching)
    elif age_s < 0:
        yield Complaint.of(Problem.FUTURE_IMAGE, topic=topic, ahead_s=-age_s)
    elif matching:
        publishers = f"{matching} publishes it but is silent"
        yield Complaint.of(Problem.STALE_IMAGE, topic=topic, age_s=age_s, publishers=publishers)
