"""`python -m examples.grasping`, as `make grasp` runs it."""

import sys

from examples.grasping.demo import main

if __name__ == "__main__":
    sys.exit(main())
