"""Depth images and camera_info that belong to a colour image."""
