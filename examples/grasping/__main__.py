"""`python -m examples.grasping`: what `make grasp` runs."""

import sys

from examples.grasping.demo import main

if __name__ == "__main__":
    sys.exit(main())
