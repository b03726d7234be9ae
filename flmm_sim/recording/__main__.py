"""`python -m flmm_sim.recording`."""

import sys

from flmm_sim.recording.command import main

if __name__ == "__main__":
    sys.exit(main())
