"""Items that are published together, with pgSTAC as the catalog."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from shared.context import Context
from shared.errors import AuxipError
from shared.models import ItemState, RunRequest, StagedAsset
from shared.selection import Given
from shared.stac.item import Found, Item
from shared.steps.batch import publish_with_others
from shared.storage.keys import Place, asset_location
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac

OWNER = "peers"
ITEMS = 20
CPU_MS = 5.0
"""Of pgSTAC for one item, the reading before it is staged included; alone it takes 38."""

_CONTENT = b"orbit"


class Staged:
    """A run whose items are staged; no station has offered them."""

    def __init__(self, context: Context, collection: str, *changes: dict[str, Any], count: int = ITEMS) -> None:
        self._context, self._ledger, self.id = context, context.ledger, str(uuid.uuid4())
        request = RunRequest(owner=OWNER, collection=collection, selection=Given(item_id="X"), decompress=False)
        self._ledger.open_run(self.id, request)
        offered = [_item(number, *changes[number : number + 1]) for number in range(count)]
        self._ledger.add_items(self.id, [Found(item_id=item.id, item=item) for item in offered])
        self._ledger.begin_work(self.id)
        self.keys = self._ledger.feed(self.id)
        for key, item in zip(self.keys, offered, strict=True):
            self._stage(key, collection, item)

    def _stage(self, key: str, collection: str, item: Item) -> None:
        place = Place(self._context.settings.s3_bucket, self._context.settings.s3_prefix)
        with self._ledger.claim(self.id, key, 60) as (_, record):
            for name in item.assets:
                target = asset_location(place, OWNER, collection, item.id.replace(":", "-"), name)
                written = self._context.store.put(target, _CONTENT)
                asset = StagedAsset(
                    href=target.href, size=written.size, checksum=written.checksum.multihash, etag=written.etag
                )
                self._ledger.record_asset(record, name, asset)
            self._ledger.reach(record, ItemState.STAGED)
            self._ledger.next(record)

    def publish(self, number: int = 0) -> str:
        """Do what the message of an item has done, and return the code that it fails with."""
        with self._ledger.claim(self.id, self.keys[number], 60) as (run, record):
            try:
                publish_with_others(self._context, run, record)
            except AuxipError as error:
                return error.code
            finally:
                self._ledger.next(record)
        return ""

    def left(self) -> list[int]:
        """The numbers of the items that are not published."""
        records = [self._ledger.item(self.id, key) for key in self.keys]
        return [number for number, record in enumerate(records) if record.state is not ItemState.CATALOGUED]


def _item(number: int, changes: dict[str, Any] | None = None) -> Item:
    item_id, changes = f"S1A_OPER_AUX_BATCH_{number:05}", changes or {}
    properties = {
        "datetime": "2024-03-25T00:00:00Z",
        "start_datetime": "2024-03-25T00:00:00Z",
        "end_datetime": "2024-03-26T00:00:00Z",
        "product:type": "AUX_BATCH",
        "platform": "sentinel-1a",
    }
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item_id,
        "geometry": None,
        "properties": {**properties, **changes.get("properties", {})},
        "assets": {f"{item_id}.EOF": {"href": "https://station.example/x", "file:size": len(_CONTENT)}},
        "links": [],
        **{name: value for name, value in changes.items() if name != "properties"},
    }
    return Item.model_validate(item)


@pytest.fixture
def stage(on_pgstac: Deployment, collection: str) -> Iterator[Callable[..., Staged]]:
    """Stages the items of a run, the first ones with changes."""
    with closing(on_pgstac.context_with(run_window=200)) as context:

        def make(*changes: dict[str, Any], count: int = ITEMS) -> Staged:
            return Staged(context, collection, *changes, count=count)

        yield make


def test_a_hundred_items_are_published_by_three_requests(
    stage: Callable[..., Staged], pgstac: PgStac, collection: str
) -> None:
    staged, before = stage(count=100), len(pgstac.requests())
    staged.publish()

    bulk = f"POST /collections/{collection}/bulk_items 200"
    asked = [request for request in pgstac.requests()[before:] if request != "GET / 200"]  # once: what kind it is
    assert asked == ["POST /search 200", bulk, "POST /search 200"]
    assert staged.left() == []
    assert len(pgstac.items(collection)) == 100


@pytest.mark.long
def test_an_item_costs_pgstac_little_time(stage: Callable[..., Staged], pgstac: PgStac) -> None:
    staged = stage(count=200)
    before = pgstac.cpu_seconds()
    staged.publish(0)
    staged.publish(staged.left()[0])

    assert staged.left() == []
    assert 1000 * (pgstac.cpu_seconds() - before) / 200 < CPU_MS


@pytest.mark.parametrize(
    "bad",
    [
        {"properties": {"start_datetime": "2024-03-27T00:00:00Z"}},
        {"properties": {"description": "a\0b"}},
    ],
    ids=["its end is before its start", "a text has a NUL"],
)
def test_items_that_the_database_refuses_fail_alone(
    stage: Callable[..., Staged], pgstac: PgStac, collection: str, bad: dict[str, Any]
) -> None:
    staged = stage({}, {}, bad, {}, {}, {}, {}, {**bad})
    staged.publish()
    assert staged.left() == [2, 7]

    assert [staged.publish(number).partition("-")[0] for number in (2, 7)] == ["catalog", "catalog"]
    assert len(pgstac.items(collection)) == ITEMS - 2


def test_an_item_that_pgstac_leaves_out_without_an_error_is_found_out(stage: Callable[..., Staged]) -> None:
    staged = stage({}, {"id": "S1A:1"})
    assert staged.publish() == ""
    assert staged.left() == [1]


def test_an_item_that_pgstac_has_by_now_is_not_overwritten(
    stage: Callable[..., Staged],
    on_pgstac: Deployment,
    pgstac: PgStac,
    collection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from shared.stac.many import ManyItems

    staged, write = stage(), ManyItems.write

    def after_another(self: ManyItems, items: list[Item], still_ours: Any) -> None:
        foreign = {
            **items[3].to_json(),
            "collection": collection,
            "assets": {"quicklook": {"href": "s3://elsewhere/q"}},
        }
        pgstac.add_items(collection, [foreign])
        write(self, items, still_ours)

    monkeypatch.setattr(ManyItems, "write", after_another)
    staged.publish()
    assert len(staged.left()) == 1
    monkeypatch.undo()

    (number,) = staged.left()
    assert staged.publish(number) == ""
    assert "quicklook" in pgstac.item(collection, f"S1A_OPER_AUX_BATCH_{number:05}")["assets"]
