"""A simulated tabletop, arm and cameras: for demos, tests and training, never needed by a robot."""
