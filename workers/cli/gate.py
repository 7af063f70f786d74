"""`auxip gate`: lets requests of other systems in."""

import logging
from pathlib import Path

import click


@click.command()
@click.option(
    "--loglevel",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    default="INFO",
    show_default=True,
    help="of the log, which goes to standard error",
)
@click.option(
    "--alive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="file to touch every few seconds, for health checks",
)
def gate(loglevel: str, alive: Path | None) -> None:
    """Turn requests on the list `auxip:intake` into tasks, until SIGTERM. Any number of gates may run."""
    from shared.logs import format_lines_of
    from shared.settings import load_settings
    from workers.gate import Gate

    logging.basicConfig(level=loglevel, format="[%(asctime)s: %(levelname)s/%(name)s] %(message)s")
    settings = load_settings()
    format_lines_of(logging.getLogger(), settings.log_format)
    Gate(settings).serve(alive)
