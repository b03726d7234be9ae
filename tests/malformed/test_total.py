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

"""The thousands that the other files promise."""

import pytest
from malformed import INPUTS, TAKEN, TIMES, TOTAL


def test_there_are_enough_inputs():
    assert sum(INPUTS.values()) >= TOTAL


def test_all_of_them_were_taken():
    """Counted, not promised: hypothesis takes fewer where it finds no further ones."""
    if not set(INPUTS) <= set(TAKEN):
        pytest.skip(f"only after the tests of {', '.join(sorted(set(INPUTS) - set(TAKEN)))}")
    few = {name: TAKEN[name] for name in INPUTS if TAKEN[name] < 0.9 * INPUTS[name] * TIMES}
    assert not few
    assert sum(TAKEN.values()) >= TOTAL * TIMES
