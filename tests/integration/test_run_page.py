"""The page of a run in the store and from the command line, and the runs that leave none."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from shared.context import Context
from shared.models import ItemState, Lane, Run, RunRequest, RunState
from shared.runs.close import close
from shared.selection import Given
from shared.stac.item import Found
from shared.storage.keys import Place, run_location
from shared.storage.location import Stored
from tests.integration.many import OWNER, catalog_of_all, shown
from tests.unit.making import item_of

NAMES = ("report.json", "report.html", "auxiliary-files.json")


@pytest.fixture
def many(context: Context) -> Iterator[Context]:
    """A context whose catalog has every item."""
    with closing(Context(context.settings)) as made:
        catalog_of_all(made)
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
