"""`python -m hypersharp` and the console script `hypersharp`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    from hypersharp.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
