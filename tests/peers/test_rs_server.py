"""RS-Server's AUXIP service as the station, and RS-Server's catalog with a bucket of its own."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local import samples
from shared.archives.manifest import load_manifest
from shared.audit.findings import Kind
from shared.errors import Retryable
from shared.http.probes import Fault
from shared.models import Run, RunState
from shared.selection import PolicyName, PolicySelection, choose
from shared.stac.item import Asset
from shared.steps.standing import holds, holds_at
from shared.storage.location import Location
from tests.integration.conftest import wait_for
from tests.peers.deployment import Deployment
from tests.peers.rs_server import USER, RsServer
from tests.peers.test_audit import audited
from tests.peers.test_collections import auxip
from tests.peers.test_main_job import embedded
from tests.stac_schemas import require_valid
from tests.stations.simulator import Simulator

pytestmark = [pytest.mark.long, pytest.mark.timeout(400), pytest.mark.usefixtures("on_rs_server")]

PLAIN = "OPER_AUX_RESORB_OPOD"
ARCHIVES = "AX___MF1_AX"
WITHOUT_TIMES: tuple[PolicyName, ...] = (
    "LatestValidity",
    "LatestValidityClosest",
    "LatestGeneration",
    "ClosestStartValidity",
    "ClosestStopValidity",
    "LatestStopValidity",
)
"""Policies that compare no instants, which version 0.2 does with `lte` and `gte`: OData does not have these."""


@pytest.fixture
def collection(on_rs_server: Deployment, rs_server: RsServer) -> str:
    """A new and empty collection of RS-Server's user."""
    return rs_server.new_collection()


def of_type(product_type: str) -> dict[str, Any]:
    return {"cql2_filter": {"op": "=", "args": [{"property": "product:type"}, product_type]}}


def staged(deployment: Deployment, collection: str, product_type: str, **message: Any) -> Run:
    """A run that is successful."""
    run = deployment.run(collection, owner=USER, **of_type(product_type), **message)
    assert run.state is RunState.SUCCESSFUL, deployment.failures(run)
    return run


def assets(rs_server: RsServer, collection: str) -> Iterator[tuple[str, Asset]]:
    """Every asset of a collection's items as the catalog shows it, with its key."""
    for item in rs_server.items(collection).values():
        for key, asset in item["assets"].items():
            yield key, Asset.model_validate(asset)


def test_what_is_staged_is_in_the_catalogs_bucket_and_no_link_is_dead(
    on_rs_server: Deployment, rs_server: RsServer, collection: str
) -> None:
    run = staged(on_rs_server, collection, PLAIN, decompress=False)

    shown = list(assets(rs_server, collection))
    assert len(shown) == run.counts.staged == 5
    for key, asset in shown:
        place = Location.parse(asset.href)
        assert (place.bucket, place.key.rpartition("/")[2]) == (rs_server.bucket, key)
        assert holds(on_rs_server.context, place, asset)


def test_an_expanded_archives_asset_is_its_manifest_which_leads_to_every_member(
    on_rs_server: Deployment, rs_server: RsServer, collection: str
) -> None:
    run = staged(on_rs_server, collection, ARCHIVES)

    assert run.counts.expanded == 2
    for key, asset in assets(rs_server, collection):
        place = Location.parse(asset.href)
        assert key == place.key.rpartition("/")[2]
        assert key.endswith(".SEN3.manifest.json")
        store = on_rs_server.context.store
        stored = store.head(place)
        assert stored is not None
        assert asset.size == stored.size
        assert asset.source is not None
        assert store.head(Location.parse(asset.source.href)) is None
        prefix = Location.parse(str((asset.model_extra or {})["aux_staging:prefix"]))
        manifest = load_manifest(store, prefix)
        assert manifest is not None
        members = {f"{prefix.key}{member.path}": (member.size, member.etag) for member in manifest.members}
        assert {stored.key: (stored.size, stored.etag) for stored in store.list(prefix)} == members


@pytest.mark.parametrize(("product_type", "decompress"), [(PLAIN, False), (ARCHIVES, True)])
def test_the_files_of_an_item_are_saved_as_the_catalogs_bucket_has_them(
    on_rs_server: Deployment, rs_server: RsServer, collection: str, tmp_path: Path, product_type: str, decompress: bool
) -> None:
    staged(on_rs_server, collection, product_type, decompress=decompress)
    item_id = next(iter(rs_server.items(collection)))
    options = ["--collection", collection, "--owner", USER, "--to", str(tmp_path), "--json"]
    done = auxip(on_rs_server, "get", item_id, *options)

    assert done.returncode == 0, done.stderr
    paths = [Path(path) for path in json.loads(done.stdout)["files"]]
    assert paths
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path not in paths] == []
    assert any(path.parent != tmp_path for path in paths) is decompress


@pytest.mark.parametrize(("product_type", "decompress"), [(PLAIN, False), (ARCHIVES, True)])
def test_a_second_run_downloads_nothing(
    on_rs_server: Deployment, odata: Simulator, collection: str, product_type: str, decompress: bool
) -> None:
    first = staged(on_rs_server, collection, product_type, decompress=decompress)
    downloads = len(odata.downloads)

    second = staged(on_rs_server, collection, product_type, decompress=decompress)

    assert second.counts.skipped == first.counts.staged
    assert len(odata.downloads) == downloads


def test_a_write_whose_answer_was_lost_is_repeated_without_a_dead_link(
    on_rs_server: Deployment, rs_server: RsServer, collection: str
) -> None:
    """The first write has moved the objects, so that the hrefs of the second one lead to nothing."""
    staged(on_rs_server, collection, PLAIN, decompress=False)
    catalog = on_rs_server.context.catalog_of(USER)
    item_id = next(iter(rs_server.items(collection)))
    item = catalog.get(collection, item_id)
    assert item is not None
    moved = {key: asset.href for key, asset in item.assets.items()}
    for asset in item.assets.values():
        asset.href = asset.href.replace(rs_server.bucket, on_rs_server.stack.bucket)

    shown = catalog.publish(item, holds=partial(holds_at, on_rs_server.context))

    assert {key: asset.href for key, asset in shown.assets.items()} == moved
    for asset in shown.assets.values():
        assert holds(on_rs_server.context, Location.parse(asset.href), asset)


@pytest.mark.parametrize(("product_type", "decompress"), [(PLAIN, False), (ARCHIVES, True)])
def test_what_has_expired_is_staged_again_and_its_time_begins_anew(
    on_rs_server: Deployment, rs_server: RsServer, collection: str, product_type: str, decompress: bool
) -> None:
    staged(on_rs_server, collection, product_type, decompress=decompress)
    before = rs_server.items(collection)
    item_id = next(iter(before))
    rs_server.unpublish(item_id)
    over = rs_server.item(collection, item_id)
    assert (over["assets"], over["properties"]["unpublished"] != "") == ({}, True)

    staged(on_rs_server, collection, product_type, decompress=decompress)

    properties = rs_server.item(collection, item_id)["properties"]
    assert "unpublished" not in properties
    assert datetime.fromisoformat(properties["expires"]) > datetime.now(UTC) + timedelta(days=29)
    assert properties["published"] == over["properties"]["published"]
    assert set(rs_server.item(collection, item_id)["assets"]) == set(before[item_id]["assets"])


def test_an_object_that_is_gone_from_the_catalogs_bucket_is_put_there_again(
    on_rs_server: Deployment, rs_server: RsServer, collection: str
) -> None:
    staged(on_rs_server, collection, PLAIN, decompress=False)
    _, asset = next(assets(rs_server, collection))
    place = Location.parse(asset.href)
    on_rs_server.context.store.delete(place)

    staged(on_rs_server, collection, PLAIN, decompress=False)

    assert holds(on_rs_server.context, place, asset)
    assert asset.href in {shown.href for _, shown in assets(rs_server, collection)}


def test_each_item_is_its_owners_and_valid(on_rs_server: Deployment, rs_server: RsServer, collection: str) -> None:
    staged(on_rs_server, collection, PLAIN)
    staged(on_rs_server, collection, ARCHIVES)
    for item in rs_server.items(collection).values():
        assert item["properties"]["owner"] == USER
        assert all(asset["roles"] and asset["type"] for asset in item["assets"].values())
        # Schemas that are not at hand: of the extensions that the catalog itself adds.
        added = ("ownership-stac-extension/v1.1.0", "alternate-assets/v1.1.0")
        item["stac_extensions"] = [uri for uri in item["stac_extensions"] if not any(one in uri for one in added)]
        require_valid(item)


def test_runs_that_overlap_and_a_restart_of_the_catalog_lose_nothing(
    on_rs_server: Deployment, rs_server: RsServer, odata: Simulator, collection: str
) -> None:
    downloads = len(odata.downloads)
    runs = [on_rs_server.begin(collection, owner=USER, **of_type(name)) for name in (ARCHIVES, ARCHIVES, PLAIN)]
    wait_for(lambda: bool(rs_server.items(collection)), "an item is published")
    rs_server.restart_catalog()

    ended = [on_rs_server.ended(run_id) for run_id in runs]

    assert [on_rs_server.failures(run) for run in ended] == [[], [], []]
    assert len(rs_server.items(collection)) == 7
    assert len(odata.downloads) - downloads == 7
    for key, asset in assets(rs_server, collection):
        assert on_rs_server.context.store.head(Location.parse(asset.href)) is not None, key


@pytest.mark.parametrize("name", WITHOUT_TIMES)
def test_a_policy_selects_from_the_auxip_service_what_it_selects_from_the_embedded_station(
    on_rs_server: Deployment, name: PolicyName
) -> None:
    fields = {"start": samples.DEMO_START, "end": samples.DEMO_END, "policies": [name], "product_types": [PLAIN]}
    selection = PolicySelection.model_validate(fields)
    with closing(embedded(on_rs_server)) as station:
        expected = sorted(found.item_id for found in choose(selection, station.search))

    chosen = sorted(found.item_id for found in choose(selection, on_rs_server.context.station().search))

    assert chosen == expected != []


def test_what_others_have_added_to_an_item_survives_its_second_staging(
    on_rs_server: Deployment, rs_server: RsServer, collection: str
) -> None:
    staged(on_rs_server, collection, PLAIN, decompress=False)
    item_id, item = next(iter(rs_server.items(collection).items()))
    item["properties"]["others:note"] = "kept"
    rs_server.call("PUT", f"/collections/{USER}:{collection}/items/{item_id}", item)
    for asset in item["assets"].values():
        on_rs_server.context.store.delete(Location.parse(asset["href"]))

    staged(on_rs_server, collection, PLAIN, decompress=False)

    shown = rs_server.item(collection, item_id)
    assert shown["properties"]["others:note"] == "kept"
    for asset in shown["assets"].values():
        assert on_rs_server.context.store.head(Location.parse(asset["href"])) is not None


def delete_what_moves_have_left(on_rs_server: Deployment, collection: str) -> None:
    """Delete what RS-Server 0.2 has copied to its bucket and left in ours.

    It lists what it has to delete in the service and not in the request (`s3_files_to_be_deleted` in user_catalog.py),
    so that one of two requests at the same time may clear the list of the other.
    """
    for each in audited(on_rs_server, collection, USER)[1]:
        place = Location.parse(each.key)
        if (each.kind, place.bucket) == (Kind.ORPHAN, on_rs_server.stack.bucket):
            on_rs_server.context.store.delete(place)


def test_an_audit_finds_nothing_where_all_is_well_and_each_damage_in_the_catalogs_bucket(
    on_rs_server: Deployment, rs_server: RsServer, collection: str
) -> None:
    staged(on_rs_server, collection, PLAIN, decompress=False)
    staged(on_rs_server, collection, ARCHIVES)
    store = on_rs_server.context.store
    delete_what_moves_have_left(on_rs_server, collection)
    counts, found = audited(on_rs_server, collection, USER)
    assert (found, counts.items, counts.unchecked) == ([], 7, 0)

    shown = dict(assets(rs_server, collection))
    gone, changed = [Location.parse(asset.href) for key, asset in shown.items() if key.endswith(".EOF")][:2]
    prefix = next(
        Location.parse(str((asset.model_extra or {})["aux_staging:prefix"])) for asset in shown.values() if asset.source
    )
    foreign = Location(prefix.bucket, f"{prefix.key}foreign")
    store.delete(gone)
    store.put(changed, b"other")
    store.put(foreign, b"?")
    left = Location(on_rs_server.stack.bucket, changed.key)  # as of a move that was cut off before its delete
    store.put(left, b"?")

    assert {(each.kind, each.key) for each in audited(on_rs_server, collection, USER)[1]} == {
        (Kind.PHANTOM, gone.href),
        (Kind.MISMATCH, changed.href),
        (Kind.MANIFEST, foreign.href),
        (Kind.ORPHAN, left.href),
    }


def test_the_audit_command_ends_well(on_rs_server: Deployment, collection: str) -> None:
    staged(on_rs_server, collection, PLAIN, decompress=False)
    delete_what_moves_have_left(on_rs_server, collection)
    done = auxip(on_rs_server, "audit", collection, "--owner", USER, "--json")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert json.loads(done.stdout)["items"] == 5


def test_a_collection_is_created_for_its_owner_once(on_rs_server: Deployment, rs_server: RsServer) -> None:
    name = f"new-{uuid.uuid4().hex[:8]}"
    first, second = (auxip(on_rs_server, "collection", "create", name, "--owner", USER) for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "is created" in first.stdout
    assert "exists already" in second.stdout
    assert rs_server.call("GET", f"/collections/{USER}:{name}").json()["owner"] == USER


@pytest.mark.parametrize("suspected", list(Fault))
def test_a_catalog_that_is_well_is_found_so_whatever_was_suspected(
    on_rs_server: Deployment, collection: str, suspected: Fault
) -> None:
    assert on_rs_server.context.catalog_of(USER).probe(suspected, collection) is None


def test_what_the_catalog_says_of_a_refusal_is_the_reason(on_rs_server: Deployment, collection: str) -> None:
    catalog = on_rs_server.context.catalog_of(USER)
    path = f"{catalog.flavour.path(collection)}/items"
    with pytest.raises(Retryable, match="cannot access local variable"):
        catalog.api.call("POST", path, {})
    with pytest.raises(Retryable, match="Missing key in request body! 'properties'"):
        catalog.api.call("POST", path, {"type": "Feature", "id": "x"})
