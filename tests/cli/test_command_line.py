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

"""Errors of programs: one line, exactly as it was written, and exit status 2."""

import pytest

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.plain_console import plain_console
from flmm_ros.engine.errors import ConfigError

TEXTS = ["refcoco:train:x: expected [n, 2], got d[old]", "a[/x].yaml: missing", "[bold]:duck:[/]"]


@pytest.mark.parametrize("text", TEXTS)
def test_no_markup_is_read_in_errors(text, capsys):
    def fails() -> None:
        """Fails."""
        raise ConfigError(text)

    assert run_command(fails, []) == 2
    assert capsys.readouterr().err == f"fails: {text}\n"


@pytest.mark.parametrize("text", TEXTS)
def test_the_plain_console_prints_texts_as_they_are(text, capsys):
    plain_console().print(text)
    plain_console(stderr=True).print(text)
    captured = capsys.readouterr()
    assert captured.out == captured.err == f"{text}\n"
