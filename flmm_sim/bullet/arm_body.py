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

"""The body of a Franka Panda in a PyBullet world: its joints, their motors, its fingers."""

from __future__ import annotations

import numpy as np
import pybullet
from numpy.typing import NDArray

from flmm_sim.arm.kinematics import Joints, Pose
from flmm_sim.bullet.bodies import DATA
from flmm_sim.bullet.world import BulletWorld

GRIP_N = 20.0  # of each finger
_MAX_TORQUE_NM = [87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0]
_ARM, _FINGERS = list(range(7)), [9, 10]
HAND_LINK = 8


class ArmBody:
    """One arm, bolted down at T_world_base, which must stand upright.

    Args:
        joints_rad: [7], where it begins. finger_m: how far each finger is from the middle.
    """

    def __init__(
        self, world: BulletWorld, T_world_base: Pose, joints_rad: Joints, finger_m: float
    ) -> None:
        self._client = world.client
        yaw = float(np.arctan2(T_world_base[1, 0], T_world_base[0, 0]))
        self.body: int = pybullet.loadURDF(
            str(DATA / "franka_panda/panda.urdf"),
            T_world_base[:3, 3].tolist(),
            pybullet.getQuaternionFromEuler([0, 0, yaw]),
            useFixedBase=True,
            physicsClientId=self._client,
        )
        for finger in _FINGERS:
            pybullet.changeDynamics(
                self.body,
                finger,
                lateralFriction=1.2,
                spinningFriction=0.02,
                physicsClientId=self._client,
            )
        self._couple_fingers()
        self.place(joints_rad)
        for finger in _FINGERS:
            pybullet.resetJointState(self.body, finger, finger_m, physicsClientId=self._client)

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
        """Where the joints are now, [7]."""
        states = pybullet.getJointStates(self.body, _ARM, physicsClientId=self._client)
        return np.array([state[0] for state in states])

    @property
    def width_m(self) -> float:
        """How far the fingers are apart."""
        states = pybullet.getJointStates(self.body, _FINGERS, physicsClientId=self._client)
        return float(sum(state[0] for state in states))

    def place(self, joints_rad: Joints) -> None:
        """Puts the joints there at once, without a motion."""
        for joint, angle in zip(_ARM, joints_rad, strict=True):
            pybullet.resetJointState(self.body, joint, angle, physicsClientId=self._client)

    def hand_pose(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position [3] and rotation [3, 3] of the hand in the world, as the engine has it."""
        link = pybullet.getLinkState(
            self.body, HAND_LINK, computeForwardKinematics=1, physicsClientId=self._client
        )
        R = np.array(pybullet.getMatrixFromQuaternion(link[5])).reshape(3, 3)
        return np.array(link[4]), R

    def drive(self, joints_rad: Joints, finger_m: float) -> None:
        """Motor targets for the next physics step."""
        pybullet.setJointMotorControlArray(
            self.body,
            _ARM,
            pybullet.POSITION_CONTROL,
            targetPositions=joints_rad.tolist(),
            forces=_MAX_TORQUE_NM,
            positionGains=[0.2] * 7,
            velocityGains=[1.0] * 7,
            physicsClientId=self._client,
        )
        for finger in _FINGERS:
            pybullet.setJointMotorControl2(
                self.body,
                finger,
                pybullet.POSITION_CONTROL,
                targetPosition=finger_m,
                force=GRIP_N,
                maxVelocity=0.1,
                physicsClientId=self._client,
            )
