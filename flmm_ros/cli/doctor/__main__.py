"""`python -m flmm_ros.cli.doctor`."""

import sys

from flmm_ros.cli.doctor.command import main

if __name__ == "__main__":
    sys.exit(main())
