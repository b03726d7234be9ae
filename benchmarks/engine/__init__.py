"""Time and memory of the engine beside a straightforward implementation."""
