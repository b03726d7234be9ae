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
