"""`python -m kzoo`, the same as the command `kzoo`."""

from __future__ import annotations

import sys

from kzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
