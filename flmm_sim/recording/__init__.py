"""Recordings and photos of simulated scenes."""
