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

"""How every program of this repository reads its command line and reports what went wrong.

A command is a function whose parameters Typer turns into arguments and options. Errors that a user
can act on are one line on stderr and exit status 2; a traceback is a fault of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from flmm_ros.engine.errors import FlmmError

BAD_INPUT = 2
INTERRUPTED = 130


def run_command(
    function: Callable[..., Any], argv: Sequence[str] | None = None, name: str | None = None
) -> int:
    """Runs one function as a command line program and returns its exit status.

    The function returns an exit status, or None for success. argv: without the program's name; by
    default this process's. name: of the program, for its help and errors.
    """
    return run_app(one_command(function), argv, name)


def one_command(function: Callable[..., Any]) -> typer.Typer:
    """An app of one function; its docstring is the help text, one paragraph a paragraph."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    return app


def run_app(app: typer.Typer, argv: Sequence[str] | None = None, name: str | None = None) -> int:
    """Runs an app, with errors as one line and an exit status.

    Only errors that name what to do are caught: `FlmmError`, and files that cannot be read or
    written.
    """
    command = typer.main.get_command(app)
    arguments = without_ros_arguments(sys.argv[1:] if argv is None else argv)
    try:
        status = command.main(arguments, prog_name=name, standalone_mode=False)
    except typer.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `flmm ... | head`
        sys.stderr.close()
        return 0
    except (FlmmError, OSError) as error:
        print(f"{_program(command.name, name)}: {error}", file=sys.stderr)
        return BAD_INPUT
    except Exception as error:
        shown = getattr(error, "show", None)  # click's usage errors, under whichever name
        if shown is None:
            raise
        shown()
        return int(getattr(error, "exit_code", BAD_INPUT))
    return int(status or 0)


def ros_arguments() -> list[str]:
    """What `ros2 run` and launch files gave for rclpy: `--ros-args ...` of this process."""
    return sys.argv[1:]


def without_ros_arguments(arguments: Sequence[str]) -> list[str]:
    """Arguments without the parts from `--ros-args` to `--` or to the end."""
    kept: list[str] = []
    is_ros = False
    for argument in arguments:
        if argument == "--ros-args":
            is_ros = True
        elif is_ros:
            is_ros = argument != "--"
        else:
            kept.append(argument)
    return kept


def with_repeated_option(arguments: Sequence[str], option: str) -> list[str]:
    """`--kinds a b` -> `--kinds a --kinds b`: Typer wants the option before every value."""
    written: list[str] = []
    is_value = False
    for argument in arguments:
        if is_value and not argument.startswith("-"):
            written += [] if written[-1] == option else [option]
        else:
            is_value = argument == option
        written.append(argument)
    return written


def _program(command: str | None, name: str | None) -> str:
    return name or command or "flmm"
