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

"""The worker's policies: every job is finished exactly once, for the right reason."""

import threading
import time

import pytest

from flmm_ros.ros.commands.worker import Busy, Job, Stop, Stopped, Worker


class Line:
    """A worker whose jobs run until they are released, and a record of how each ended."""

    def __init__(self, **policy):
        self.ends: list[tuple[str, object]] = []
        self.started = {}
        self.release = {}
        self.worker = Worker(self._work, self._finish, **policy)
        self.worker.open()

    def submit(self, name: str, **job) -> None:
        self.started[name] = threading.Event()
        self.release[name] = threading.Event()
        self.worker.submit(Job(name, **job))

    def _work(self, job):
        self.started[job.request].set()
        while not self.release[job.request].wait(0.002):
            job.check()
        if job.request == "faulty":
            raise ZeroDivisionError("one of those")
        if job.request == "exit":
            raise SystemExit(3)
        return f"result of {job.request}"

    def _finish(self, job, outcome):
        if job.request.startswith("unreportable"):
            raise {"unreportable": KeyError, "unreportable exit": SystemExit}[job.request]
        reason = outcome.reason if isinstance(outcome, Stopped) else outcome
        self.ends.append((job.request, reason))

    def run(self, name: str) -> None:
        self.submit(name)
        assert self.started[name].wait(2)

    def wait_for(self, count: int) -> list[tuple[str, object]]:
        deadline = time.monotonic() + 2
        while len(self.ends) < count and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.01)  # a second end of the same job would come now
        return self.ends


@pytest.fixture
def line(request):
    line = Line(**getattr(request, "param", {}))
    yield line
    assert line.worker.close(2)


def test_queue_runs_jobs_in_order(line):
    for name in ("a", "b", "c"):
        line.submit(name)
    for name in ("a", "b", "c"):
        line.release[name].set()
    assert line.wait_for(3) == [(n, f"result of {n}") for n in ("a", "b", "c")]


@pytest.mark.parametrize("line", [{"busy": Busy.QUEUE, "max_queue": 1}], indirect=True)
def test_full_queue_refuses_the_newest(line):
    line.run("a")
    line.submit("b")
    line.submit("c")
    assert line.wait_for(1) == [("c", Stop.BUSY)]
    line.release["a"].set()
    line.release["b"].set()
    assert line.wait_for(3)[1:] == [("a", "result of a"), ("b", "result of b")]


@pytest.mark.parametrize("line", [{"busy": Busy.QUEUE, "max_queue": 0}], indirect=True)
def test_queue_of_length_zero_still_takes_a_job_when_idle(line):
    line.run("a")
    line.release["a"].set()
    assert line.wait_for(1) == [("a", "result of a")]


@pytest.mark.parametrize("line", [{"busy": Busy.REJECT}], indirect=True)
def test_reject_refuses_while_one_runs_and_takes_the_next_when_done(line):
    line.run("a")
    line.submit("b")
    assert line.wait_for(1) == [("b", Stop.BUSY)]
    line.release["a"].set()
    line.wait_for(2)
    line.run("c")
    line.release["c"].set()
    assert line.wait_for(3)[1:] == [("a", "result of a"), ("c", "result of c")]


@pytest.mark.parametrize("line", [{"busy": Busy.PREEMPT}], indirect=True)
def test_preempt_stops_the_running_and_the_waiting(line):
    line.run("a")
    line.submit("b")
    assert line.wait_for(1) == [("a", Stop.PREEMPTED)]
    assert line.started["b"].wait(2)
    line.release["b"].set()
    assert line.wait_for(2)[1:] == [("b", "result of b")]


def test_policy_can_change_while_running(line):
    line.run("a")
    line.worker.set_policy(Busy.REJECT, 8)
    line.submit("b")
    assert line.wait_for(1) == [("b", Stop.BUSY)]
    line.release["a"].set()


def test_cancel_ends_a_running_job(line):
    canceled = threading.Event()
    line.submit("a", is_canceled=canceled.is_set)
    assert line.started["a"].wait(2)
    canceled.set()
    assert line.wait_for(1) == [("a", Stop.CANCELED)]


def test_sweep_ends_waiting_jobs_that_are_cancelled_or_late(line):
    canceled = threading.Event()
    line.run("a")
    line.submit("b", is_canceled=canceled.is_set)
    line.submit("c", timeout_s=0.02)
    line.submit("d")
    line.worker.sweep()
    assert line.ends == []
    canceled.set()
    time.sleep(0.03)
    line.worker.sweep()
    assert line.wait_for(2) == [("b", Stop.CANCELED), ("c", Stop.TIMEOUT)]
    assert line.worker.queue_length == 1
    line.release["a"].set()
    line.release["d"].set()


def test_timeout_ends_a_running_job(line):
    line.submit("a", timeout_s=0.05)
    assert line.wait_for(1) == [("a", Stop.TIMEOUT)]


def test_pause_ends_all_and_refuses_until_opened_again(line):
    line.run("a")
    line.submit("b")
    assert line.worker.pause(2)
    assert sorted(line.ends) == [("a", Stop.NOT_ACTIVE), ("b", Stop.NOT_ACTIVE)]
    line.submit("c")
    assert line.wait_for(3)[2] == ("c", Stop.NOT_ACTIVE)
    line.worker.open()
    line.run("d")
    line.release["d"].set()
    assert line.wait_for(4)[3] == ("d", "result of d")


def test_a_fault_ends_its_job_but_not_the_thread(line):
    line.run("faulty")
    line.release["faulty"].set()
    (name, error) = line.wait_for(1)[0]
    assert name == "faulty" and isinstance(error, ZeroDivisionError)
    line.run("b")
    line.release["b"].set()
    assert line.wait_for(2)[1] == ("b", "result of b")
    assert line.worker.is_idle


def test_a_library_that_exits_does_not_end_the_thread(line):
    line.run("exit")
    line.release["exit"].set()
    (_, error) = line.wait_for(1)[0]
    assert isinstance(error, RuntimeError) and str(error) == "SystemExit in the model: 3"
    line.run("b")
    line.release["b"].set()
    assert line.wait_for(2)[1] == ("b", "result of b")


def test_how_long_the_present_job_is_at_work_and_whether_the_line_is_full():
    line = Line(max_queue=1)
    assert line.worker.busy_s == 0.0 and not line.worker.is_full
    line.run("a")
    time.sleep(0.02)
    assert 0.02 <= line.worker.busy_s < 5.0 and not line.worker.is_full
    line.submit("b")
    assert line.worker.is_full
    line.release["a"].set()
    line.wait_for(1)
    assert not line.worker.is_full
    line.release["b"].set()
    line.wait_for(2)
    assert line.worker.busy_s == 0.0
    assert line.worker.close(2)


def test_close_with_a_job_inside_finishes_it():
    line = Line()
    line.run("a")
    assert line.worker.close(2)
    assert line.ends == [("a", Stop.NOT_ACTIVE)]


@pytest.mark.parametrize("bad", ["unreportable", "unreportable exit"])
def test_an_end_that_cannot_be_reported_loses_no_other_job(bad):
    """Of those that wait, on a pause; and the thread goes on after one of its own."""
    line = Line()
    line.run("a")
    for name in (bad, "b", "c"):
        line.submit(name)
    assert line.worker.pause(2)
    assert sorted(line.ends) == [(name, Stop.NOT_ACTIVE) for name in ("a", "b", "c")]
    line.worker.open()
    line.run(bad)
    line.release[bad].set()
    line.run("d")
    line.release["d"].set()
    assert line.wait_for(4)[3] == ("d", "result of d")
    assert line.worker.close(2)


@pytest.mark.parametrize("busy", list(Busy))
def test_a_background_job_gives_way_and_is_never_busy(busy):
    line = Line(busy=busy, max_queue=0)
    line.submit("own", is_background=True)
    assert line.started["own"].wait(2)
    assert line.worker.queue_length == 0 and not line.worker.is_full
    line.submit("user")
    assert line.wait_for(1) == [("own", Stop.PREEMPTED)]
    assert line.started["user"].wait(2)
    line.submit("own", is_background=True)
    assert line.wait_for(2)[1] == ("own", Stop.BUSY)  # it never waits behind a user
    line.release["user"].set()
    assert line.wait_for(3)[2] == ("user", "result of user")
    assert line.worker.close(2)
