"""From masks and depth to poses, points and grasps on topics."""
