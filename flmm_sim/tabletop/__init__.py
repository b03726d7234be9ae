"""Scenes of coloured things on a table, by seed, with the truth of every pixel.

`flmm_sim.tabletop.tabletop` is what others import.
"""
