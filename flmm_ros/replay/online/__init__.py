"""A recording played into the running node."""
