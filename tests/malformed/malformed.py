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

"""Malformed input by the thousand, with one rule: understood, or refused with a code and words.

`inputs` makes a test of a function that takes one input; how many each test gets stands in INPUTS
and adds up to at least TOTAL. Inputs are the same in every run, so that a red test stays red;
FLMM_FUZZ=20 makes twenty times as many, different ones in every run.
"""

import os
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flmm_ros.engine.errors import FlmmError

TOTAL = 10_000
TIMES = int(os.environ.get("FLMM_FUZZ", "1"))
INPUTS = {
    "raw images": 2600,
    "compressed images": 1200,
    "depth images": 1200,
    "camera infos": 700,
    "targets": 250,
    "texts": 1700,
    "overrides": 900,
    "model files": 500,
    "scenarios": 300,
    "parameters": 800,
    "commands": 900,
    "whole commands": 250,
    "recordings": 150,
    "recorded messages": 500,
}
TAKEN: Counter[str] = Counter()  # by the tests of this run


def inputs(name, *strategies):
    """Runs a test on INPUTS[name] inputs, and counts them."""

    def decorate(test):
        @settings(
            max_examples=INPUTS[name] * TIMES,
            derandomize=TIMES == 1,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.tuples(*strategies))
        def counted(values):
            TAKEN[name] += 1
            test(*values)

        counted.__name__ = test.__name__
        counted.__doc__ = test.__doc__
        return counted

    return decorate


def understood(call, *arguments, **named):
    """What a call returns, or None where it refused; anything but a refusal is a crash.

    A refusal has a code that is not INTERNAL, and words.
    """
    try:
        return call(*arguments, **named)
    except FlmmError as refusal:
        assert refusal.code and refusal.code != "INTERNAL"
        assert len(str(refusal)) > 10
        return None
