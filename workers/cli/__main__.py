"""Lets `python -m workers.cli` be the command `auxip`."""

from workers.cli import main

main()
