"""Training and evaluation of heads and of the embedded model. Imports the engine, never ROS."""
