"""The simulation as ROS 2 nodes."""
