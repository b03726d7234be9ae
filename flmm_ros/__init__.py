"""Language grounding for robots: a frozen large multimodal model answers and points, pixel by
pixel.

`flmm_ros.engine` is ROS-free, `flmm_ros.ros` is the node around it, `flmm_ros.tools` are programs.
The generated messages live in the same package name, in another directory: `extend_path` joins the
two.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
