"""``python -m turnout``: the command line without its script."""

import sys

from turnout.cli import main

if __name__ == "__main__":
    sys.exit(main())
