"""What answers at once in the benchmark of the orchestration answers as that for which it stands."""

import json
from pathlib import Path

import pytest

from shared.archives import Rules
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.catalog import Catalog
from shared.stac.item import Item, offered_item
from shared.stac.search import Cql2
from shared.stations.config import StacConfig
from shared.stations.stac import StacStation
from shared.storage.digests import Checksum
from shared.storage.location import Location
from tests.benchmarks.free_services import FreeCatalog, FreeStation, FreeStore, expand
from tests.benchmarks.shelves import Shelf, Shelves, item_id, number_of, offered, unfinished
from tests.unit.making import ANY, settings_of

COLLECTION = "aux"


@pytest.fixture
def settings() -> Settings:
    return settings_of()


@pytest.fixture
def shelves(tmp_path: Path) -> Shelves:
    Shelf.make(tmp_path, COLLECTION, 3)
    return Shelves(tmp_path)


@pytest.fixture
def catalog(settings: Settings, shelves: Shelves) -> Catalog:
    catalog = Catalog(settings, None)
    catalog.api.close()
    catalog.api = FreeCatalog(shelves)
    return catalog


@pytest.fixture
def store(settings: Settings, shelves: Shelves) -> FreeStore:
    return FreeStore(settings, shelves)


def archive_of(number: int) -> Location:
    return Location("bench", f"owner/{COLLECTION}/{item_id(number)}/{item_id(number)}.TGZ")


def expanded(number: int) -> Item:
    item = offered_item(offered(number))
    (asset,) = item.assets.values()
    return item.model_copy(update={"collection": COLLECTION, "assets": {item.id: asset}})


def test_an_item_is_as_large_as_a_real_one_and_is_known_by_its_id() -> None:
    assert 1100 < len(json.dumps(offered(7))) < 1200
    assert number_of(item_id(49_999)) == 49_999


def test_the_station_gives_as_many_items_as_are_searched_for_page_by_page(settings: Settings) -> None:
    station = StacStation("free", StacConfig(url="http://127.0.0.1", page_size=2, allow_private=True), settings)
    station.api.close()
    station.api = FreeStation()

    found = list(station.search(Cql2(filter=ANY, limit=5)))

    assert [one.item_id for one in found] == [item_id(number) for number in range(5)]


def test_the_catalog_shows_an_item_as_it_was_written_last(catalog: Catalog) -> None:
    first = offered_item(offered(1)).model_copy(update={"collection": COLLECTION})

    catalog.publish(first)
    catalog.publish(expanded(1))

    assert catalog.get(COLLECTION, item_id(1)) == expanded(1)
    assert [item["id"] for items in catalog.items(COLLECTION, [item_id(1)]) for item in items] == [item_id(1)]


def test_the_catalog_does_not_show_what_was_not_written(catalog: Catalog) -> None:
    assert catalog.get(COLLECTION, item_id(1)) is None


def test_an_archive_stands_in_the_store_from_its_transfer_until_it_is_deleted(store: FreeStore) -> None:
    assert store.head(archive_of(2)) is None

    written = store.receive(archive_of(2))
    assert store.held(archive_of(2), written.size, Checksum("md5", written.md5)) == store.head(archive_of(2))

    assert not store.control.delete(archive_of(2), "another ETag")
    assert store.control.delete(archive_of(2), written.md5)
    assert store.head(archive_of(2)) is None


def test_an_artifact_can_be_read_back(store: FreeStore) -> None:
    whole, streamed = Location("bench", "runs/1/report.json"), Location("bench", "runs/1/items.json")

    store.put(whole, b"{}")
    with store.open_writer(streamed) as writer:
        writer.write(b"[1,")
        writer.write(b"2]")

    assert store.get(whole, 10) == b"{}"
    assert store.get(streamed, 10) == b"[1,2]"
    assert writer.written.size == 5


def test_an_archive_that_is_not_in_the_store_is_not_expanded(store: FreeStore, settings: Settings) -> None:
    prefix = Location("bench", f"owner/{COLLECTION}/{item_id(0)}/{item_id(0)}/")
    with pytest.raises(ValueError, match=item_id(0)):
        expand(store, archive_of(0), prefix, Rules.from_settings(settings))


def test_a_run_is_done_if_every_item_is_published_expanded_and_no_archive_is_left(
    catalog: Catalog, store: FreeStore, tmp_path: Path
) -> None:
    staged = offered_item(offered(1)).model_copy(update={"collection": COLLECTION})
    catalog.publish(expanded(0))
    catalog.publish(staged)
    catalog.publish(expanded(2))
    store.receive(archive_of(2))

    wrong = unfinished(tmp_path, COLLECTION, 3)

    assert wrong == [f"{item_id(1)} is not published as it is expanded", f"the archive {item_id(2)}.TGZ is not deleted"]


def test_what_no_step_asks_for_is_refused(shelves: Shelves) -> None:
    body: Json = {}
    with pytest.raises(NotImplementedError, match="PATCH"):
        FreeCatalog(shelves).call("PATCH", f"/collections/{COLLECTION}/items/{item_id(0)}", body)
