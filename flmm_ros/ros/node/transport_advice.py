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

"""What to set so that large messages are not lost on their way from this node."""

from __future__ import annotations

from collections.abc import Mapping

_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def large_message_advice(rmw: str, environment: Mapping[str, str]) -> str:
    """One sentence where Fast DDS runs with its default profile; otherwise empty.

    rmw: the middleware's identifier, such as rmw_fastrtps_cpp. environment: of the process.
    """
    if rmw != "rmw_fastrtps_cpp" or any(environment.get(name) for name in _PROFILES):
        return ""
    return (
        "Fast DDS runs with its default profile, whose shared memory holds 512 KiB: masks, "
        f"overlays and point clouds that are larger may get lost; set {_PROFILES[0]} (Humble: "
        f"{_PROFILES[1]}) to flmm_ros's config/fastdds.xml"
    )
