"""Objects followed from image to image between commands."""
