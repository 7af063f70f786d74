"""`auxip doctor`: whether everything that a deployment needs can be used, in a line each, with what to do."""

from contextlib import closing
from dataclasses import asdict

import click

from shared.checkup import Checked, check_up
from shared.context import Context
from shared.json_types import Json
from shared.settings import load_settings
from shared.texts import printable
from workers.cli.printing import print_json
from workers.cli.tables import mark_of


@click.command()
@click.option("--collection", default="aux", show_default=True, help="of the catalog, that must be there")
@click.option("--product-type", default="OPER_AUX_RESORB_OPOD", show_default=True, help="that stations are asked for")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def doctor(collection: str, product_type: str, as_json: bool) -> None:
    """Ask Redis, each station, the catalog, S3 and the workers one question, and say what to do where one is wrong.

    A station's request is shown as a line for a shell, with variables in place of the credentials. An object is written
    to the default owner's place in S3, and deleted.

    The status is 0 if all can be used, and 1 if one cannot.
    """
    results: list[Checked] = []
    with closing(Context(load_settings())) as context:
        for result in check_up(context, collection, product_type):
            results.append(result)
            if not as_json:
                _print(result)
    results.append(_workers(redis_answers=results[0].verdict != "failed"))
    if as_json:
        systems: list[Json] = [{**asdict(result)} for result in results]
        print_json({"well": _is_well(results), "systems": [*systems]})
    else:
        _print(results[-1])
    raise SystemExit(0 if _is_well(results) else 1)


def _is_well(results: list[Checked]) -> bool:
    return all(result.verdict in ("ok", "warning") for result in results)


def _workers(redis_answers: bool) -> Checked:
    if not redis_answers:
        return Checked("workers", "skipped", "not asked: they are asked through Redis", todo="mend Redis first")
    from workers.cli.queues import readers
    from workers.queues import QUEUES

    found = readers()
    unread = [name for queue in QUEUES for name in queue.lists if not found.get(name)]
    if not unread:
        return Checked("workers", "ok", "every list of the queues is read")
    todo = f"start one: celery -A workers.app:app worker --queues {','.join(unread)}"
    return Checked("workers", "failed", f"no worker reads {', '.join(unread)}", "workers-silent", todo)


def _print(result: Checked) -> None:
    colour = {"ok": "green", "failed": "red"}.get(result.verdict, "yellow")
    code = f"{result.code}: " if result.code else ""
    todo = f"; {result.todo}" if result.todo else ""
    click.secho(printable(f"{mark_of(result.verdict)} {result.system}: {code}{result.said}{todo}"), fg=colour)
    if result.request:
        click.echo(f"  {printable(result.request)}")
