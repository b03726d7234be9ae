"""Language grounding for robots: a frozen large multimodal model answers and points, pixel by
pixel.

`flmm_ros.engine` is ROS-free, `flmm_ros.ros` is the node around it, `flmm_ros.cli` is the command
`flmm`.
The generated messages live in the same package name, in another directory: `extend_path` joins the
two.
"""

import os
from pkgutil import extend_path

# OpenMP threads that wait give their core back instead of spinning on it: on a machine that does
# other things too, as a robot's does, a command may take fifty times as long otherwise. Read when
# torch is loaded, so it must stand before that; a value that is set already stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__path__ = extend_path(__path__, __name__)
