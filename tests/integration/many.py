"""Runs of many items, for which nothing is staged: their records, and a catalog that shows them at once."""

import json
import uuid
from collections.abc import Callable, Iterable

import httpx

from shared.context import Context
from shared.json_types import Json
from shared.models import ItemState, Run, RunKind, RunRequest
from shared.selection import Given
from shared.stac.item import Found
from tests.unit.making import answered_by, item_json, item_of, sent

OWNER = "many"
TEXT = "x" * 3000
"""Makes an item as large as those of the stations, and a run of some thousand of them several parts of an upload."""


def new_id() -> str:
    return str(uuid.uuid4())


def offered(item_id: str) -> Json:
    """An item as a station offers it."""
    return item_json(item_id, links=[{"rel": "about", "href": "https://station.example", "title": TEXT[:1000]}])


def shown(item_id: str) -> Json:
    """An item as the catalog shows it."""
    return item_json(item_id, collection="aux", properties={"title": TEXT})


def opened(context: Context, kind: RunKind = RunKind.STAGING) -> str:
    """Open a run, and return its id."""
    run_id = new_id()
    request = RunRequest(kind=kind, owner=OWNER, collection="aux", selection=Given(item_id="item-0"))
    context.ledger.open_run(run_id, request)
    return run_id


def recorded(context: Context, count: int, failed: Iterable[int] = (), waiting: Iterable[int] = ()) -> Run:
    """Record a run whose items are all catalogued, but for some that have failed and some that nobody has begun."""
    run_id = opened(context)
    numbers = range(count)
    for start in range(0, count, 500):
        found = [Found(item_id=f"item-{number}", item=item_of()) for number in numbers[start : start + 500]]
        context.ledger.add_items(run_id, found)
    _write_ends(context, run_id, {*failed}, {*waiting})
    return context.ledger.run(run_id)


def _write_ends(context: Context, run_id: str, failed: set[int], waiting: set[int]) -> None:
    """Write how the items have ended straight into the ledger: by its steps it would take a millisecond for each."""
    good = ["state", ItemState.CATALOGUED.value, "catalogued", "2.0", "finished", "3.0"]
    bad = ["state", ItemState.FAILED.value, "code", "size-mismatch", "reason", "3 bytes", "finished", "3.0"]
    keys = context.ledger.keys(run_id)
    with context.ledger.redis.pipeline(transaction=False) as pipe:
        for number, key in enumerate(keys):
            if number not in waiting:
                pipe.hset(f"auxip:run:{run_id}:item:{key}", items=bad if number in failed else good)
        staged = len(keys) - len(failed) - len(waiting)
        pipe.hset(f"auxip:run:{run_id}", mapping={"staged": staged, "failed": len(failed)})
        pipe.execute()


def catalog_of_all(context: Context, before: Callable[[int], httpx.Response | None] = lambda _: None) -> None:
    """Let the catalog show every item that it is asked for.

    Args:
        context: whose catalog.
        before: called with the number of each search; what it returns is answered.
    """
    searches = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal searches
        if request.method == "GET":
            return httpx.Response(200, json={"links": []})  # of its landing page
        searches += 1
        ids = sent(request)["ids"]
        assert isinstance(ids, list)
        features = [shown(str(item_id)) for item_id in ids]
        body = json.dumps({"type": "FeatureCollection", "features": features}).encode()
        return before(searches) or httpx.Response(200, content=body)

    answered_by(context.catalog_of(OWNER).api, answer)
