"""The ROS 2 node around the engine, and the client for robot programs. No tensor code."""
