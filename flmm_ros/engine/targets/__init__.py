"""From a mask and a depth image to things in space: boxes, poses, grasps. numpy only."""
