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

"""The node's executor: short callbacks in turn, long ones beside them, faults told."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import UInt32

from flmm_ros.ros.node.executor import LongCallbacks, NodeExecutor

MESSAGES = 200


@pytest.fixture
def node(_rclpy: None) -> Iterator[Node]:
    node = rclpy.create_node("for_the_executor")
    yield node
    node.destroy_node()


@pytest.fixture
def executor(node: Node) -> Iterator[NodeExecutor]:
    executor = NodeExecutor()
    executor.add_node(node)
    yield executor
    executor.shutdown()


def spin_until(
    executor: NodeExecutor, is_done: Callable[[], bool], timeout_s: float = 20.0
) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < end_s, "it did not happen in time"
        executor.spin_once(timeout_sec=0.1)


def after(node: Node, call: Callable[[], None], long: LongCallbacks | None = None) -> None:
    """Calls something once, soon."""

    def once() -> None:
        timer.cancel()
        call()

    timer = node.create_timer(0.01, once, long, Clock(clock_type=ClockType.STEADY_TIME))


def test_every_message_comes_once_in_order_on_the_thread_that_spins(
    node: Node, executor: NodeExecutor
) -> None:
    came: list[tuple[int, threading.Thread]] = []
    node.create_subscription(
        UInt32, "numbers", lambda msg: came.append((msg.data, threading.current_thread())), MESSAGES
    )
    publisher = node.create_publisher(UInt32, "numbers", MESSAGES)
    spin_until(executor, lambda: publisher.get_subscription_count() == 1)
    for number in range(MESSAGES):
        publisher.publish(UInt32(data=number))
    spin_until(executor, lambda: len(came) >= MESSAGES)
    for _ in range(5):
        executor.spin_once(timeout_sec=0.05)
    assert [number for number, _ in came] == list(range(MESSAGES))
    assert {thread for _, thread in came} == {threading.current_thread()}


def test_a_long_callback_stands_in_nobodys_way_and_runs_once(
    node: Node, executor: NodeExecutor
) -> None:
    begun, may_end = [], threading.Event()
    long = LongCallbacks()

    def load() -> None:
        begun.append(threading.current_thread())
        may_end.wait(20.0)

    ticks: list[float] = []
    also: list[bool] = []
    after(node, load, long)
    node.create_timer(0.01, lambda: ticks.append(time.monotonic()))
    spin_until(executor, lambda: len(begun) == 1)
    ticks.clear()
    after(node, lambda: also.append(may_end.is_set()), long)  # of the same group, meanwhile
    spin_until(executor, lambda: len(ticks) >= 20 and bool(also))
    assert also == [False]
    may_end.set()
    spin_until(executor, lambda: len(ticks) >= 40)
    assert len(begun) == 1
    assert begun[0] is not threading.current_thread()


@pytest.mark.parametrize("long", [None, LongCallbacks()], ids=["short", "long"])
def test_what_a_callback_raises_is_told_and_the_next_runs(
    node: Node, executor: NodeExecutor, long: LongCallbacks | None
) -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    after(node, fail, long)
    with pytest.raises(ValueError, match="on purpose"):
        spin_until(executor, lambda: False)
    ran: list[int] = []
    after(node, lambda: ran.append(1), long)
    spin_until(executor, lambda: bool(ran))


def test_a_task_of_another_thread_wakes_it(executor: NodeExecutor) -> None:
    ran: list[threading.Thread] = []
    timer = threading.Timer(
        0.2, lambda: executor.create_task(lambda: ran.append(threading.current_thread()))
    )
    timer.start()
    start_s = time.monotonic()
    while not ran and time.monotonic() < start_s + 10.0:
        executor.spin_once(timeout_sec=10.0)
    assert time.monotonic() - start_s < 5.0
    assert ran == [threading.current_thread()]
