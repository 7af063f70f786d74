"""The command `auxip`: a demo, the whole system on one machine, staging runs, and what the ledger knows of them."""

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; the status is that of `workers.cli.main.run`, or 130 after Ctrl-C, even while it loads."""
    try:
        from workers.cli.main import run

        sys.exit(run())
    except KeyboardInterrupt:
        sys.stderr.write("auxip: interrupted\n")
        sys.exit(_INTERRUPTED)
