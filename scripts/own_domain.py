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

"""Runs a command in a ROS domain of its own: `python scripts/own_domain.py pytest tests`.

Two runs on one machine, or a robot on the same network, must never hear each other. Where
ROS_DOMAIN_ID is set it is kept. Otherwise a free one is reserved by binding a port, which is handed
on to the command: the reservation ends with it, however it ends. The ports are those of ROS 2's own
test tools, so that both leave each other's domains alone.
"""

from __future__ import annotations

import os
import random
import socket
import sys

FIRST_PORT = 32768
DOMAINS = range(1, 101)  # above 101, the ports of DDS overlap with those Linux gives to clients


def reserve_domain() -> int:
    """Binds the port of a free domain, leaves it open for the command to come, returns the domain.

    Raises:
        RuntimeError: all of them are taken.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            reservation.bind(("", FIRST_PORT + domain))
        except OSError:
            reservation.close()
            continue
        reservation.set_inheritable(True)
        reservation.detach()  # the descriptor outlives the object and this program
        return domain
    raise RuntimeError(
        "all ROS domains from 1 to 100 are in use on this machine; set ROS_DOMAIN_ID yourself"
    )


def main() -> None:
    """Replaces this process by the command."""
    if len(sys.argv) < 2:
        sys.exit("usage: own_domain.py COMMAND [ARGUMENT ...]")
    if not os.environ.get("ROS_DOMAIN_ID"):
        os.environ["ROS_DOMAIN_ID"] = str(reserve_domain())
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    else:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  the user's own command
    except OSError as error:
        sys.exit(f"own_domain.py: cannot run {sys.argv[1]}: {error.strerror}")


if __name__ == "__main__":
    main()
