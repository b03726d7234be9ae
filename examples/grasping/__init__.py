"""A simulated arm picks up what it is told to: robot.py, geometry.py, interface.py are to copy."""
