"""`python -m examples.demo`, as `make demo` runs it."""

import sys

from examples.demo.demo import main

if __name__ == "__main__":
    sys.exit(main())
