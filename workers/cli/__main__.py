"""Lets `python -m workers.cli` be the command `auxip`."""

from workers.cli.main import main

main()
