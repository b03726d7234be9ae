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
