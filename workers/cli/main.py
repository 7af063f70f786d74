"""The group of commands, and how every error leaves it: one line with its code, and a status."""

import sys

import click

from shared.errors import AuxipError
from workers.cli.control import cancel, reconcile
from workers.cli.dead import dead
from workers.cli.demo import demo
from workers.cli.expand import expand
from workers.cli.gate import gate
from workers.cli.records import contract, runs, show
from workers.cli.stage import stage
from workers.cli.sweeps import sweep, sweeps
from workers.cli.up import up

_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="auxip-workers")
def auxip() -> None:
    """Stage Copernicus auxiliary data into S3 and a STAC catalog, with Celery workers."""


for _command in (demo, up, stage, expand, sweep, sweeps, runs, show, cancel, reconcile, dead, gate, contract):
    auxip.add_command(_command)


def main() -> None:
    """Run the command line; the status is 0 (done), 1 (failed), 2 (usage), 3 (archive refused) or 130 (interrupted)."""
    try:
        sys.exit(auxip.main(standalone_mode=False))
    except AuxipError as error:
        click.echo(f"auxip: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        click.echo(f"auxip: no module {error.name}; `auxip demo` and `auxip up` need requirements/demo.txt", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("auxip: interrupted", err=True)
        sys.exit(_INTERRUPTED)
