"""`python -m training.features`."""

import sys

from training.features.build import main

if __name__ == "__main__":
    sys.exit(main())
