"""Items that pgSTAC does not take as others do, and what must not be lost of them; each step is done here."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from local import samples
from shared.errors import Retryable
from shared.json_types import Json
from shared.runs.outages import waiting_for_systems
from shared.runs.systems import Needs
from shared.stac.item import Asset, Item
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.conftest import files_of
from tests.integration.test_steps import EVERY_STEP, Work, expand
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac

ARCHIVE = samples.product(samples.UPPER_CASE_ARCHIVE)
PLAIN = samples.product(samples.AS_LONG_AS_WINDOW)
VALID: Json = {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-02T00:00:00Z"}
NEVER_TAKEN: Json = {**VALID, "end_datetime": "2023-01-01T00:00:00Z"}
_numbers = itertools.count()


def item(collection: str, properties: Json, item_id: str = "") -> Item:
    body: Json = {"type": "Feature", "stac_version": "1.1.0", "id": item_id or f"item-{next(_numbers)}", "links": []}
    assets: Json = {"a.EOF": {"href": "s3://aux/a.EOF"}}
    return Item.model_validate({**body, "collection": collection, "properties": properties, "assets": assets})


@pytest.fixture
def work(on_pgstac: Deployment, collection: str) -> Work:
    return Work(on_pgstac.context, collection, PLAIN.item_id)


_further: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_further_is_offered_then(pgstac: PgStac) -> Iterator[None]:
    yield
    while _further:
        pgstac.call("DELETE", f"/collections/{samples.STATION_COLLECTION}/items/{_further.pop()}")


def offered_with(deployment: Deployment, pgstac: PgStac, name: str, **properties: Any) -> str:
    """Have the station offer a sample product once more, with other properties; returns the new item's id."""
    (sample,) = (one for one in deployment.sample_items() if name in one["assets"])
    item_id = f"{sample['id']}_{next(_numbers)}"
    changed = {**sample, "id": item_id, "properties": {**sample["properties"], **properties}}
    pgstac.add_items(samples.STATION_COLLECTION, [changed])
    _further.append(item_id)
    return item_id


# A datetime of null


@pytest.mark.long
def test_an_item_without_a_datetime_whose_archive_is_expanded_is_finished(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    item_id = offered_with(on_pgstac, pgstac, samples.UPPER_CASE_ARCHIVE, datetime=None)
    work = Work(on_pgstac.context, collection, item_id)
    work.do(*EVERY_STEP)
    (asset,) = files_of(pgstac.item(collection, item_id)).values()
    assert asset["aux_staging:source"]["name"] == samples.UPPER_CASE_ARCHIVE


def test_what_was_read_of_an_item_without_a_datetime_can_be_written(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    catalog = on_pgstac.context.catalog_of("steps")
    shown = catalog.publish(item(collection, {"datetime": None, **VALID}))
    assert "datetime" not in pgstac.item(collection, shown.id)["properties"]
    assert catalog.publish(shown).properties == {"datetime": None, **VALID}
    ((listed,),) = catalog.items(collection, [shown.id])
    assert listed["properties"] == {"datetime": None, **VALID}


# An answer of 500


def test_an_item_that_the_database_does_not_take_is_at_fault_and_its_neighbours_pass(
    on_pgstac: Deployment, collection: str
) -> None:
    context = on_pgstac.context
    catalog, needs = context.catalog_of("steps"), Needs(("catalog",), collection=collection)
    for _ in range(3):
        with pytest.raises(Retryable, match="catalog-refused-item"), waiting_for_systems(context, needs):
            catalog.write(item(collection, {"datetime": None, **NEVER_TAKEN}), None)
        neighbour = item(collection, {"datetime": None, **VALID})
        assert catalog.write(neighbour, None).id == neighbour.id
    assert context.outages.all() == {}


def test_a_database_that_is_down_is_an_outage_of_the_catalog(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    context = on_pgstac.context
    needs = Needs(("catalog",), collection=collection)
    pgstac.postgres.stop()
    try:
        with pytest.raises(Retryable, match="system-unavailable"), waiting_for_systems(context, needs):
            context.catalog_of("steps").write(item(collection, {"datetime": None, **VALID}), None)
        assert context.outages.all()["catalog"].code == "catalog-unavailable"
    finally:
        pgstac.postgres.start_again()
        context.outages.record_up("catalog", 0.01)


@pytest.fixture
def deadlocks(pgstac: PgStac, collection: str) -> Iterator[None]:
    """Have the database find a deadlock in the first two writes into a collection, as it does of real ones."""
    pgstac.sql("CREATE SEQUENCE public.writes")
    pgstac.sql(
        f"""CREATE FUNCTION public.deadlock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.collection = '{collection}' AND nextval('public.writes') <= 2 THEN
            RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
        END IF; RETURN NEW; END $$;
        CREATE TRIGGER deadlock BEFORE INSERT ON pgstac.items FOR EACH ROW EXECUTE FUNCTION public.deadlock()"""
    )
    yield
    pgstac.sql("DROP TRIGGER deadlock ON pgstac.items; DROP FUNCTION public.deadlock; DROP SEQUENCE public.writes")


@pytest.mark.long
@pytest.mark.usefixtures("deadlocks")
def test_an_item_whose_writes_have_met_a_deadlock_is_staged(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    run = on_pgstac.run(collection, cql2_filter={"op": "=", "args": [{"property": "id"}, PLAIN.item_id]})
    assert (on_pgstac.failures(run), run.counts.staged) == ([], 1)
    assert pgstac.sql("SELECT last_value >= 3 FROM public.writes") == ["t"]


# What others write


THEIRS: Json = {"name": "theirs", "expires": "2999-01-01T00:00:00Z"}
PUBLISHED: Json = {"published": "2024-05-01T00:00:00Z"}


def add_theirs(pgstac: PgStac, collection: str, item_id: str) -> None:
    """Another program adds properties, an asset and a field to an item."""
    shown = pgstac.item(collection, item_id)
    shown["properties"] |= {"datetime": None, **shown["properties"], **THEIRS, **PUBLISHED}
    shown["assets"]["thumbnail"] = {"href": "https://elsewhere.example/t.png"}
    pgstac.call("PUT", f"/collections/{collection}/items/{item_id}", shown)


def assert_theirs(pgstac: PgStac, collection: str, item_id: str) -> None:
    shown = pgstac.item(collection, item_id)
    assert THEIRS.items() <= shown["properties"].items()
    assert "thumbnail" in shown["assets"]


def test_what_others_have_added_survives_that_an_item_is_staged_again(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    publish_as_outdated(on_pgstac, collection)
    add_theirs(pgstac, collection, ARCHIVE.item_id)
    work = Work(on_pgstac.context, collection, ARCHIVE.item_id)
    work.do(stage_item, publish_and_fetch)
    assert work.record.downloaded > 0
    assert_theirs(pgstac, collection, ARCHIVE.item_id)
    assert PUBLISHED.items() <= pgstac.item(collection, ARCHIVE.item_id)["properties"].items()


def publish_as_outdated(deployment: Deployment, collection: str) -> None:
    """The catalog has the item with an asset that is no more what the station offers."""
    stale: Json = {"href": "s3://aux/outdated", "file:size": 1}
    shown = item(collection, {"datetime": None, **VALID}, ARCHIVE.item_id)
    shown.assets = {ARCHIVE.name: Asset.model_validate(stale)}
    deployment.context.catalog_of("steps").publish(shown)


@pytest.mark.parametrize("step", [publish_and_fetch, publish_expanded])
def test_what_others_add_between_our_look_and_our_write_survives(
    on_pgstac: Deployment, pgstac: PgStac, collection: str, step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(on_pgstac.context, collection, ARCHIVE.item_id)
    if step is publish_and_fetch:
        publish_as_outdated(on_pgstac, collection)
        work.do(stage_item)
    else:
        work.do(stage_item, publish_and_fetch, expand)
    left = [add_theirs]

    def beaten(_record: object) -> None:
        if left:
            left.pop()(pgstac, collection, ARCHIVE.item_id)

    monkeypatch.setattr(on_pgstac.context.ledger, "require_claim", beaten)
    work.do(step)
    assert_theirs(pgstac, collection, ARCHIVE.item_id)


def test_an_item_that_another_has_created_between_our_look_and_our_write_is_not_overwritten(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    ours = item(collection, {"datetime": None, **VALID})
    theirs = ours.model_copy(update={"assets": {}, "properties": {**ours.properties, "name": "theirs"}})
    catalog = on_pgstac.context.catalog_of("steps")
    with pytest.raises(Retryable, match="catalog-mismatch"):
        catalog.write(ours, None, lambda: pgstac.add_items(collection, [theirs.to_json()]))
    assert pgstac.item(collection, ours.id)["properties"]["name"] == "theirs"


# Published only what is there


def test_an_item_whose_object_is_gone_is_not_published(
    on_pgstac: Deployment, pgstac: PgStac, collection: str, work: Work
) -> None:
    work.do(stage_item)
    (staged,) = work.record.staged_assets.values()
    on_pgstac.context.store.delete(Location.parse(staged.href))
    with pytest.raises(Retryable, match="not-staged"):
        work.do(publish_and_fetch)
    assert pgstac.items(collection) == {}


def test_an_archive_whose_members_are_gone_is_not_replaced_by_them(
    on_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    work = Work(on_pgstac.context, collection, ARCHIVE.item_id)
    work.do(stage_item, publish_and_fetch, expand)
    (expansion,) = work.record.expansions.values()
    store = on_pgstac.context.store
    member = next(iter(store.list(Location.parse(expansion.prefix))))
    store.delete(Location(on_pgstac.stack.bucket, member.key))
    with pytest.raises(Retryable, match="not-staged"):
        work.do(publish_expanded)
    assert list(pgstac.item(collection, ARCHIVE.item_id)["assets"]) == [ARCHIVE.name]


def test_a_write_that_was_not_answered_is_looked_up_before_it_is_repeated(
    on_pgstac: Deployment, pgstac: PgStac, collection: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, answers = on_pgstac.context.catalog_of("steps"), []
    send = catalog._send

    def unanswered(*args: Any, **options: Any) -> int:
        answers.append(send(*args, **options))
        raise Retryable("catalog-unavailable", "POST: ReadTimeout")

    work.do(stage_item)
    monkeypatch.setattr(catalog, "_send", unanswered)
    with pytest.raises(Retryable, match="ReadTimeout"):
        work.do(publish_and_fetch)
    work.do(publish_and_fetch)
    assert answers == [201]
    assert list(pgstac.items(collection)) == [PLAIN.item_id]
