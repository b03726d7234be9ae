"""A Franka Panda in a physics world: where its finger tips are, how they travel, how they grip.

`forward` and `solve` are the arm's kinematics, written out with its Denavit-Hartenberg numbers.
`Panda` is one arm in a PyBullet world: `go_to` plans a motion, and every physics step `tick` moves
the motors a little further along it. The tip frame lies between the finger pads: z = approach,
y = the line along which the fingers close.
Does not know about: ROS, cameras, what is to be gripped.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pybullet
import pybullet_data
from numpy.typing import NDArray

Pose = NDArray[np.float64]  # [4, 4]
Joints = NDArray[np.float64]  # [7], radians

STEP_S = 1 / 240
MAX_WIDTH_M = 0.08
GRIP_N = 20.0  # of each finger
LOWER_RAD = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER_RAD = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
MAX_RAD_S = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
MAX_NM = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])
REST_RAD = np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.8, 0.785])  # middle of the room, hand down

# Per joint, Craig's convention: a [m], d [m], alpha [rad]; then flange, hand and finger pads.
_DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
_FLANGE_M, _TIP_M, _HAND_RAD = 0.107, 0.1122, -np.pi / 4
_STRAIGHT_M = 0.25  # shorter ways are straight lines; longer ones bend, joint by joint
_WAYPOINT_M, _WAYPOINT_RAD = 0.02, 0.1
_SPEED = 0.6  # share of the joints' top speed
_TIP_M_S = 0.25  # top speed on straight lines
_POSITION_M, _ANGLE_RAD = 5e-4, 5e-3  # what counts as solved
_ARM, _FINGERS, _TIP_LINK = list(range(7)), [9, 10], 11
_PATIENCE_S = 0.5  # for the motors to come to rest behind the plan


class UnreachableError(ValueError):
    """The finger tips cannot get to a pose: too far, or joints at their limits."""


@dataclass(frozen=True)
class _Motion:
    """Waypoints [N, 7], and how long the way takes."""

    joints: NDArray[np.float64]
    duration_s: float

    def at(self, time_s: float) -> Joints:
        """Where the joints should be: gentle at both ends (minimum jerk)."""
        t = float(np.clip(time_s / self.duration_s, 0, 1))
        way = t**3 * (10 - 15 * t + 6 * t * t) * (len(self.joints) - 1)
        i = min(int(way), len(self.joints) - 2)
        return self.joints[i] + (way - i) * (self.joints[i + 1] - self.joints[i])


def forward(q: Joints) -> tuple[Pose, NDArray[np.float64]]:
    """Pose of the tip in the base frame, and its Jacobian [6, 7]: metres first, then radians."""
    T = np.eye(4)
    frames = []
    for (a, d, alpha), angle in zip(_DH, q, strict=True):
        ca, sa, c, s = np.cos(alpha), np.sin(alpha), np.cos(angle), np.sin(angle)
        T = T @ np.array(
            [
                [c, -s, 0, a],
                [s * ca, c * ca, -sa, -sa * d],
                [s * sa, c * sa, ca, ca * d],
                [0, 0, 0, 1],
            ]
        )
        frames.append(T)
    c, s = np.cos(_HAND_RAD), np.sin(_HAND_RAD)
    hand = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, _FLANGE_M + _TIP_M], [0, 0, 0, 1]])
    T = T @ hand
    axes = np.stack([frame[:3, 2] for frame in frames])
    arms = T[:3, 3] - np.stack([frame[:3, 3] for frame in frames])
    return T, np.vstack([np.cross(axes, arms).T, axes.T])


def solve(target: Pose, near: Joints) -> Joints:
    """Joints that bring the tip to a pose in the base frame, as near to `near` as they are found.

    The gripper is the same turned half around, so that pose counts too.

    Raises:
        UnreachableError: none found; the text says how far off the best try was.
    """
    turned = target @ np.diag([-1.0, -1.0, 1.0, 1.0])
    found, best_m = [], np.inf
    for start in (near, REST_RAD):
        for pose in (target, turned):
            q, off_m, off_rad = _iterate(pose, start)
            best_m = min(best_m, off_m)
            if off_m < _POSITION_M and off_rad < _ANGLE_RAD:
                found.append(q)
        if found:
            return min(found, key=lambda q: float(np.abs(q - near).max()))
    x, y, z = target[:3, 3]
    raise UnreachableError(
        f"expected a pose within the arm's reach, got ({x:.3f}, {y:.3f}, {z:.3f}) m in its base "
        f"frame; the tips come no nearer than {best_m * 1000:.0f} mm"
    )


def _iterate(target: Pose, start: Joints) -> tuple[Joints, float, float]:
    """Damped least squares, the free direction drawn to the rest pose: joints, and errors left."""
    q = np.clip(start, LOWER_RAD, UPPER_RAD)
    error = np.zeros(6)
    for _ in range(80):
        T, J = forward(q)
        error = np.concatenate([target[:3, 3] - T[:3, 3], rotation_vector(T, target)])
        if np.linalg.norm(error[:3]) < _POSITION_M / 2 and np.linalg.norm(error[3:]) < 1e-3:
            break
        inverse = J.T @ np.linalg.inv(J @ J.T + 1e-4 * np.eye(6))
        step = inverse @ error + (np.eye(7) - inverse @ J) @ (0.05 * (REST_RAD - q))
        q = np.clip(q + np.clip(step, -0.25, 0.25), LOWER_RAD, UPPER_RAD)
    return q, float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))


def rotation_vector(start: Pose, end: Pose) -> NDArray[np.float64]:
    """The turn from one pose's axes to another's, axis times radians, in the outer frame."""
    R = end[:3, :3] @ start[:3, :3].T
    axis = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    angle = float(np.arccos(np.clip((np.trace(R) - 1) / 2, -1, 1)))
    length = float(np.linalg.norm(axis))
    if length > 1e-9:
        return axis / length * angle
    if angle < 1.0:  # no turn at all
        return np.zeros(3)
    column = int(np.argmax(np.diag(R)))  # half a turn: the axis is a column of R + 1
    half = R[:, column] + np.eye(3)[column]
    return half / np.linalg.norm(half) * angle


def _between(start: Pose, end: Pose, share: float) -> Pose:
    """The pose a share of the way along a straight line and an even turn."""
    turn = rotation_vector(start, end) * share
    angle = float(np.linalg.norm(turn))
    pose = start.copy()
    if angle > 1e-9:
        x, y, z = turn / angle
        K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        R = np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
        pose[:3, :3] = R @ start[:3, :3]
    pose[:3, 3] = start[:3, 3] + share * (end[:3, 3] - start[:3, 3])
    return pose


class Panda:
    """One arm in a PyBullet world.

    Args:
        client: the physics world.
        T_world_base: where the arm is bolted down; it must stand upright.
        aside_rad: joints of its place aside, where it begins.
    """

    def __init__(self, client: int, T_world_base: Pose, aside_rad: Joints) -> None:
        self._client, self._T_world_base, self._aside_rad = client, T_world_base, aside_rad
        yaw = float(np.arctan2(T_world_base[1, 0], T_world_base[0, 0]))
        self.body: int = pybullet.loadURDF(
            os.path.join(pybullet_data.getDataPath(), "franka_panda/panda.urdf"),
            T_world_base[:3, 3].tolist(),
            pybullet.getQuaternionFromEuler([0, 0, yaw]),
            useFixedBase=True,
            physicsClientId=client,
        )
        for finger in _FINGERS:
            pybullet.changeDynamics(
                self.body,
                finger,
                lateralFriction=1.2,
                spinningFriction=0.02,
                physicsClientId=client,
            )
        self._couple_fingers()
        self._motion = _Motion(np.stack([aside_rad, aside_rad]), 1.0)
        self._time_s = 1.0 + _PATIENCE_S
        self._finger_m = MAX_WIDTH_M / 2
        for joint, angle in zip(_ARM, aside_rad, strict=True):
            pybullet.resetJointState(self.body, joint, angle, physicsClientId=client)
        for finger in _FINGERS:
            pybullet.resetJointState(self.body, finger, self._finger_m, physicsClientId=client)

    def _couple_fingers(self) -> None:
        """One motor drives both fingers of a Panda: they meet in the middle."""
        left, right = _FINGERS
        gear = pybullet.createConstraint(
            self.body,
            left,
            self.body,
            right,
            jointType=pybullet.JOINT_GEAR,
            jointAxis=[1, 0, 0],
            parentFramePosition=[0, 0, 0],
            childFramePosition=[0, 0, 0],
            physicsClientId=self._client,
        )
        pybullet.changeConstraint(
            gear, gearRatio=-1, erp=0.1, maxForce=50, physicsClientId=self._client
        )

    @property
    def joints_rad(self) -> Joints:
        """Where the joints are now."""
        states = pybullet.getJointStates(self.body, _ARM, physicsClientId=self._client)
        return np.array([state[0] for state in states])

    @property
    def tip(self) -> Pose:
        """Pose of the finger tips in the world, now."""
        return self._T_world_base @ forward(self.joints_rad)[0]

    @property
    def width_m(self) -> float:
        """How far the fingers are apart."""
        states = pybullet.getJointStates(self.body, _FINGERS, physicsClientId=self._client)
        return float(sum(state[0] for state in states))

    @property
    def is_moving(self) -> bool:
        """Whether the last motion is still under way."""
        return self._time_s < self._motion.duration_s + _PATIENCE_S

    def go_to(self, T_world_tip: Pose) -> None:
        """Plans a way to a pose and sets out: a straight line where it is short.

        Raises:
            UnreachableError: there is no way; the arm stays as it is.
        """
        goal = np.linalg.inv(self._T_world_base) @ T_world_tip
        now = self.joints_rad
        start = forward(now)[0]
        way_m = float(np.linalg.norm(goal[:3, 3] - start[:3, 3]))
        end = solve(goal, now)
        if way_m < _STRAIGHT_M:
            self._set_out(*_straight(start, forward(end)[0], now, end, way_m))
        else:
            self._set_out([now, end], 0.0)

    def go_aside(self) -> None:
        """Sets out for the place aside, joint by joint."""
        self._set_out([self.joints_rad, self._aside_rad], 0.0)

    def _set_out(self, joints: list[Joints], least_s: float) -> None:
        way = np.stack(joints)
        travelled = np.abs(np.diff(way, axis=0)).sum(axis=0)
        peak = 1.875  # of minimum jerk, beside an even speed
        needed_s = float((travelled * peak / (_SPEED * MAX_RAD_S)).max())
        self._motion = _Motion(way, max(needed_s, least_s, 0.2))
        self._time_s = 0.0

    def open_to(self, width_m: float) -> None:
        """Lets the fingers go to a distance; smaller than what is between them means: grip."""
        self._finger_m = float(np.clip(width_m, 0, MAX_WIDTH_M)) / 2

    def tick(self) -> None:
        """Motor targets for the next physics step."""
        self._time_s += STEP_S
        pybullet.setJointMotorControlArray(
            self.body,
            _ARM,
            pybullet.POSITION_CONTROL,
            targetPositions=self._motion.at(self._time_s).tolist(),
            forces=MAX_NM.tolist(),
            positionGains=[0.2] * 7,
            velocityGains=[1.0] * 7,
            physicsClientId=self._client,
        )
        for finger in _FINGERS:
            pybullet.setJointMotorControl2(
                self.body,
                finger,
                pybullet.POSITION_CONTROL,
                targetPosition=self._finger_m,
                force=GRIP_N,
                maxVelocity=0.1,
                physicsClientId=self._client,
            )


def _straight(
    start: Pose, goal: Pose, now: Joints, end: Joints, way_m: float
) -> tuple[list[Joints], float]:
    """Waypoints on a straight line; joint by joint where the line leads out of reach."""
    turn_rad = float(np.linalg.norm(rotation_vector(start, goal)))
    count = max(2, int(np.ceil(max(way_m / _WAYPOINT_M, turn_rad / _WAYPOINT_RAD))))
    joints, q = [now], now
    for i in range(1, count + 1):
        q, off_m, _ = _iterate(_between(start, goal, i / count), q)
        if off_m > 5 * _POSITION_M or np.abs(q - joints[-1]).max() > 0.5:
            return [now, end], 0.0
        joints.append(q)
    return joints, 1.875 * way_m / _TIP_M_S
