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

"""Keeps the example of an SROS 2 policy true: what node and robot program may do, from the code.

    python -m scripts.docs.security_policy            # writes config/security/policy.xml
    python -m scripts.docs.security_policy --check    # exit code 1 where it differs

Two enclaves: the node hears its inputs, publishes its outputs and serves its action and services;
a robot program calls the action and listens to answers, and can neither send images nor change
parameters. Names are those of a node without namespace; remapped topics have to be renamed here
too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from flmm_ros.cli.command_line import run_command
from flmm_ros.ros.interface import endpoints
from flmm_ros.ros.node.lifecycle_bond import BOND_TOPIC

PAGE = Path(__file__).resolve().parents[2] / "config" / "security" / "policy.xml"
NODE, ROBOT = "grounding_node", "robot"
CLIENT = f"{ROBOT}_grounding_client"  # the name that GroundingClient gives its own node
_PARAMETER_SERVICES = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "get_type_description",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
)
_LIFECYCLE_SERVICES = (
    "change_state",
    "get_available_states",
    "get_available_transitions",
    "get_state",
    "get_transition_graph",
)
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by python -m scripts.docs.security_policy; how it is used: SECURITY.md. -->
"""


def policy() -> str:
    """The XML text."""
    root = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(root, "enclaves")
    node = _profile(enclaves, NODE, [NODE])[0]
    heard = [e.name for e in endpoints.INPUTS]
    published = [e.name for e in endpoints.OUTPUTS]
    _rule(node, "topics", "subscribe", [*heard, "/clock", "/tf", "/tf_static"])
    _rule(node, "topics", "publish", [*published, "~/transition_event", "/rosout"])
    _rule(node, "topics", "publish", ["/parameter_events", BOND_TOPIC], also="subscribe")
    own = [e.name for e in endpoints.SERVICES]
    standard = [f"~/{name}" for name in (*_PARAMETER_SERVICES, *_LIFECYCLE_SERVICES)]
    _rule(node, "services", "reply", [*own, *standard])
    _rule(node, "actions", "execute", [e.name for e in endpoints.ACTIONS])
    robot, client = _profile(enclaves, ROBOT, [ROBOT, CLIENT])
    listened = [_public(name) for name in published if name.startswith("~/")]
    _rule(robot, "topics", "subscribe", [*listened, "/clock"])
    _rule(robot, "topics", "publish", ["/command", "/rosout"])
    _rule(robot, "topics", "publish", ["/parameter_events"], also="subscribe")
    _rule(client, "actions", "call", [_public(e.name) for e in endpoints.ACTIONS])
    _rule(client, "topics", "publish", ["/rosout"])
    _rule(client, "topics", "publish", ["/parameter_events"], also="subscribe")
    ElementTree.indent(root)
    return _HEAD + ElementTree.tostring(root, encoding="unicode") + "\n"


def _profile(
    enclaves: ElementTree.Element, name: str, nodes: Iterable[str]
) -> list[ElementTree.Element]:
    """One enclave and a profile for each node in it."""
    enclave = ElementTree.SubElement(enclaves, "enclave", path=f"/{name}")
    profiles = ElementTree.SubElement(enclave, "profiles")
    return [ElementTree.SubElement(profiles, "profile", ns="/", node=node) for node in nodes]


def _rule(
    profile: ElementTree.Element, kind: str, may: str, names: Iterable[str], *, also: str = ""
) -> None:
    """What is allowed; `also`: a second thing with the same names."""
    allowed = {may: "ALLOW", **({also: "ALLOW"} if also else {})}
    rule = ElementTree.SubElement(profile, kind, allowed)
    for name in names:
        # The policy's way to write private names has no slash behind the tilde.
        ElementTree.SubElement(rule, kind[:-1]).text = name.replace("~/", "~")


def _public(name: str) -> str:
    """A private name of the node as others see it."""
    return name.replace("~/", f"/{NODE}/")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(security_policy, argv)


def security_policy(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; 1 where it differs.")
    ] = False,
) -> int:
    """Write the example of an SROS 2 policy from the node's endpoints."""
    text = policy()
    if check:
        if PAGE.is_file() and PAGE.read_text() == text:
            return 0
        print(f"{PAGE} differs from the code: run python -m scripts.docs.security_policy")
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
