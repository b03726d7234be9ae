"""The physics engine, PyBullet: the only folder of this repository that imports it.

Everything else of the simulation is numpy: what stands where (`tabletop/`), kinematics and motions
(`arm/`). Another engine replaces this folder and keeps its three classes.
"""
