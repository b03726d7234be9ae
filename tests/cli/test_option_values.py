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

"""Options that take several values, as argparse programs had them."""

import pytest

from flmm_ros.cli.command_line import with_repeated_option


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("--kinds a b --out o", "--kinds a --kinds b --out o"),
        ("--kinds a --kinds b", "--kinds a --kinds b"),
        ("--out o --kinds a", "--out o --kinds a"),
        ("x --kinds", "x --kinds"),
        ("x y", "x y"),
        ("--kinds a -v b", "--kinds a -v b"),
    ],
)
def test_an_option_with_several_values_is_written_before_each(given: str, written: str) -> None:
    assert with_repeated_option(given.split(), "--kinds") == written.split()
