"""A simulated Franka Panda that grips things on the tabletop."""
