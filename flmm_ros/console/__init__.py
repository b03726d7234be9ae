"""The console: a web page, served by the robot, to talk to the grounding node and see what it sees.

    ros2 run flmm_ros console

From a browser to the node: `server.py` (pages, pictures, the socket) -> `connection.py` (one open
page) -> `users.py` (one person's commands and history) -> `bridge.py` (the ROS side).
"""
