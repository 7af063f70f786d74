"""A run of two thousand items is fed to the workers a window at a time: it holds up no other, and may be cancelled."""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from local import samples
from local.stac.store import Json, Store
from local.stack import Stack
from shared.context import Context
from shared.models import RunState
from tests.integration.conftest import Caller, of_type, wait_for
from tests.integration.test_commands import auxip

pytestmark = pytest.mark.long

GIANT, SMALL = 2000, 3
SLOW = 0.2
"""Seconds before each transfer begins: with twelve at once the giant run takes at least half a minute."""


def item(product_type: str, number: int, base_url: str, uuid_: str, content: bytes) -> Json:
    name = f"S1A_{product_type}_{number:06}"
    instant = "2024-03-25T00:00:00.000Z"
    asset: Json = {
        "href": f"{base_url}/Products({uuid_})/$value",
        "file:size": len(content),
        "file:checksum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": samples.STATION_COLLECTION,
        "geometry": None,
        "properties": {
            **dict.fromkeys(("datetime", "start_datetime", "created"), instant),
            "end_datetime": "9999-12-31T23:59:59Z",
            "product:type": product_type,
        },
        "assets": {f"{name}.EOF": asset},
        "links": [],
    }


@pytest.fixture
def offered(stack: Stack) -> Iterator[dict[int, str]]:
    """Product types of which the station has so many items, each of one slow asset; by that number."""
    content = b"the same for all"
    types = {count: f"FAIR_{count}_{uuid.uuid4().hex[:8].upper()}" for count in (GIANT, SMALL)}
    uuid_ = str(uuid5(NAMESPACE_URL, types[GIANT]))
    file = stack.folder / "products" / uuid_
    file.write_bytes(content)
    stack.set_station_faults([{"path": uuid_, "delay": SLOW}])
    with closing(Store(stack.folder / "station.sqlite")) as store:
        items = [
            item(name, number, stack.station_url, uuid_, content)
            for count, name in types.items()
            for number in range(count)
        ]
        store.add_items(samples.STATION_COLLECTION, items)
        yield types
        for each in items:
            store.delete_item(samples.STATION_COLLECTION, str(each["id"]))
    file.unlink()


@pytest.mark.timeout(240)
def test_a_small_run_ends_while_most_of_a_giant_one_is_undone(
    caller: Caller, context: Context, offered: dict[int, str]
) -> None:
    giant = caller.stage(of_type(offered[GIANT]))
    try:
        wait_for(lambda: _finished(context, giant.id) > 0, "the giant run is at work")
        small = caller.stage(of_type(offered[SMALL]))
        small.get(200)
        finished = _finished(context, giant.id)
    finally:
        auxip("cancel", giant.id)

    assert context.ledger.run(small.id).counts.staged == SMALL
    assert finished < GIANT / 2


@pytest.mark.timeout(240)
def test_a_run_that_is_cancelled_begins_nothing_new_and_keeps_what_was_done(
    caller: Caller, context: Context, offered: dict[int, str]
) -> None:
    giant = caller.stage(of_type(offered[GIANT]))
    wait_for(lambda: _finished(context, giant.id) >= SMALL, "some of it is done")
    told = json.loads(auxip("cancel", giant.id, "--json").stdout)
    result: Any = giant.get(200)
    status, collection = result

    run = context.ledger.run(giant.id)
    cancelled = [record for record in context.ledger.items(giant.id) if record.code == "cancelled"]
    assert told == {"run": giant.id, "cancelled": True}
    assert (status, run.state, run.counts.failed) == (False, RunState.CANCELLED, 0)
    assert run.counts.staged + len(cancelled) == run.counts.items == GIANT
    assert run.counts.staged < GIANT / 2
    assert {record.staged for record in cancelled if record.claimed is None} == {None}
    assert SMALL <= len(collection["features"]) < GIANT / 2


def test_a_run_is_cancelled_once(caller: Caller, context: Context, offered: dict[int, str]) -> None:
    small = caller.stage(of_type(offered[SMALL]))
    small.get(60)
    refused = auxip("cancel", small.id)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"auxip: not-cancelled: the run {small.id} was closed already (auxip show {small.id})\n",
    )


def _finished(context: Context, run_id: str) -> int:
    known = context.ledger.redis.exists(f"auxip:run:{run_id}")
    return context.ledger.run(run_id).counts.finished if known else 0
