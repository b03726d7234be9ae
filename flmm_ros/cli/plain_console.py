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

"""A console that prints texts as they are: names of users' files hold brackets and colons.

Rich would read `[n, 2]` as markup and `refcoco:train:x` as an emoji.
"""

from __future__ import annotations

import sys

from rich.console import Console

FILE_COLUMNS = 140


def plain_console(*, stderr: bool = False) -> Console:
    """On this process's standard output or error; no markup, no emoji, no highlighting. As wide as
    the terminal, or wide enough for a file."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else FILE_COLUMNS
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
