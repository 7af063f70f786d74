"""The whole main job with pgSTAC as station and as catalog."""

from contextlib import closing
from typing import Any, get_args

import pytest
from pydantic import JsonValue, SecretStr

from local import samples
from shared.archives import is_archive
from shared.json_types import Json
from shared.models import Run
from shared.selection import PolicyName, PolicySelection, choose
from shared.settings import Settings
from shared.stac.search import Cql2
from shared.stations.config import ApiKeyAuth, StacConfig
from shared.stations.stac import StacStation
from shared.storage.location import Location
from tests.integration.conftest import of_id, of_type, wait_for
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac

OWNER = "peers"
TYPES = ("OPER_AUX_ECMWFD_PDMC", "OPER_AUX_UT1UTC_PDMC", "OPER_MPL_ORBPRE", "OPER_AUX_POEORB_OPOD")
RESORB = "OPER_AUX_RESORB_OPOD"
AS_LONG = samples.product(samples.AS_LONG_AS_WINDOW)
WINDOW = {"start_datetime": samples.DEMO_START.isoformat(), "end_datetime": samples.DEMO_END.isoformat()}


def of(*types: str) -> list[samples.Product]:
    return [each for each in samples.catalogue() if each.product_type in types]


def objects(deployment: Deployment, collection: str) -> dict[str, str]:
    """The keys and ETags of what is in the store for a collection, reports left out."""
    prefix = Location(deployment.stack.bucket, f"{OWNER}/{collection}/")
    return {each.key: each.etag for each in deployment.context.store.list(prefix)}


def staged(deployment: Deployment, collection: str, types: tuple[str, ...] = TYPES) -> Run:
    return deployment.run(collection, OWNER, cql2_filter=of_type(*types))


def test_archives_of_pgstac_are_expanded_into_pgstac_and_nothing_is_downloaded_again(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    products = of(*TYPES)
    run = staged(on_pgstac, collection)
    items = pgstac.items(collection)
    assert (on_pgstac.failures(run), run.counts.failed) == ([], 0)
    assert set(items) == {each.item_id for each in products}
    assets = [(key, asset) for item in items.values() for key, asset in item["assets"].items()]
    assert not [key for key, asset in assets if is_archive(key)]
    assert sum("aux_staging:source" in asset for _, asset in assets) == sum(is_archive(each.name) for each in products)

    stored, downloads = objects(on_pgstac, collection), on_pgstac.stack.station_traffic().downloads
    again = staged(on_pgstac, collection)
    assert (again.counts.skipped, again.counts.items) == (len(items), len(items))
    assert on_pgstac.stack.station_traffic().downloads == downloads
    assert (objects(on_pgstac, collection), pgstac.items(collection)) == (stored, items)


@pytest.mark.long
def test_every_sample_product_is_staged(on_pgstac: Deployment, pgstac: PgStac, collection: str) -> None:
    run = staged(on_pgstac, collection, samples.DEMO_PRODUCT_TYPES)
    assert (on_pgstac.failures(run), run.counts.failed) == ([], 0)
    assert set(pgstac.items(collection)) == {each.item_id for each in samples.catalogue()}


@pytest.mark.parametrize("name", get_args(PolicyName))
def test_a_policy_selects_from_pgstac_what_it_selects_from_the_embedded_station(
    on_pgstac: Deployment, name: PolicyName
) -> None:
    fields = {"start": samples.DEMO_START, "end": samples.DEMO_END, "policies": [name], "product_types": [RESORB]}
    selection = PolicySelection.model_validate(fields)
    with closing(embedded(on_pgstac)) as station:
        expected = sorted(found.item_id for found in choose(selection, station.search))
    chosen = sorted(found.item_id for found in choose(selection, on_pgstac.context.station().search))
    assert chosen == expected != []


def embedded(deployment: Deployment) -> StacStation:
    settings: Settings = deployment.settings()
    auth = ApiKeyAuth.model_construct(kind="api-key", api_key=SecretStr(deployment.stack.station_key))
    return StacStation("local", StacConfig(url=deployment.stack.station_url, auth=auth), settings)


def casei(operand: JsonValue) -> JsonValue:
    return {"op": "casei", "args": [operand]}


def test_a_chain_of_policies_is_staged_on_demand(on_pgstac: Deployment, pgstac: PgStac, collection: str) -> None:
    message: dict[str, Any] = {**WINDOW, "product_type": [RESORB], "policy": ["LatestValCover"]}
    run = on_pgstac.ended(on_pgstac.begin(collection, "auxip.on_demand_staging", **message))
    assert (on_pgstac.failures(run), list(pgstac.items(collection))) == ([], [AS_LONG.item_id])


@pytest.mark.parametrize(
    "expression",
    [
        {"op": "in", "args": [{"property": "id"}, [AS_LONG.item_id, "none"]]},
        {"op": "like", "args": [{"property": "id"}, f"{AS_LONG.item_id[:40]}%"]},
        {"op": "=", "args": [casei({"property": "platform"}), casei("SENTINEL-1A")]},
        {"op": "t_intersects", "args": [{"property": "datetime"}, {"interval": ["2024-03-25T09:00:00Z", ".."]}]},
    ],
    ids=lambda each: each["op"] if each["op"] != "=" else "casei",
)
def test_pgstac_answers_a_cql2_filter_of_this_operator(on_pgstac: Deployment, expression: Json) -> None:
    both: Json = {"op": "and", "args": [of_id(AS_LONG.item_id), expression]}
    found = list(on_pgstac.context.station().search(Cql2(filter=both)))
    assert [one.item_id for one in found] == [AS_LONG.item_id]


@pytest.mark.long
def test_runs_that_overlap_download_each_asset_once(on_pgstac: Deployment, pgstac: PgStac, collection: str) -> None:
    before = on_pgstac.stack.station_traffic().downloads
    ids = [on_pgstac.begin(collection, owner=OWNER, cql2_filter=of_type(*TYPES)) for _ in range(3)]
    runs = [on_pgstac.ended(run_id) for run_id in ids]
    assert [on_pgstac.failures(run) for run in runs] == [[], [], []]
    assert on_pgstac.stack.station_traffic().downloads - before == len(of(*TYPES))
    assert set(pgstac.items(collection)) == {each.item_id for each in of(*TYPES)}


@pytest.mark.long
def test_a_restart_of_the_catalog_and_its_database_fails_no_item(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    run_id = on_pgstac.begin(collection, owner=OWNER, cql2_filter=of_type(*samples.DEMO_PRODUCT_TYPES))
    wait_for(lambda: len(pgstac.items(collection)) > 5, "some items are published")
    pgstac.restart_all()
    run = on_pgstac.ended(run_id)
    assert on_pgstac.failures(run) == []
    items = pgstac.items(collection)
    assert set(items) == {each.item_id for each in samples.catalogue()}
    assert not [key for item in items.values() for key in item["assets"] if is_archive(key)]
