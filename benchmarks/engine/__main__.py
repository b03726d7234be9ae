"""`python -m benchmarks.engine`."""

import sys

from benchmarks.engine.command import main

if __name__ == "__main__":
    sys.exit(main())
