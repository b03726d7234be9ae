"""A simulated Franka Panda that grips things on the tabletop, and its client over ROS."""
