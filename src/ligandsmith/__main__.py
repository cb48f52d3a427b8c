"""`python -m ligandsmith`: the same as the command `ligandsmith`."""

import sys

from ligandsmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
