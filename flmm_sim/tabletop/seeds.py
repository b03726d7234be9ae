"""Ranges of scene seeds on command lines: "A:B" are the seeds A to B-1."""

from __future__ import annotations

from flmm_ros.engine.errors import ConfigError

MAX_SEED = 5_000_000


def seed_range(text: str) -> range:
    """ "A:B" -> the seeds A to B-1.

    Raises:
        ConfigError: not two numbers, none in between, or beyond MAX_SEED.
    """
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"seeds: expected FIRST:STOP, got {text!r}") from None
    if not 0 <= first < stop <= MAX_SEED:
        raise ConfigError(f"seeds: expected 0 <= FIRST < STOP <= {MAX_SEED}, got {text!r}")
    return range(first, stop)
