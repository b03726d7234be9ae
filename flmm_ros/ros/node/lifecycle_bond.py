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

"""The bond that Nav2's lifecycle manager expects of a node it has activated.

The manager ends the whole bringup where no heartbeat comes within its `bond_timeout`. The package
bondpy sends it; where that is not installed there is no bond, and the manager needs
`bond_timeout: 0.0`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rclpy.node import Node

BOND_TOPIC = "bond"  # as of Nav2's manager and nodes, in the node's namespace
_PERIOD_S = 0.25


class LifecycleBond:
    """At most one bond at a time; its id is the node's name."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._bond: Any = None

    def start(self) -> None:
        """Sends heartbeats from now on, where bondpy is installed. A bond that cannot be made is
        logged and no reason to stay inactive."""
        self.stop()
        if find_spec("bondpy") is None:
            return
        try:
            bond = import_module("bondpy.bondpy").Bond(
                topic=BOND_TOPIC, id=self._node.get_name(), node=self._node
            )
            bond.set_heartbeat_period(_PERIOD_S)
            bond.start()
        except Exception as error:  # noqa: BLE001 - logged; the package is not ours
            self._node.get_logger().warning(
                f"no bond for a lifecycle manager: {type(error).__name__}: {error}; set "
                "bond_timeout: 0.0 in Nav2's lifecycle manager"
            )
            return
        self._bond = bond

    def stop(self) -> None:
        """Breaks the bond and tells the manager so; nothing where there is none."""
        bond, self._bond = self._bond, None
        if bond is not None:
            bond.shutdown()
