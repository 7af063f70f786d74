"""The page of a run in the store and from the command line, and the runs that leave none."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from shared.context import Context
from shared.errors import Rejected
from shared.models import ItemState, Lane, Run, RunRequest, RunState
from shared.runs.close import close
from shared.selection import Given
from shared.stac.item import Found
from shared.storage.keys import Place, run_location
from shared.storage.location import Location, Stored
from tests.integration.many import OWNER, catalog_of_all, shown
from tests.unit.making import item_of
from workers.cli.main import auxip

NAMES = ("report.json", "report.html", "auxiliary-files.json")


@pytest.fixture
def many(context: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A context whose catalog has every item, also for the commands."""
    with closing(Context(context.settings)) as made:
        catalog_of_all(made)
        monkeypatch.setattr("workers.cli.records.connected", lambda: made)
        yield made


def worked_off(context: Context, *states: ItemState, label: str = "") -> Run:
    """Record a run whose items ended so."""
    run_id = str(uuid.uuid4())
    request = RunRequest(owner=OWNER, collection="aux", label=label, lane=Lane.BULK, selection=Given(item_id="item-0"))
    context.ledger.open_run(run_id, request)
    found = [Found(item_id=f"item-{number}", item=item_of(f"item-{number}")) for number in range(len(states))]
    context.ledger.add_items(run_id, found)
    counts: dict[Any, Any] = {}
    for key, state in zip(context.ledger.keys(run_id), states, strict=True):
        ended: dict[Any, Any] = {"state": state.value, "claimed": "1.0", "finished": "3.0"}
        ended |= {"intact": "1", "code": "already-staged"} if state is ItemState.SKIPPED else {}
        ended |= {"catalogued": "2.0"} if state is ItemState.CATALOGUED else {}
        ended |= {"code": "size-mismatch"} if state is ItemState.FAILED else {}
        context.ledger.redis.hset(f"auxip:run:{run_id}:item:{key}", mapping=ended)
        counter = {ItemState.CATALOGUED: "staged"}.get(state, state.value)
        counts[counter] = counts.get(counter, 0) + 1
    if counts:
        context.ledger.redis.hset(f"auxip:run:{run_id}", mapping=counts)
    return context.ledger.run(run_id)


def objects(context: Context, run: Run) -> list[Stored]:
    place = Place(context.settings.s3_bucket, context.settings.s3_prefix)
    return [*context.store.list(run_location(place, run.id, ""))]


def names(context: Context, run: Run) -> set[str]:
    return {stored.key.rpartition("/")[2] for stored in objects(context, run)}


# Runs that leave no report


@pytest.mark.parametrize("states", [(), (ItemState.SKIPPED, ItemState.SKIPPED)])
def test_a_sweep_that_found_nothing_new_writes_nothing(many: Context, states: tuple[ItemState, ...]) -> None:
    run = worked_off(many, *states, label="sweep orbits")
    result = close(many, run)

    assert objects(many, run) == []
    closed = many.ledger.run(run.id)
    assert (closed.state, closed.artifact) == (RunState.SUCCESSFUL, "")
    assert isinstance(result, list)
    items = [shown(f"item-{number}") for number in range(len(states))]
    assert result == [True, {"type": "FeatureCollection", "features": items} if items else None]
    assert close(many, closed) == result


@pytest.mark.parametrize("state", [ItemState.CATALOGUED, ItemState.FAILED, ItemState.REPAIRED])
def test_a_sweep_that_did_anything_has_its_report(many: Context, state: ItemState) -> None:
    run = worked_off(many, ItemState.SKIPPED, state, label="sweep orbits")
    close(many, run)
    assert {"report.json", "report.html"} <= names(many, run)


def test_a_request_that_found_nothing_new_has_its_report(many: Context) -> None:
    run = worked_off(many, ItemState.SKIPPED)
    close(many, run)
    assert names(many, run) == {*NAMES}


def test_a_sweep_that_was_cancelled_has_its_report(many: Context) -> None:
    run = worked_off(many, label="sweep orbits")
    many.ledger.cancel_run(run.id)
    close(many, many.ledger.run(run.id))
    assert "report.html" in names(many, run)


# The page


def test_the_page_in_the_store_has_links_into_the_catalog_and_the_files(many: Context) -> None:
    run = worked_off(many, ItemState.CATALOGUED, ItemState.FAILED)
    close(many, run)
    place = Place(many.settings.s3_bucket, many.settings.s3_prefix)
    page = (many.store.get(run_location(place, run.id, "report.html"), 2**20) or b"").decode()

    assert f'<a href="{many.settings.catalog_url}/collections/aux/items/item-0">item-0</a>' in page
    assert json.dumps(shown("item-0")["assets"]).split('"href": "')[1].split('"')[0] in page
    assert f"auxip dead replay --where {run.id} --code size-mismatch" in page


# From the command line


def show(run: Run, *options: str) -> str:
    result = CliRunner().invoke(auxip, ["show", run.id, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_page_of_a_run_that_has_ended_is_the_one_in_the_store(many: Context, tmp_path: Path) -> None:
    run = worked_off(many, ItemState.CATALOGUED)
    close(many, run)
    place = Place(many.settings.s3_bucket, many.settings.s3_prefix)
    file = tmp_path / "page.html"

    assert show(run, "--html", str(file)) == f"page: {file}\n"
    assert file.read_bytes() == many.store.get(run_location(place, run.id, "report.html"), 2**20)


def test_the_page_of_a_run_that_goes_on_or_has_no_report_is_made_from_the_ledger(many: Context, tmp_path: Path) -> None:
    going_on = worked_off(many, ItemState.FOUND, ItemState.FAILED)
    routine = worked_off(many, ItemState.SKIPPED, label="sweep orbits")
    close(many, routine)
    deleted = worked_off(many, ItemState.CATALOGUED)
    close(many, deleted)
    for stored in objects(many, deleted):
        many.store.delete(Location(many.settings.s3_bucket, stored.key))

    for run, sentence in ((going_on, "The run goes on"), (routine, "1 skipped"), (deleted, "1 staged")):
        file = tmp_path / f"{run.id}.html"
        show(run, "--html", str(file))
        assert sentence in file.read_text()


def test_the_page_is_opened_in_the_browser(many: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    run, opened = worked_off(many, ItemState.FOUND), list[str]()

    def launch(url: str) -> int:
        opened.append(url)
        return 0

    monkeypatch.setattr(click, "launch", launch)
    file = Path(show(run, "--open").removeprefix("page: ").strip())

    assert opened == [file.as_uri()]
    assert run.id in file.read_text()


def test_a_program_is_told_where_the_page_is(many: Context, tmp_path: Path) -> None:
    run, file = worked_off(many, ItemState.FOUND), tmp_path / "page.html"
    assert json.loads(show(run, "--json", "--html", str(file))) == {"run": run.id, "page": str(file)}


def test_without_a_browser_the_command_says_which_file_to_open(many: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    run = worked_off(many, ItemState.FOUND)
    monkeypatch.setattr(click, "launch", lambda _: 1)
    result = CliRunner().invoke(auxip, ["show", run.id, "--open"])
    assert result.exit_code == 1
    assert "no browser could be opened; open /" in result.stderr


def test_a_folder_that_is_not_there_is_refused(many: Context, tmp_path: Path) -> None:
    run = worked_off(many, ItemState.FOUND)
    result = CliRunner().invoke(auxip, ["show", run.id, "--html", str(tmp_path / "none" / "page.html")])
    assert isinstance(result.exception, Rejected)
    assert result.exception.code == "bad-folder"
