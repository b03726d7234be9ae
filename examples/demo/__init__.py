"""The whole path with a simulated camera: what `make demo` runs."""
