"""A simulated tabletop, arm and cameras: for demos, tests and training, never needed by a robot.

`tabletop` draws scenes, `arm` grips in them, `nodes` publishes both over ROS, `recording` writes
recordings of them, and `bullet` holds the physics engine.
"""
