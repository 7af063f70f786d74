"""The audit beside pgSTAC: its pages, its order of ids, and what it makes of an item."""

import uuid
from typing import Any

import pytest

from shared.audit import sources
from shared.audit.audit import Audit, Scope
from shared.audit.findings import Counts, Finding, Kind
from shared.storage.location import Location
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac

OWNER = "auditor"
SIGNS = ("", "-", ".", "_", "~", "é")


def audited(deployment: Deployment, collection: str, owner: str = OWNER) -> tuple[Counts, list[Finding]]:
    counts, found = Counts(), []
    with Audit(deployment.context, Scope(owner, collection), counts) as audit:
        position = audit.begin()
        while position.walk != "done":
            position, findings = audit.step(position)
            found += findings
    return counts, found


def item(place: Location, item_id: str, etag: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item_id,
        "properties": {"datetime": "2024-03-25T09:00:00Z", "owner": OWNER},
        "assets": {"x.EOF": {"href": place.href, "file:size": 1, "aux_staging:etag": etag}},
        "links": [],
    }


@pytest.fixture
def places(
    on_pgstac: Deployment, pgstac: PgStac, collection: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Location]:
    """Objects by the ids of their items, which pgSTAC gives on several pages."""
    monkeypatch.setattr(sources, "_PAGE", 7)
    monkeypatch.setattr(sources, "_IDS_AT_ONCE", 10)
    bucket = on_pgstac.context.settings.s3_bucket
    found, items = {}, []
    for item_id in (f"{letter}{number}{sign}" for letter in "aBc" for number in range(3) for sign in SIGNS):
        place = found[item_id] = Location(bucket, f"{OWNER}/{collection}/{item_id}/x.EOF")
        items.append(item(place, item_id, on_pgstac.context.store.put(place, b"x").etag))
    pgstac.add_items(collection, items)
    return found


def test_all_pages_of_pgstac_are_seen_and_none_twice(
    on_pgstac: Deployment, collection: str, places: dict[str, Location]
) -> None:
    counts, found = audited(on_pgstac, collection)
    assert (found, counts.items, counts.objects) == ([], len(places), len(places))


def test_each_item_is_read_once(
    on_pgstac: Deployment, pgstac: PgStac, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_PAGE", 7)
    ids = [f"S1A_OPER_AUX_RESORB_OPOD_{number:08}" for number in range(30)]
    bucket, store = on_pgstac.context.settings.s3_bucket, on_pgstac.context.store
    places = [Location(bucket, f"{OWNER}/{collection}/{item_id}/x.EOF") for item_id in ids]
    pgstac.add_items(
        collection, [item(each, name, store.put(each, b"x").etag) for name, each in zip(ids, places, strict=True)]
    )
    before = len(pgstac.requests())

    counts, found = audited(on_pgstac, collection)

    assert (found, counts.items) == ([], 30)
    assert pgstac.requests()[before:].count("POST /search 200") == 5


def test_each_damage_is_found_beside_pgstac(
    on_pgstac: Deployment, pgstac: PgStac, collection: str, places: dict[str, Location]
) -> None:
    store = on_pgstac.context.store
    gone, changed, lost = list(places)[::20]
    store.delete(places[gone])
    store.put(places[changed], b"other")
    pgstac.call("DELETE", f"/collections/{collection}/items/{lost}")
    foreign = Location(places[changed].bucket, f"{OWNER}/{collection}/{changed}/{uuid.uuid4().hex}")
    store.put(foreign, b"?")
    _, found = audited(on_pgstac, collection)

    assert {(each.kind, each.key) for each in found} == {
        (Kind.PHANTOM, places[gone].href),
        (Kind.MISMATCH, places[changed].href),
        (Kind.ORPHAN, places[lost].href),
        (Kind.ORPHAN, foreign.href),
    }
