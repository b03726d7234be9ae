"""Training and evaluation of heads and of the embedded model. Imports the engine, never ROS."""

import os

# Before torch is loaded, as in flmm_ros and for the same reason: threads that wait spin otherwise.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
