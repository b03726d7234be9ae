"""What the node says about itself on /diagnostics, once a second.

Does not know about: topics, models, the lifecycle's transitions.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands import code_name

SILENT_CAMERA_S = 5.0  # an active node without a newer image than this deserves a warning


class Statistics:
    """Counts answers by code and remembers the last times. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_code: Counter[int] = Counter()
        self._last_ms: dict[str, float] = {}

    def add(self, msg: GroundedAnswer) -> None:
        """Counts one answer."""
        with self._lock:
            self._by_code[msg.error_code] += 1
            if msg.error_code == GroundedAnswer.OK:
                self._last_ms = dict(zip(msg.stages, msg.stage_ms, strict=True))
                self._last_ms["total"] = msg.total_ms
                self._last_ms["wait"] = msg.wait_ms

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
    """The node's state at one moment. Ages in seconds; None = no image yet."""

    state: str
    model: str = ""
    device: str = ""
    backend: str = ""  # what runs the heads
    failure: str = ""  # why the last configure failed
    image_topic: str = ""
    image_publishers: int = 0
    images_received: int = 0
    image_rate_hz: float = 0.0
    image_age_s: float | None = None
    queue_length: int = 0
    statistics: Mapping[str, str] = field(default_factory=dict)


def to_msg(name: str, snapshot: Snapshot, header: Header) -> DiagnosticArray:
    """The message for /diagnostics."""
    level, text = _judge(snapshot)
    age = snapshot.image_age_s
    values = {
        "state": snapshot.state,
        "model": snapshot.model,
        "device": snapshot.device,
        "heads run on": snapshot.backend,
        "image topic": snapshot.image_topic,
        "image publishers": str(snapshot.image_publishers),
        "images received": str(snapshot.images_received),
        "image rate hz": f"{snapshot.image_rate_hz:.1f}",
        "image age s": "" if age is None else f"{age:.2f}",
        "commands waiting": str(snapshot.queue_length),
        **snapshot.statistics,
    }
    status = DiagnosticStatus(
        level=level,
        name=f"{name}: grounding",
        message=text,
        hardware_id=snapshot.device,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def _judge(snapshot: Snapshot) -> tuple[bytes, str]:
    """Level and one sentence that says what to do."""
    if snapshot.failure:
        return DiagnosticStatus.ERROR, f"configure failed: {snapshot.failure}"
    if snapshot.state != "active":
        return DiagnosticStatus.OK, snapshot.state
    topic = snapshot.image_topic
    if snapshot.image_publishers == 0:
        return (
            DiagnosticStatus.WARN,
            f"nobody publishes {topic}; remap image:=<camera topic>",
        )
    if snapshot.image_age_s is None:
        text = (
            f"no image from the {snapshot.image_publishers} publisher(s) of {topic}; see image_qos"
        )
        return DiagnosticStatus.WARN, text
    if snapshot.image_age_s > SILENT_CAMERA_S:
        return (
            DiagnosticStatus.WARN,
            f"the newest image is {snapshot.image_age_s:.1f} s old",
        )
    return DiagnosticStatus.OK, "active"
