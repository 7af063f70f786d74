"""The group of commands, each loaded when it is asked for, and how every error leaves it: one line, and a status."""

import sys
from importlib import import_module

import click

from shared.errors import AuxipError, Retryable
from workers.cli.examples import GROUPS, epilog
from workers.cli.printing import error_json, print_error, print_json

_INTERRUPTED = 130
_USAGE = 2

# What the caller has to correct, whoever finds it: this process, or a worker.
_WRONG_USAGE = {
    "bad-request",
    "bad-filter",
    "bad-window",
    "bad-datetime",
    "bad-href",
    "bad-parameter",
    "bad-scene",
    "bad-product",
}

# Where each command stands, and what it does. `auxip --help` loads none of them: Celery alone takes 0.2 s.
COMMANDS = {
    "demo": ("workers.cli.demo:demo", "Try it: a sweep on an embedded stack, twice"),
    "up": ("workers.cli.up:up", "Run the embedded stack and all workers until Ctrl-C"),
    "stage": ("workers.cli.stage:stage", "Stage what policies select or a filter finds"),
    "get": ("workers.cli.get:get", "Copy the files of a staged item into a folder"),
    "orbit": ("workers.cli.orbit:orbit", "Find the orbit file of a Sentinel-1 scene; save or stage it"),
    "aux": ("workers.cli.inputs:inputs", "Find the auxiliary files that a product was made with; save or stage them"),
    "expand": ("workers.cli.expand:expand", "Expand one archive, or only look at it"),
    "audit": ("workers.cli.audit:audit", "Compare a collection of the catalog with the store"),
    "sweep": ("workers.cli.sweeps:sweep", "Run one sweep now"),
    "replay": ("workers.cli.sweeps:replay", "Search again what was published between two dates"),
    "sweeps": ("workers.cli.sweeps:sweeps", "List the sweeps: their last runs and next times"),
    "doctor": ("workers.cli.doctor:doctor", "Ask each system whether it can be used, and say what to do"),
    "queues": ("workers.cli.queues:queues", "Show what waits on each queue, and who reads it"),
    "config": ("workers.cli.config:config", "Show the settings in force, and where each comes from"),
    "runs": ("workers.cli.records:runs", "List the newest runs"),
    "show": ("workers.cli.records:show", "Show a run and each of its items"),
    "retry": ("workers.cli.dead:retry", "Do the items of a run again that failed"),
    "cancel": ("workers.cli.control:cancel", "Begin nothing new of a run"),
    "reconcile": ("workers.cli.control:reconcile", "Put lost steps on their queues again"),
    "dead": ("workers.cli.dead:dead", "List, show, replay and drop dead letters"),
    "collection": ("workers.cli.collections:collection", "Create a collection of the catalog"),
    "gate": ("workers.cli.gate:gate", "Turn requests on the intake into tasks"),
    "exporter": ("workers.cli.exporter:exporter", "Serve metrics for Prometheus"),
    "contract": ("workers.cli.records:contract", "Print the JSON Schema of what callers send"),
}


class _Commands(click.Group):
    """A group that knows its commands' names and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table is ours
        command.epilog = epilog(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        for group, names in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name, COMMANDS[name][1]) for name in names])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=epilog(""))
@click.version_option(package_name="auxip-workers")
def auxip() -> None:
    """Stage Copernicus auxiliary data into S3 and a STAC catalog, with Celery workers."""


def run() -> int:
    """Run the command line and give its status: 0 (done), 1 (failed), 2 (wrong usage), 3 (archive refused)."""
    as_json = "--json" in sys.argv[1:]
    try:
        return int(auxip.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        if as_json:
            print_json(error_json("bad-usage", error.format_message()))
        return error.exit_code
    except click.Abort:
        click.echo("auxip: interrupted", err=True)
        return _INTERRUPTED
    except (Exception, SystemExit) as error:
        known = _known(error)
        if known is None:
            if as_json and isinstance(error, Exception):
                print_json(error_json("internal-error", f"{type(error).__name__}: {error}"))
            raise
        print_error(known.code, known.reason, as_json)
        return _USAGE if known.code in _WRONG_USAGE else 1


def _known(error: BaseException) -> AuxipError | None:
    """Return an error with its code and its sentence, or None where it is a fault of ours, or a mere status."""
    match error:
        case AuxipError():
            return error
        case ModuleNotFoundError():
            reason = f"no module {error.name}; `auxip demo` and `auxip up` need requirements/demo.txt"
            return AuxipError("local-stack", reason)
        case SystemExit(code=str()):  # what the Celery application says of its settings
            code, _, reason = str(error.code).removeprefix("auxip: ").partition(": ")
            return AuxipError(code, reason)
        case Exception():
            return _fault_of_redis(error)
        case _:
            return None


def _fault_of_redis(error: Exception) -> AuxipError | None:
    """Return what is wrong with Redis where a connection to it was lost on the way, or None."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    if not isinstance(error, RedisError | OperationalError):
        return None
    from workers.cli.connecting import checked_settings

    try:
        checked_settings()
    except AuxipError as fault:
        return fault
    return Retryable("redis-unavailable", f"the connection to Redis was lost: {error}; run the command again")
