"""The command `auxip`: a demo, the whole system on one machine, staging runs, and what the ledger knows of them."""

from workers.cli.main import main

__all__ = ["main"]
