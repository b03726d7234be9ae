"""`python -m benchmarks.node`."""

import sys

from benchmarks.node.command import main

if __name__ == "__main__":
    sys.exit(main())
