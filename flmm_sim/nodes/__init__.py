"""The simulated camera and the simulated arm as ROS 2 nodes."""
