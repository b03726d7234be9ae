"""One instruction carried out in the world one can grip in: look, ground, grip, lift, judge.

The same steps as a robot program on the node's topics, in one process: the engine's answer, its
target from depth and mask, its grasps. Physics judges: a thing counts as picked up where it hangs
10 cm higher a second later. What the simulator knows is used for judging only.

Does not know about: ROS, files, statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.targets.range_image import RangeImage
from flmm_ros.engine.types import Answer, Grasp, Grounding, Intrinsics, TargetError
from flmm_ros.tools.grasp_tasks import LIFTED_M
from flmm_ros.tools.grasp_world import GraspWorld, Thing
from flmm_ros.tools.panda import MAX_WIDTH_M, Pose, UnreachableError
from flmm_ros.tools.tabletop_camera import Picture

LIFT_M = 0.13  # how far the hand rises
APPROACH_M = 0.10
ROOM_M = 0.02  # the fingers open wider than the thing by this much
TRIES = 5  # grasps, best first, until one is within reach

PICKED = "picked up"
ASKED_BACK = "asked back"
NOT_FOUND = "not found"
WRONG_THING = "wrong object"
BAD_GRASP = "bad grasp"
MOTION = "motion"
OUTCOMES = (PICKED, NOT_FOUND, ASKED_BACK, WRONG_THING, BAD_GRASP, MOTION)


@dataclass(frozen=True)
class Attempt:
    """What became of one instruction. touched: name of the thing that was gripped, "" for none."""

    outcome: str
    said: str
    touched: str
    rise_m: float
    picture: Picture
    objects: tuple[Grounding, ...]


def attempt(grounder: Grounder, world: GraspWorld, instruction: str, wanted: str) -> Attempt:
    """Carries out "pick up ..." for the thing called `wanted`, which may be absent."""
    picture = world.picture()
    answer = grounder.open(picture.rgb).ask(instruction)
    found = [g for g in answer.objects if g.is_present]
    if not found:
        return _idle(NOT_FOUND, answer, picture)
    if any(g.is_ambiguous for g in found):
        return _idle(ASKED_BACK, answer, picture)
    touched = _thing_under(found[0].mask, world, picture)
    grasps = _grasps(found[0].mask, world, picture)
    before_m = {t.name: float(world.middle_m(t)[2]) for t in world.things}
    if not grasps:
        return _idle(BAD_GRASP, answer, picture)
    if not _reach(world, grasps):
        return _idle(MOTION, answer, picture)
    world.arm.open_to(0.0)
    world.step(0.5)
    _lift(world)
    world.step(1.0)
    rise_m = 0.0 if touched is None else float(world.middle_m(touched)[2]) - before_m[touched.name]
    name = "" if touched is None else touched.name
    outcome = PICKED if rise_m >= LIFTED_M else BAD_GRASP
    if name != wanted:
        outcome = WRONG_THING
    return Attempt(outcome, answer.text, name, rise_m, picture, answer.objects)


def _idle(outcome: str, answer: Answer, picture: Picture) -> Attempt:
    return Attempt(outcome, answer.text, "", 0.0, picture, answer.objects)


def _thing_under(mask: NDArray[np.bool_], world: GraspWorld, picture: Picture) -> Thing | None:
    """The thing that most of a mask lies on."""
    covered = {thing: int((mask & (picture.ids == thing.body)).sum()) for thing in world.things}
    best = max(covered, key=lambda thing: covered[thing])
    return best if covered[best] else None


def _grasps(mask: NDArray[np.bool_], world: GraspWorld, picture: Picture) -> list[Pose]:
    """Poses of the finger tips in the world, best first; both turns of the hand for each."""
    K = picture.K
    image = RangeImage(picture.depth_m, Intrinsics(K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    try:
        grasps: Sequence[Grasp] = image.target(mask).grasps[:TRIES]
    except TargetError:
        return []
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    poses = []
    for grasp in grasps:
        pose = world.T_world_camera @ grasp.T_camera_grasp
        poses += [pose, pose @ turned]
    world.arm.open_to(min(MAX_WIDTH_M, max((g.width_m for g in grasps), default=0.0) + ROOM_M))
    return poses


def _reach(world: GraspWorld, poses: Sequence[Pose]) -> bool:
    """Brings the open hand to the first pose within reach, from a little before it."""
    for pose in poses:
        before = pose.copy()
        before[:3, 3] -= APPROACH_M * pose[:3, 2]
        try:
            world.arm.go_to(before)
            world.wait_for_arm()
            world.arm.go_to(pose)
        except UnreachableError:
            continue
        world.wait_for_arm()
        return True
    return False


def _lift(world: GraspWorld) -> None:
    """Straight up; where that is out of reach, the arm goes aside with what it holds."""
    up = world.arm.tip.copy()
    up[2, 3] += LIFT_M
    try:
        world.arm.go_to(up)
    except UnreachableError:
        world.arm.go_aside()
    world.wait_for_arm()
