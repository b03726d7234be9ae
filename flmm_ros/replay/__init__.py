"""Replays recordings of a robot's camera and says how well, and how fast, they are understood."""
