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

"""One task carried out in one process by the program of robot.py, and what became of it.

Physics says whether it was done; where it was not, what was asked, seen and moved meanwhile says
why. What the simulator knows is used for that only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from examples.grasping.in_process import AnsweredCommand, InProcessArm, InProcessClient
from examples.grasping.robot import fulfil
from examples.grasping.tasks import GraspTask, judge_task
from flmm_ros.engine.grounder import Grounder
from flmm_ros.ros.client.grounding_result import FoundObject, GroundingResult
from flmm_sim.arm.world import GraspWorld
from flmm_sim.tabletop.camera import Picture

SETTLE_S = 1.0  # what was not held falls now

DONE = "done"
NOT_FOUND = "not found"
ASKED_BACK = "asked back"
WRONG_THING = "wrong object"
MOTION = "motion"
BAD_GRASP = "bad grasp"
MISPLACED = "misplaced"
OUTCOMES = (DONE, NOT_FOUND, ASKED_BACK, WRONG_THING, MOTION, BAD_GRASP, MISPLACED)


@dataclass(frozen=True)
class GraspAttempt:
    """What became of a task.

    problem: in words, empty where it was done. touched: name of the thing that was reached for, ""
    for none. rise_m: of the wanted thing; off_m: how far it lies from its place, None where it has
    none. first: what was answered first.
    """

    outcome: str
    problem: str
    said: str
    touched: str
    rise_m: float
    off_m: float | None
    first: AnsweredCommand


def attempt_task(grounder: Grounder, world: GraspWorld, task: GraspTask) -> GraspAttempt:
    """Carries out a task in its world."""
    arm, client = InProcessArm(world), InProcessClient(grounder, world)
    before = {thing.name: world.middle_m(thing) for thing in world.things}
    said = fulfil(client, arm, task.instruction)
    world.step(SETTLE_S)
    after = {thing.name: world.middle_m(thing) for thing in world.things}
    first = client.asked[0]
    seen = first.result
    touched = thing_under(seen.present[0], world, first.picture) if arm.moves else ""
    problem = judge_task(task, before, after)
    if not (task.wanted or problem) and touched:
        problem = f"reached for the {touched}"  # that it slipped away makes it no better
    rises_m = {name: float(after[name][2] - before[name][2]) for name in task.wanted}
    moved = max(rises_m, key=lambda name: rises_m[name], default="")
    off = None if task.place_m is None else np.linalg.norm(after[moved][:2] - task.place_m)
    return GraspAttempt(
        outcome=reason_of(task, seen, touched, arm.grips, arm.puts) if problem else DONE,
        problem=problem,
        said=said,
        touched=touched,
        rise_m=rises_m.get(moved, 0.0),
        off_m=None if off is None else float(off),
        first=first,
    )


def thing_under(found: FoundObject, world: GraspWorld, picture: Picture) -> str:
    """Name of the thing that most of a mask lies on, "" where it lies on none."""
    covered = {t.name: int((found.mask & (picture.ids == t.body)).sum()) for t in world.things}
    name = max(covered, key=lambda name: covered[name])
    return name if covered[name] else ""


def reason_of(task: GraspTask, seen: GroundingResult, touched: str, grips: int, puts: int) -> str:
    """Why a task was not done: what was answered first, what was reached for, and how often the
    fingers closed and let something go again."""
    if touched and touched not in task.wanted:
        return WRONG_THING
    if seen.is_ambiguous:
        return ASKED_BACK
    if not seen.present or len(seen.present) < len(seen.objects):
        return NOT_FOUND
    target = seen.present[0].target
    if grips == 0 and target is not None and target.grasps:
        return MOTION
    return MISPLACED if puts else BAD_GRASP
