"""Runs through the queues: callers, real workers, the station, S3 and the catalog."""

import json

import pystac
import pytest
from celery import chain, chord

from local import samples
from local.processes import Child
from local.samples import Defect
from local.stack import Stack
from shared.context import Context
from shared.json_types import Json
from shared.ledger import lease
from shared.models import ItemState, RunState, work_key
from shared.stac.aux_staging import AuxStagingExtension
from shared.stac.item import Item
from shared.storage.location import Location
from tests.integration.conftest import Caller, closed_run, files_of, of_id, of_type, wait_for
from tests.stac_schemas import require_valid

SECONDS = 60
WINDOW: Json = {"start_datetime": samples.DEMO_START.isoformat(), "end_datetime": samples.DEMO_END.isoformat()}


def result_of(result: object) -> tuple[bool, list[Item]]:
    assert isinstance(result, list)
    status, collection = result
    features = collection["features"] if collection else []
    return status, [Item.model_validate({**feature, "assets": files_of(feature)}) for feature in features]


def test_a_staging_run_answers_with_status_and_the_items_as_the_catalog_shows_them(
    caller: Caller, context: Context
) -> None:
    status, items = result_of(caller.stage(of_type("OPER_MPL_ORBPRE")).get(SECONDS))

    assert status is True
    assert len(items) >= 4
    (shown,) = context.catalog_of("").items(caller.collection, [item.id for item in items])
    assert items == [Item.model_validate(item) for item in shown]


@pytest.mark.long
def test_what_the_catalog_shows_is_valid_stac_and_an_item_collection(caller: Caller, context: Context) -> None:
    result = caller.stage(of_type("OPER_MPL_ORBPRE", "OPER_AUX_ECMWFD_PDMC")).get(SECONDS)
    assert isinstance(result, list)
    collection = pystac.ItemCollection.from_dict(result[1])

    assert any(AuxStagingExtension.has_extension(item) for item in collection)
    for feature in result[1]["features"]:
        require_valid(feature)
    expanded = [asset for item in collection for asset in item.assets.values() if asset.href.endswith("/")]
    for asset in expanded:
        manifest = AuxStagingExtension.ext(asset).manifest
        assert context.store.head(Location.parse(str(manifest))) is not None
    assert expanded


def test_what_is_staged_is_what_the_station_offers(caller: Caller, context: Context) -> None:
    _, (item,) = result_of(caller.stage(of_id(samples.product(samples.AS_LONG_AS_WINDOW).item_id)).get(SECONDS))

    asset = item.assets[samples.AS_LONG_AS_WINDOW]
    content = context.store.get(Location.parse(asset.href), limit=10**8)
    assert content == samples.product(samples.AS_LONG_AS_WINDOW).build()
    assert asset.href.endswith(f"{caller.env['owner_id']}/{caller.collection}/{item.id}/{samples.AS_LONG_AS_WINDOW}")


def test_archives_are_expanded_catalogued_and_only_then_deleted(caller: Caller, context: Context) -> None:
    archive = samples.product(samples.UPPER_CASE_ARCHIVE)
    _, (item,) = result_of(caller.stage(of_id(archive.item_id)).get(SECONDS))

    key = samples.UPPER_CASE_ARCHIVE.removesuffix(".TGZ")
    prefix = Location.parse(item.assets[key].href)
    assert list(item.assets) == [key]
    assert prefix.key.endswith(f"{item.id}/{key}/")
    members = list(context.store.list(prefix))
    assert members
    assert item.assets[key].size == sum(member.size for member in members)
    assert context.store.head(Location(prefix.bucket, prefix.key.removesuffix("/") + ".TGZ")) is None


def test_an_archive_within_an_archive_is_expanded_too(caller: Caller, context: Context) -> None:
    _, (item,) = result_of(caller.stage(of_id(samples.product(samples.NESTED_ARCHIVE).item_id)).get(SECONDS))

    (asset,) = item.assets.values()
    names = [member.key.rsplit("/", 1)[1] for member in context.store.list(Location.parse(asset.href))]
    assert "file.xml" in names
    assert not [name for name in names if name.endswith("tar.gz")]


def test_two_archives_of_one_item_do_not_share_a_prefix(caller: Caller) -> None:
    _, (item,) = result_of(caller.stage(of_id(samples.TWO_ARCHIVES)).get(SECONDS))

    assert len({asset.href for asset in item.assets.values()}) == 2
    assert all(asset.href.endswith("/") for asset in item.assets.values())


def test_an_item_keeps_its_plain_asset_beside_the_expanded_one(caller: Caller) -> None:
    _, (item,) = result_of(caller.stage(of_id(samples.ORBIT_AND_ARCHIVE)).get(SECONDS))

    assert sorted(asset.href.endswith("/") for asset in item.assets.values()) == [False, True]


def test_without_decompress_archives_stay(caller: Caller) -> None:
    _, (item,) = result_of(
        caller.stage(of_id(samples.product(samples.UPPER_CASE_ARCHIVE).item_id), decompress=False).get(SECONDS)
    )

    assert list(item.assets) == [samples.UPPER_CASE_ARCHIVE]


def test_an_archive_staged_before_is_expanded_without_being_downloaded_again(caller: Caller, context: Context) -> None:
    item_id = samples.product(samples.UPPER_CASE_ARCHIVE).item_id
    caller.stage(of_id(item_id), decompress=False).get(SECONDS)
    second = caller.stage(of_id(item_id))
    second.get(SECONDS)

    counts = closed_run(context, second.id).counts
    assert (counts.expanded, counts.bytes_downloaded) == (1, 0)


@pytest.mark.long
def test_a_second_run_downloads_nothing_and_says_why(caller: Caller, context: Context, stack: Stack) -> None:
    message: Json = {"product_type": [*samples.DEMO_PRODUCT_TYPES], "catalog_collection_identifier": caller.collection}
    first = caller.send("auxip.on_demand_staging", **WINDOW, **message)
    status, items = result_of(first.get(SECONDS))
    before = stack.station_traffic()
    second = caller.send("auxip.on_demand_staging", **WINDOW, **message)
    assert result_of(second.get(SECONDS)) == (status, items)

    assert stack.station_traffic().downloads == before.downloads
    run = closed_run(context, second.id)
    assert run.counts.skipped == run.counts.items == len(items) >= 24
    assert {record.code for record in context.ledger.items(run.id)} == {"already-staged"}


def test_an_object_that_was_lost_is_repaired_alone(caller: Caller, context: Context) -> None:
    _, items = result_of(caller.stage(of_type("OPER_MPL_ORBPRE")).get(SECONDS))
    (lost,) = items[0].assets.values()
    context.store.delete(Location.parse(lost.href))
    second = caller.stage(of_type("OPER_MPL_ORBPRE"))
    second.get(SECONDS)

    counts = closed_run(context, second.id).counts
    assert (counts.staged, counts.repaired, counts.skipped) == (0, 1, len(items) - 1)
    assert context.store.head(Location.parse(lost.href)) is not None


def test_on_demand_staging_takes_what_covers_the_window_bounds_included(caller: Caller) -> None:
    message: Json = {"product_type": "OPER_AUX_RESORB_OPOD", "catalog_collection_identifier": caller.collection}
    _, items = result_of(caller.send("auxip.on_demand_staging", **WINDOW, **message).get(SECONDS))

    ids = {item.id for item in items}
    assert samples.product(samples.AS_LONG_AS_WINDOW).item_id in ids
    assert samples.product(samples.ENDS_WITHIN_WINDOW).item_id not in ids


def test_nothing_found_is_a_success_with_no_items(caller: Caller) -> None:
    assert caller.stage(of_type("NO_SUCH_TYPE")).get(SECONDS) == [True, None]


def test_one_bad_item_never_fails_its_neighbours(caller: Caller, context: Context) -> None:
    result = caller.stage(of_type(samples.FAULTY_PRODUCT_TYPE, "OPER_MPL_ORBPRE"))
    status, items = result_of(result.get(SECONDS))

    assert status is False
    codes = {record.item_id: record.code for record in context.ledger.items(result.id)}
    assert {defect: codes[samples.faulty(defect).item_id] for defect in Defect} == {
        Defect.TRUNCATED_GZIP: "archive-damaged",
        Defect.BAD_CRC: "archive-damaged",
        Defect.PATH_TRAVERSAL: "archive-unsafe",
        Defect.NO_ASSETS: "no-assets",
        Defect.UNSAFE_ASSET_NAME: "unsafe-asset-name",
        Defect.WRONG_CHECKSUM: "checksum-mismatch",
        Defect.WRONG_SIZE: "size-mismatch",
        Defect.NOT_FOUND: "station-not-found",
    }
    run = closed_run(context, result.id)
    assert run.state is RunState.PARTIAL
    assert run.counts.failed == len(Defect)
    assert {item.id for item in items} >= {item_id for item_id, code in codes.items() if not code}


def test_a_bad_archive_stays_and_the_catalog_points_to_it(caller: Caller, context: Context) -> None:
    sample = samples.faulty(Defect.PATH_TRAVERSAL)
    _, (item,) = result_of(caller.stage(of_id(sample.item_id)).get(SECONDS))

    archive = Location.parse(item.assets[sample.product.name].href)
    assert context.store.get(archive, limit=10**8) == sample.product.build()
    assert {
        stored.key for stored in context.store.list(Location(archive.bucket, archive.key.rsplit("/", 1)[0] + "/"))
    } == {archive.key}


def test_every_record_says_how_far_its_item_came_and_when(caller: Caller, context: Context) -> None:
    result = caller.stage(of_id(samples.product(samples.ZARR_ARCHIVE).item_id))
    result.get(SECONDS)

    (record,) = context.ledger.items(result.id)
    assert record.state is ItemState.EXPANDED
    times = (record.claimed, record.staged, record.catalogued, record.expanded, record.finished)
    assert None not in times
    assert list(times) == sorted(time or 0 for time in times)
    assert record.downloaded == record.size > 0


def test_a_zarr_store_of_several_arrays_is_expanded_as_a_tree(caller: Caller, context: Context) -> None:
    item_id = samples.product(samples.ZARR_ARCHIVE).item_id
    _, (item,) = result_of(caller.stage(of_id(item_id)).get(SECONDS))

    (prefix,) = (asset.href for asset in item.assets.values())
    keys = {
        stored.key.removeprefix(Location.parse(prefix).key) for stored in context.store.list(Location.parse(prefix))
    }
    assert {".zgroup", "elevation/0.0", "geoid/0.0"} <= keys


def test_a_caller_chooses_the_layout(caller: Caller, context: Context) -> None:
    sample = samples.product(samples.ZARR_ARCHIVE)
    result = caller.send(
        "auxip.staging",
        cql2_filter=of_id(sample.item_id),
        catalog_collection_identifier=caller.collection,
        layout="flat",
    )
    assert result_of(result.get(SECONDS))[0] is False
    (record,) = context.ledger.items(result.id)
    assert record.code == "name-collision"


def test_a_run_writes_its_artifact_and_its_report_to_s3(caller: Caller, context: Context) -> None:
    result = caller.stage(of_type("OPER_MPL_ORBSCT"))
    _, items = result_of(result.get(SECONDS))

    report = Location.parse(closed_run(context, result.id).artifact)
    folder = report.key.rsplit("/", 1)[0]
    artifact = context.store.get(Location(report.bucket, f"{folder}/auxiliary-files.json"), limit=10**7)
    assert json.loads(artifact or b"") == [item.to_json() for item in items]
    assert json.loads(context.store.get(report, limit=10**7) or b"")["counts"]["staged"] == len(items)


def test_search_answers_with_an_item_collection(caller: Caller) -> None:
    found = caller.send("auxip.search", auxip_cql2={"filter": of_type("OPER_MPL_ORBPRE"), "limit": 3}).get(SECONDS)

    assert isinstance(found, dict)
    assert len(found["features"]) == 3


def test_search_that_finds_nothing_is_null_or_an_error_as_the_caller_wants(caller: Caller) -> None:
    assert caller.send("auxip.search", auxip_cql2=of_type("NO_SUCH_TYPE")).get(SECONDS) is None
    with pytest.raises(ValueError, match="No Auxip product found for CQL2 filter"):
        caller.send("auxip.search", auxip_cql2=of_type("NO_SUCH_TYPE"), error_if_empty=True).get(SECONDS)


def test_unzip_decompress_expands_the_archives_of_an_item_in_the_catalog(caller: Caller) -> None:
    item_id = samples.product(samples.UPPER_CASE_ARCHIVE).item_id
    _, (item,) = result_of(caller.stage(of_id(item_id), decompress=False).get(SECONDS))
    expanded = caller.send("auxip.unzip_decompress", auxip_item=item.to_json()).get(SECONDS)

    assert isinstance(expanded, dict)
    (asset,) = files_of(expanded).values()
    assert asset["href"].endswith("/")


def test_unzip_decompress_of_a_bad_archive_fails_with_its_code(caller: Caller) -> None:
    sample = samples.faulty(Defect.BAD_CRC)
    _, (item,) = result_of(caller.stage(of_id(sample.item_id), decompress=False).get(SECONDS))
    with pytest.raises(Exception, match="archive-damaged"):
        caller.send("auxip.unzip_decompress", auxip_item=item.to_json()).get(SECONDS)


def test_process_asset_replaces_an_archive_by_its_content(caller: Caller, context: Context) -> None:
    from workers.app import app

    archive = Location(context.settings.s3_bucket, f"auxip/{caller.collection}/some_adfs.zip")
    context.store.put(archive, samples.product(samples.NESTED_ARCHIVE).build())

    def process() -> object:
        return app.send_task("auxip.process_asset", args=(archive.href, "some_adfs.zip")).get(SECONDS)

    prefix = process()

    assert prefix == archive.href.removesuffix(".zip") + "/"
    assert context.store.head(archive) is None
    assert list(context.store.list(Location.parse(str(prefix))))
    assert process() == prefix


@pytest.mark.long
def test_process_asset_waits_for_another_worker_at_the_same_archive(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    from workers.app import app

    archive = Location(context.settings.s3_bucket, f"auxip/{caller.collection}/some_adfs.zip")
    context.store.put(archive, samples.product(samples.NESTED_ARCHIVE).build())
    log = next(child.log for child in workers if child.name == "worker-decompress")
    with lease(context.ledger.redis, archive.href, seconds=5):
        result = app.send_task("auxip.process_asset", args=(archive.href, "some_adfs.zip"))
        waits = context.settings.attempts + 1
        wait_for(
            lambda: log.read_text().count(f"on {archive.href}") >= waits, "it has waited more often than it may fail"
        )

    assert str(result.get(SECONDS)).endswith("/some_adfs/")


def test_process_asset_expands_nothing_that_is_anothers(caller: Caller, context: Context) -> None:
    sample = samples.product(samples.NESTED_ARCHIVE)
    other = Location(context.settings.s3_bucket, f"somebody/{caller.collection}/some_adfs.zip")
    context.store.put(other, sample.build())
    with pytest.raises(Exception, match="foreign-place"):
        caller.send("auxip.process_asset", asset_href=other.href, asset_name="some_adfs.zip").get(SECONDS)
    assert context.store.head(other) is not None


def test_process_asset_expands_nothing_that_an_item_of_the_catalog_references(caller: Caller, context: Context) -> None:
    _, (item,) = result_of(
        caller.stage(of_id(samples.product(samples.NESTED_ARCHIVE).item_id), decompress=False).get(SECONDS)
    )
    (archive,) = [asset.href for key, asset in item.assets.items() if key.endswith(".zip")]
    with pytest.raises(Exception, match="in-catalog"):
        caller.send("auxip.process_asset", asset_href=archive, asset_name="x.zip").get(SECONDS)
    assert context.store.head(Location.parse(archive)) is not None


def test_process_asset_refuses_what_is_no_archive_and_leaves_it(caller: Caller, context: Context) -> None:
    from workers.app import app

    file = Location(context.settings.s3_bucket, f"auxip/{caller.collection}/orbit.EOF")
    context.store.put(file, b"content")
    with pytest.raises(ValueError, match="Unsupported archive type"):
        app.send_task("auxip.process_asset", args=(file.href, "orbit.EOF")).get(SECONDS)
    assert context.store.get(file, limit=100) == b"content"


def test_what_a_caller_links_to_a_staging_run_gets_its_result(caller: Caller) -> None:
    from workers.app import app

    message = {"env": caller.env, "cql2_filter": of_type("NO_SUCH_TYPE")}
    first = app.signature("auxip.staging", kwargs={**message, "catalog_collection_identifier": caller.collection})
    then = app.signature(
        "auxip.staging",
        kwargs={
            "cql2_filter": of_type("OPER_MPL_ORBSCT"),
            "catalog_collection_identifier": caller.collection,
            "env": caller.env,
        },
        immutable=True,
    )
    status, items = result_of(chain(first, then).apply_async().get(SECONDS))
    assert status
    assert items


def test_staging_runs_can_be_the_header_of_a_callers_chord(caller: Caller, context: Context) -> None:
    from workers.app import app

    message = {"env": caller.env, "catalog_collection_identifier": caller.collection}
    header = [
        app.signature("auxip.staging", kwargs={**message, "cql2_filter": of_type(product_type)})
        for product_type in ("OPER_MPL_ORBSCT", "NO_SUCH_TYPE")
    ]
    body = app.signature("auxip.search", kwargs={"env": caller.env, "auxip_cql2": of_type("AUX_PP2")}, immutable=True)
    found = chord(header)(body).get(SECONDS)

    assert isinstance(found, dict)
    assert len(found["features"]) == 2


@pytest.mark.long
def test_work_that_another_worker_has_claimed_is_waited_for_as_long_as_it_takes(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    item_id = samples.product(samples.AS_LONG_AS_WINDOW).item_id
    key = work_key(str(caller.env["owner_id"]), caller.collection, item_id)
    log = next(child.log for child in workers if child.name == "worker-staging")
    with lease(context.ledger.redis, key, seconds=5):
        result = caller.stage(of_id(item_id))
        wait_for(lambda: log.read_text().count(f"on {key}") > 4, "the step has waited more often than Celery would")
    status, items = result_of(result.get(SECONDS))

    assert status
    assert len(items) == 1


def test_a_message_delivered_twice_is_one_run(caller: Caller, context: Context) -> None:
    from workers.app import app

    message = {"env": caller.env, "cql2_filter": of_type("OPER_MPL_ORBSCT")}
    kwargs = {**message, "catalog_collection_identifier": caller.collection}
    first = app.send_task("auxip.staging", kwargs=kwargs, task_id=f"twice-{caller.collection}")
    app.send_task("auxip.staging", kwargs=kwargs, task_id=first.id)
    status, items = result_of(first.get(SECONDS))

    assert status
    wait_for(lambda: closed_run(context, first.id).counts.finished == len(items), "each item counted once")
    assert closed_run(context, first.id).counts.items == len(items)
