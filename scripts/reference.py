"""Writes the pages of `docs/reference` that say what the code says: `python -m scripts.reference`.

Run it after a change of a setting, a code, a task, a command or a metric. A test compares the pages with the code.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from inspect import cleandoc
from itertools import groupby
from pathlib import Path
from typing import Final

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.codes import ADVICE
from shared.settings import PREFIX, Settings
from workers.cli.examples import GROUPS
from workers.cli.main import auxip
from workers.contract import MESSAGES
from workers.queues import QUEUES, Queue
from workers.telemetry.bounded import MOST, OTHER
from workers.telemetry.exporter import COUNTERS, GAUGES, HISTOGRAMS

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
_NOTE: Final = "<!-- Written by `python -m scripts.reference`. Change the code, and run it again. -->"
_GROUPS: Final = {
    "redis_": "Redis",
    "station": "Stations",
    "catalog_": "Catalog",
    "s3_": "S3",
    "staging_": "Staging service",
    "archive_": "Archives",
}
_LONG: Final = 40
"""From this length on, the names of all choices do not fit into a cell of a table."""
_OTHERS: Final = "Runs, files and limits"


def settings_page() -> str:
    """Return the page of the settings: a table for each group, in the order of `Settings`."""
    names = sorted(Settings.model_fields, key=lambda name: [*_GROUPS.values(), _OTHERS].index(_group(name)))
    parts = [
        "Each process reads its settings from the environment when it starts. A secret can be in a file instead,\n"
        "named like its variable in lower case, below `/run/secrets` or `AUXIP_SECRETS_DIR`. Sizes are in bytes and\n"
        "times in seconds. `auxip config` shows the settings that are in force."
    ]
    for group, members in groupby(names, _group):
        parts += [f"## {group}", _table("setting | default | what it is", map(_setting, members))]
    return _page("Settings", parts)


def _group(name: str) -> str:
    if name == "stations_file":
        return "Stations"
    return next((group for prefix, group in _GROUPS.items() if name.startswith(prefix)), _OTHERS)


def _setting(name: str) -> str:
    field = Settings.model_fields[name]
    given = f"`{field.default}`{_in_units(field.default)}" if field.default not in (None, "", []) else ""
    default = "required" if field.is_required() else given
    return f"`{PREFIX}{name.upper()}` | {default} | {field.description}"


def _in_units(default: object) -> str:
    """Return a number of bytes as people write it; an empty text for any other default."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if isinstance(default, int) and default >= size and default % size == 0:
            return f" ({default // size} {unit})"
    return ""


def codes_page() -> str:
    """Return the page of the codes, in the order of their table; codes with the same advice share a row."""
    rows = (
        f"{', '.join(f'`{code}`' for code, _ in codes)} | {advice}"
        for advice, codes in groupby(ADVICE.items(), lambda each: each[1])
    )
    return _page(
        "Error codes",
        [
            "Each failure of a request, a run or an item has one of these codes. A code never changes its meaning.\n"
            "The reason beside it says what happened, and to which object.",
            _table("code | what to do", rows),
        ],
    )


def tasks_page() -> str:
    """Return the page of the tasks that callers may send, with their arguments, and of the queues."""
    parts = [
        "A caller sends these tasks: see [call it from your system](../howto/call.md).\n"
        "[Results of the tasks](results.md) says what each returns. Unknown arguments are refused, and values are not\n"
        "converted."
    ]
    for task, message in MESSAGES.items():
        rows = (_argument(name, field) for name, field in message.model_fields.items())
        parts += [f"## {task}", _docstring(task, message), _table("argument | default | what it is", rows)]
    parts += [
        "## Queues",
        "Each queue has two lists, one for each lane: `NAME` and `NAME.bulk`. A task goes to the queue of its row.",
        _table("queue | tasks for callers | processes of a worker | what limits it", map(_queue, QUEUES)),
    ]
    return _page("Tasks and queues", parts)


def _docstring(task: str, message: type[BaseModel]) -> str:
    """Return what a message says about itself, without the name of its task, which is the heading."""
    text = cleandoc(message.__doc__ or "").removeprefix(f"`{task}`: ")
    return text[:1].upper() + text[1:]


def _argument(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
    text = (field.description or "").removesuffix(".")
    return f"`{name}` | {default} | {text[:1].lower() if text[1:2].islower() else text[:1]}{text[1:]}"


def _queue(queue: Queue) -> str:
    public = ", ".join(f"`{task}`" for task in queue.tasks if task in MESSAGES)
    return f"`{queue.name}` | {public} | {queue.concurrency} | {queue.bound_by}"


def metrics_page() -> str:
    """Return the page of the metrics of `auxip exporter`."""
    counters = {f"{name}_total": facts for name, facts in COUNTERS.items()}
    histograms = {name: facts[:2] for name, facts in HISTOGRAMS.items()}
    rows = (
        f"`auxip_{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {meaning}"
        for kind, metrics in (("gauge", GAUGES), ("counter", counters), ("histogram", histograms))
        for name, (meaning, labels) in metrics.items()
    )
    return _page(
        "Metrics",
        [
            "`auxip exporter` serves metrics for Prometheus at port 9808, `/metrics`. One exporter is enough for a\n"
            "deployment; docker-compose.yml and the chart run it. It reads the broker and the ledger when it is\n"
            "scraped, and asks no worker. An item or a run is counted once, when the ledger finishes it.",
            _table("metric | kind | labels | what it is", rows),
            "At most 20,000 combinations of labels are kept, since product types and codes may come from outside.\n"
            "`auxip_counts_left_out_total` counts the others.\n\n"
            f"A gauge with the label `code`, `sweep` or `audit` has at most {MOST} series, and one more with the\n"
            f"value `{OTHER}`: the sum of the others, or the greatest if it is a time. Sweeps and audits are those of\n"
            "`AUXIP_SWEEPS_FILE`, which the exporter reads when it starts.",
        ],
    )


def cli_page() -> str:
    """Return the page of the command line: each command with its usage and its options."""
    parts = [
        "`auxip --help` lists the commands, and `auxip COMMAND --help` shows the options of one, with examples.\n"
        "`--json` prints one JSON object last, even if the command fails. The exit statuses are in\n"
        "[what failed?](../howto/failures.md#exit-status-of-the-commands)."
    ]
    for group, names in GROUPS.items():
        parts += [f"## {group}", *_commands("auxip", auxip, names)]
    return _page("Command line", parts)


def _commands(prefix: str, group: click.Group, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        command = group.get_command(click.Context(group, info_name=prefix), name)
        if command is not None:
            yield from _command(f"{prefix} {name}", command)


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"### {name}"
    yield f"```text\n{name} {usage}\n```"
    yield cleandoc(command.help or "").replace("\b\n", "")
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if options:
        yield _table("option | default | what it is", (_option(each, context) for each in options))
    if isinstance(command, click.Group):
        yield from _commands(name, command, command.list_commands(context))


def _option(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag or option.count else option.make_metavar(context).strip("[]").replace("|", "/")
    names = f"{', '.join((*option.opts, *option.secondary_opts))} {value if len(value) < _LONG else 'NAME'}".strip()
    given = option.get_default(context, call=False)
    shown = option.show_default and isinstance(given, str | int | float) and not isinstance(given, bool)
    text = (option.help or "").replace("|", r"\|")
    return f"`{names}` | {f'`{given}`' if shown else ''} | {text}"


def _page(title: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", _NOTE, *parts]) + "\n"


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join([f"| {head} |", f"|{'---|' * (head.count('|') + 1)}", *(f"| {row} |" for row in rows)])


PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "codes.md": codes_page,
    "tasks.md": tasks_page,
    "metrics.md": metrics_page,
    "cli.md": cli_page,
}
"""Each page that is generated, and what writes it."""


def outdated() -> Iterator[str]:
    """Yield the names of the pages that differ from the code."""
    for name, page in PAGES.items():
        file = FOLDER / name
        if not file.exists() or file.read_text("utf-8") != page():
            yield name


def main() -> None:
    """Write the pages that differ."""
    for name in [*outdated()]:
        (FOLDER / name).write_text(PAGES[name](), "utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
