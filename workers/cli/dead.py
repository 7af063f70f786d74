"""`auxip dead`: what could not be done, whole, to look at, to do again or to forget."""

import base64
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import click

from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.ledger import DeadLetters, Letter
from shared.times import format_instant
from workers.cli.connecting import connected
from workers.cli.output import print_letters
from workers.cli.printing import print_json

_SHOWN_BYTES = 2000


@click.group(invoke_without_command=True)
@click.pass_context
def dead(context: click.Context) -> None:
    """Look at the dead letters: messages that no worker can read, requests that are refused, items that failed."""
    if context.invoked_subcommand is None:
        context.invoke(list_letters)


@dead.command("list")
@click.option("--newest", default=20, show_default=True, help="how many")
@click.option("--before", default="", help="only those older than this one: the last of the page before")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def list_letters(newest: int, before: str, as_json: bool) -> None:
    """List the dead letters, newest first."""
    letters = _letters()
    page, count = letters.page(before, newest), letters.count()
    if as_json:
        print_json({"letters": [_json(letter) for letter in page], "count": count})
        return
    print_letters(page)
    click.echo(f"{len(page)} of {count} dead letters")


@dead.command()
@click.argument("letter")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object; the payload is in base64")
def show(letter: str, as_json: bool) -> None:
    """Show one dead letter with its payload. LETTER is its id, or the beginning of it."""
    letters = _letters()
    found = letters.letter(letters.find(letter))
    payload = letters.payload(found.id)
    if as_json:
        print_json({**_json(found), "payload": base64.b64encode(payload).decode()})
        return
    print_letters([found])
    click.echo(_printable(payload[:_SHOWN_BYTES]))
    if len(payload) > _SHOWN_BYTES:
        click.echo(f"... and {len(payload) - _SHOWN_BYTES} bytes more (--json has them)")


def _of_letters(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take letters by their ids, or by what they have in common."""
    for add in (
        click.option("--json", "as_json", is_flag=True, help="print one JSON object"),
        click.option("--where", default="", help="all that were found on this queue or list, or are of this run"),
        click.option("--code", default="", help="all that have this code"),
        click.option("--kind", default="", help="all that are of this kind: message, request or item"),
        click.argument("letters", nargs=-1),
    ):
        command = add(command)
    return command


@dead.command()
@_of_letters
def replay(letters: tuple[str, ...], kind: str, code: str, where: str, as_json: bool) -> None:
    """Do dead letters again: those named, or all that the options describe.

    A message or a request goes back to the queue that it came from; for an item a new run is begun.
    """
    context = connected()
    _replay(context, list(_chosen(context, letters, kind, code, where)), as_json)


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def retry(run: str, as_json: bool) -> None:
    """Do the items again that failed in a run. RUN is its id, or the beginning of it.

    What failed has dead letters. `auxip dead replay` does the same for those that its options describe.
    """
    context = connected()
    found = context.ledger.find_run(run)
    _replay(context, [letter.id for letter in context.dead_letters.letters("item", where=found.id)], as_json)


def _replay(context: Context, letters: Sequence[str], as_json: bool) -> None:
    """Do letters again, print what became of each, and exit with 1 where one cannot be done again."""
    replayed: list[Json] = []
    refused: list[Json] = []
    for letter in letters:
        try:
            replayed.append(_replayed(context, letter))
            said = "  ".join(map(str, replayed[-1].values()))
        except Rejected as error:  # it stays where it is, and the others are done
            refused.append({"id": letter, "code": error.code, "reason": error.reason})
            said = f"{letter}  {error}"
        if not as_json:
            click.echo(said)
    if as_json:
        print_json({"replayed": [*replayed], "refused": [*refused]})
    else:
        click.echo(f"{len(replayed)} dead letters are on their way again")
    if refused:
        raise SystemExit(1)


@dead.command()
@_of_letters
def drop(letters: tuple[str, ...], kind: str, code: str, where: str, as_json: bool) -> None:
    """Forget dead letters for good: those named, or all that the options describe."""
    context = connected()
    chosen = list(_chosen(context, letters, kind, code, where))
    for letter in chosen:
        context.dead_letters.drop(letter)
    if as_json:
        print_json({"dropped": [*chosen]})
    else:
        click.echo(f"{len(chosen)} dead letters are forgotten")


def _chosen(context: Context, named: tuple[str, ...], kind: str, code: str, where: str) -> Iterator[str]:
    if bool(named) == bool(kind or code or where):
        raise click.UsageError("give the letters' ids, or options that describe them")
    letters = context.dead_letters
    if named:
        yield from map(letters.find, named)
        return
    place = _place(context, where)
    # No more than there are now: what is replayed may come back at once.
    for letter in islice(letters.letters(kind, code, place), letters.count()):
        yield letter.id


def _place(context: Context, where: str) -> str:
    """Return the name of a list as it is, and the whole id of a run that is given by its beginning."""
    if not where or next(context.dead_letters.letters(where=where), None) is not None:
        return where
    try:
        return context.ledger.find_run(where).id
    except Rejected as error:
        if error.code != "unknown-run":
            raise
        return where


def _replayed(context: Context, letter: str) -> Json:
    if context.dead_letters.letter(letter).kind != "item":
        return {"id": letter, "where": context.dead_letters.replay(letter)}
    from workers.replays import replay_item  # Celery takes half a second to import: not for `--help`

    return {"id": letter, "run": replay_item(context, letter)}


def _letters() -> DeadLetters:
    return connected().dead_letters


def _json(letter: Letter) -> Json:
    due = None if letter.due is None else format_instant(datetime.fromtimestamp(letter.due, UTC))
    parked = format_instant(datetime.fromtimestamp(letter.parked, UTC))
    return {**letter.model_dump(mode="json"), "parked": parked, "due": due}


def _printable(payload: bytes) -> str:
    text = payload.decode(errors="backslashreplace")
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)
