"""``python -m mlopt``."""

import sys

from mlopt.cli.app import main

if __name__ == "__main__":  # worker processes that are spawned import this module again
    sys.exit(main())
