"""The node itself: its life cycle, its process, its diagnostics."""
