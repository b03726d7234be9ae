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

"""The node: a command and the newest camera image become an answer and masks on topics.

    python -m flmm_ros.ros.node.grounding_node --ros-args -p model:=tabletop -p autostart:=true

A lifecycle node: configure loads the model, activate listens, deactivate pauses without unloading,
cleanup frees the model. Commands and goals are answered in every state, outside `active` with
NOT_ACTIVE and the reason, so that nothing is lost silently. The executor's thread only stores,
submits and publishes; the worker's thread does the work.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier
from std_msgs.msg import Header, String

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.runtime.allocator import freeze_gc, unfreeze_gc
from flmm_ros.engine.runtime.memory import available, used_by_process
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answer_message import refusal_to_msg
from flmm_ros.ros.commands.answering import Engine, Reply, answer_command
from flmm_ros.ros.commands.chats import Chats
from flmm_ros.ros.commands.command import Command, check_command
from flmm_ros.ros.commands.goals import GoalServer
from flmm_ros.ros.commands.refusals import Refusal, refusal_of
from flmm_ros.ros.commands.worker import Busy, Job, Worker
from flmm_ros.ros.depth.depth_pipeline import DepthPipeline
from flmm_ros.ros.hold.hold_service import HoldService
from flmm_ros.ros.images import camera
from flmm_ros.ros.interface import endpoints, parameters
from flmm_ros.ros.interface.camera_names import names_of
from flmm_ros.ros.interface.error_codes import code_name
from flmm_ros.ros.interface.node_config import NodeConfig
from flmm_ros.ros.node import diagnostics
from flmm_ros.ros.node.answer_topics import AnswerTopics
from flmm_ros.ros.node.executor import LongCallbacks
from flmm_ros.ros.node.lifecycle_bond import LifecycleBond
from flmm_ros.ros.node.process import run
from flmm_ros.ros.node.transitions import ERROR_PROCESSING, reported, run_all
from flmm_ros.ros.node.transport_advice import large_message_advice

PAUSE_TIMEOUT_S = 30.0  # a large model may need seconds to reach the end of a stage
STOP_TIMEOUT_S = 1.0  # of each step, where the process has to end soon
SWEEP_PERIOD_S = 0.05  # how soon a cancelled or late command leaves the queue
WATCH_PERIOD_S = 1.0  # of diagnostics, and of looking whether the cameras can still be heard
MIB = 2**20


class GroundingNode(LifecycleNodeMixin, Node):
    """See the module's docstring. `load` makes the engine; a test can give a slower one."""

    def __init__(self, load: Callable[[GrounderConfig], Engine] = Grounder.from_config) -> None:
        Node.__init__(self, "grounding_node")
        # A group of its own: the state can be asked for while configure loads for minutes.
        lifecycle = LongCallbacks()
        LifecycleNodeMixin.__init__(self, callback_group=lifecycle)
        parameters.declare(self, lambda: self.state == "unconfigured")
        for advice in parameters.unknown_parameters(self):
            self.get_logger().warning(advice)
        self._load = load
        self._engine: Engine | None = None
        self._transition = self._failure = ""  # the last one that failed, and why
        self._is_ending, self._ending = False, threading.Lock()
        self._topic_commands = 0
        self._chats = Chats()
        self._statistics = diagnostics.Statistics()
        self._cameras = camera.Cameras(self)
        self._depth_pipeline = DepthPipeline(self)
        self._bond = LifecycleBond(self)
        self._worker: Worker[Command, Reply] = Worker(self._work, self._finish)
        self._create_endpoints()
        self._create_timers(lifecycle)

    def _create_timers(self, lifecycle: LongCallbacks) -> None:
        """The node's own work goes on while a simulated clock stands still or is set back."""
        steady, group = Clock(clock_type=ClockType.STEADY_TIME), MutuallyExclusiveCallbackGroup
        self._sweeping = self.create_timer(SWEEP_PERIOD_S, self._sweep, group(), steady)
        self.create_timer(WATCH_PERIOD_S, self._watch, group(), steady)
        self._autostart = self.create_timer(0.01, self._start_once, lifecycle, steady)
        backwards = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self._jumps = self.get_clock().create_jump_callback(
            backwards, post_callback=lambda _: self._forget()
        )

    @property
    def state(self) -> str:
        """The lifecycle state's name, e.g. "inactive"."""
        return str(self._state_machine.current_state[1])

    def _create_endpoints(self) -> None:
        """What exists in every state, so that a command always gets an answer."""
        self._answers = AnswerTopics(self)
        health, command = endpoints.DIAGNOSTICS, endpoints.COMMAND
        self._diagnostics = self.create_publisher(health.type, health.name, health.depth)
        group = MutuallyExclusiveCallbackGroup
        self.create_subscription(
            command.type, command.name, self._on_command, command.depth, callback_group=group()
        )
        self._goals = GoalServer(self, self._submit)
        self._hold_service = HoldService(
            self,
            newest=lambda name: self._cameras[name],
            locator=self._depth_pipeline.quick_locator,
            ground=self._ground_again,
        )

    # Transitions. rclpy swallows what these raise, so each reports for itself.

    @reported("configure", TransitionCallbackReturn.FAILURE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model. A failure leaves the node unconfigured, to be configured again."""
        start_s = time.monotonic()
        self._free()  # nothing should be there; two models might not fit
        engine = self._loaded_engine()
        with self._ending:
            if self._is_ending:  # the process ends; whoever loaded a model frees it
                engine.close()
                raise ConfigError("the process ends")
            self._engine = engine
        freeze_gc()
        took_s = time.monotonic() - start_s
        self.get_logger().info(f"loaded {engine.model_name} in {took_s:.1f} s")
        return super().on_configure(state)

    def _loaded_engine(self) -> Engine:
        """Raises what loading or warming up raises; nothing stays loaded then."""
        engine = self._load(parameters.read(self, GrounderConfig))
        try:
            if self._settings().warm_up and not self._is_ending:
                engine.warm_up()
        except BaseException:
            engine.close()
            raise
        return engine

    @reported("activate", TransitionCallbackReturn.FAILURE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listens to the camera and takes commands. A failure leaves the node inactive."""
        settings = self._settings()
        try:
            self._depth_pipeline.open(settings)
            self._cameras.open(settings)
            self._worker.open()
            done = super().on_activate(state)
            if settings.bond == "auto":
                self._bond.start()
        except BaseException:
            self._pause(PAUSE_TIMEOUT_S)
            raise
        self.get_logger().info("active")
        advice = large_message_advice(get_rmw_implementation_identifier(), os.environ)
        if advice:
            self.get_logger().info(advice)
        return done

    @reported("deactivate", TransitionCallbackReturn.ERROR)
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Pauses; the model stays loaded. Commands at work or waiting are answered NOT_ACTIVE."""
        self._pause(PAUSE_TIMEOUT_S)
        return super().on_deactivate(state)

    @reported("cleanup", TransitionCallbackReturn.ERROR)
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the model."""
        if not self._worker.pause(PAUSE_TIMEOUT_S):
            self.transition_failed("cleanup", "a command is still inside the model; try it later")
            return TransitionCallbackReturn.FAILURE
        self._free()
        return super().on_cleanup(state)

    @reported("shutdown", TransitionCallbackReturn.SUCCESS)  # the node ends, whatever fails
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Pauses and frees the model, from any state."""
        run_all(lambda: self._pause(PAUSE_TIMEOUT_S), self._free)
        return super().on_shutdown(state)

    @reported(ERROR_PROCESSING, TransitionCallbackReturn.SUCCESS)
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that failed half-way: frees everything and leaves the node
        unconfigured, so that it can be configured again."""
        run_all(lambda: self._pause(PAUSE_TIMEOUT_S), self._free)
        return super().on_error(state)

    def transition_succeeded(self) -> None:
        """The reason of an earlier failure holds no longer."""
        self._transition = self._failure = ""

    def transition_failed(self, transition: str, reason: str) -> None:
        """Notes why a transition failed, for the log, diagnostics and refusals."""
        self._transition, self._failure = transition, reason
        self.get_logger().error(f"{transition} failed: {reason}")

    def stop(self) -> None:
        """The process ends: answers what waits, frees the model. A load that is under way frees
        what it has loaded on its own thread."""
        with self._ending:
            self._is_ending = True
        run_all(
            lambda: self._pause(STOP_TIMEOUT_S), lambda: self._hold_service.close(STOP_TIMEOUT_S)
        )
        if self._worker.close(STOP_TIMEOUT_S):  # else it is still inside the model
            self._free()

    def _start_once(self) -> None:
        self._autostart.cancel()
        if self._settings().autostart:
            self.trigger_configure()
            if self.state == "inactive" and not self._is_ending:
                self.trigger_activate()

    def _pause(self, timeout_s: float) -> None:
        """Listens no more, and answers what waits."""
        if not self._worker.pause(timeout_s):
            self.get_logger().warning("a command is still inside the model; it ends at its stage")
        run_all(
            self._bond.stop,
            self._hold_service.stop,
            self._cameras.close,
            self._depth_pipeline.close,
        )

    def _forget(self) -> None:
        """Drops what has come: it is from before the clock was set back."""
        self._cameras.forget()
        self._depth_pipeline.forget()

    def _free(self) -> None:
        engine, self._engine = self._engine, None
        unfreeze_gc()
        run_all(self._chats.clear, engine.close if engine is not None else lambda: None)

    # Commands.

    def _on_command(self, msg: String) -> None:
        self._topic_commands += 1
        command = Command(command_id=f"topic-{self._topic_commands}", text=msg.data)
        self._submit(command, 0.0, lambda: False)

    def _submit(self, command: Command, timeout_s: float, is_canceled: Callable[[], bool]) -> None:
        """Every command passes here once, and ends once in `_finish`."""
        settings = self._settings()
        job = Job(command, timeout_s or settings.command_timeout, is_canceled)
        try:
            cameras = names_of(settings.cameras)
            check_command(command, self._max_chars(), cameras)
        except Refusal as refusal:
            self._finish(job, refusal)
            return
        self._worker.set_policy(Busy(settings.busy), settings.max_queue)
        self._worker.submit(job)
        self._sweeping.reset()

    def _sweep(self) -> None:
        """Only while commands wait: a node that nobody asks sleeps."""
        self._sweeping.cancel()
        self._worker.sweep()
        if self._worker.queue_length:
            self._sweeping.reset()

    def _work(self, job: Job[Command]) -> Reply:
        """On the worker's thread, the only one that calls the model."""
        if self._engine is None:  # pragma: no cover - the worker is open only while it is loaded
            raise RuntimeError("no model is loaded")
        self._engine.update(parameters.read(self, GrounderConfig))  # the live ones
        settings = self._settings()
        return answer_command(
            job,
            self._engine,
            self._cameras[job.request.camera],
            self._chats,
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            max_age_s=settings.max_image_age,
            max_chats=settings.max_chats,
            locator=self._depth_pipeline.locator(job.request.camera),
        )

    def _finish(self, job: Job[Command], outcome: Reply | Exception) -> None:
        """Publishes the one answer of a command, on whatever thread it ended."""
        if job.is_background:
            self._hold_service.grounded(job.request, outcome)
            return
        try:
            reply = outcome if isinstance(outcome, Reply) else Reply(self._refuse(job, outcome))
        except Exception as error:  # noqa: BLE001 - told to whoever asked, and logged
            self.get_logger().error(traceback.format_exc())
            reply = Reply(
                GroundedAnswer(
                    command_id=job.request.command_id,
                    image_age_s=-1.0,
                    error_code=GroundedAnswer.INTERNAL,
                    error_text=f"{type(error).__name__}: {error}; the node's log holds the details",
                )
            )
        run_all(  # whoever sent a goal gets its end, whatever becomes of the topics
            lambda: self._statistics.add(reply.msg),
            lambda: self._answers.publish(reply),
            lambda: job.request.on_done(reply.msg),
            lambda: self._depth_pipeline.publish(reply),
            lambda: self._hold_service.answered(job.request, reply),
            lambda: self._draw(reply),
        )

    def _draw(self, reply: Reply) -> None:
        if self._settings().publish_overlay:
            self._answers.draw(reply)

    def _refuse(self, job: Job[Command], error: Exception) -> GroundedAnswer:
        because = f"its state is {self.state}"
        if self._failure:
            because += f", {self._transition} failed: {self._failure}"
        if self._is_ending:
            because = "its process ends"
        refusal = refusal_of(error, because)
        name = code_name(refusal.code)
        self.get_logger().warning(f"{job.request.command_id}: {name}: {refusal.text}")
        if refusal.code in (GroundedAnswer.MODEL_ERROR, GroundedAnswer.INTERNAL):
            lines = traceback.format_exception(type(error), error, error.__traceback__)
            self.get_logger().error("".join(lines))
        model = self._engine.model_name if self._engine is not None else ""
        return refusal_to_msg(job.request, refusal, model=model, max_chars=self._max_chars())

    def _ground_again(self, command: Command) -> bool:
        """A command of the holder's own: it gives way to everybody's."""
        if not self._worker.is_idle:
            return False
        self._worker.submit(Job(command, self._settings().command_timeout, is_background=True))
        return True

    # Parameters and diagnostics.

    def _settings(self) -> NodeConfig:
        return parameters.read(self, NodeConfig)

    def _max_chars(self) -> int:
        return int(self.get_parameter("max_command_chars").value)

    def _watch(self) -> None:
        """Once a second."""
        self._cameras.resubscribe()
        self._depth_pipeline.resubscribe()
        failures, failure_text = self._statistics.failures
        engine = self._engine  # a transition may take it away meanwhile
        now = self.get_clock().now()
        snapshot = diagnostics.Snapshot(
            state=self.state,
            model="" if engine is None else engine.model_name,
            device=str(self.get_parameter("device").value),
            backend="" if engine is None else engine.backend,
            transition=self._transition,
            failure=self._failure,
            cameras=self._cameras.facts(now.nanoseconds),
            queue_length=self._worker.queue_length,
            is_queue_full=self._worker.is_full,
            busy_s=self._worker.busy_s,
            failures=failures,
            failure_text=failure_text,
            memory_mib=used_by_process() / MIB,
            free_mib=available("cpu") / MIB,
            scenes=None if engine is None else engine.scene_memory,
            statistics={**self._statistics.values(), **self._hold_service.values()},
        )
        name = self.get_fully_qualified_name()
        self._diagnostics.publish(diagnostics.to_msg(name, snapshot, Header(stamp=now.to_msg())))


def main(argv: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(GroundingNode, GroundingNode.stop, argv)


if __name__ == "__main__":
    sys.exit(main())
