"""`python -m flmm_ros.replay`."""

import sys

from flmm_ros.replay.command import main

if __name__ == "__main__":
    sys.exit(main())
