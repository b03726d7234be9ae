"""Measurements: the engine, the node, training, and a soak test. Never installed."""
