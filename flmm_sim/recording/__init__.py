"""Recordings and pictures of the simulated tabletop: `python -m flmm_sim.recording`."""
