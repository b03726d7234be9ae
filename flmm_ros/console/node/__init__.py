"""The console's ROS node."""
