"""Before any test imports torch: the package says how its threads wait."""

import flmm_ros  # noqa: F401
