"""A training run: steps, checkpoints, validation, reports."""
