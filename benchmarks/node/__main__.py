"""`python -m benchmarks.node`."""

import sys

from benchmarks.node.overhead import main

if __name__ == "__main__":
    sys.exit(main())
