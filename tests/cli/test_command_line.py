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
