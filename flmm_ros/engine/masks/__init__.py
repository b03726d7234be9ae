"""Masks in the pixels of the user's image: thresholds, candidates, overlays, tracking."""
