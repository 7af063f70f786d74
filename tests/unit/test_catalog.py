"""The catalog: what is written is read back, and a short answer is never taken for a whole one."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import SecretStr

from shared.errors import Busy, ItemFailed, Refused, Rejected, Retryable
from shared.json_types import Json
from shared.stac.catalog import Catalog, is_unpublished, require_id
from shared.stac.item import Item
from tests.unit.making import CATALOG, Handler, answered_by, item_json, item_of, sent, settings_of

Make = Callable[[Handler], Catalog]
POINT: Json = {"type": "Point", "coordinates": [1, 2]}


@pytest.fixture
def catalog() -> Iterator[Make]:
    """A catalog with the answers of a function."""
    made = Catalog(settings_of(catalog_flavour="plain"), None)

    def make(handler: Handler) -> Catalog:
        answered_by(made.api, handler)
        return made

    yield make
    made.api.close()


class Shelf:
    """A catalog's other side: keeps one item as it was written, and what was asked for."""

    def __init__(self, stored: Json | None = None) -> None:
        self.stored = stored
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.raw_path.decode()}")
        if request.method == "GET":
            return httpx.Response(200, json=self.stored) if self.stored else httpx.Response(404)
        if request.method == "POST" and self.stored:
            return httpx.Response(409, json={"detail": "there already"})
        self.stored = sent(request)
        return httpx.Response(201, json=self.stored)


def in_aux(item_id: str = "X", **changes: object) -> Item:
    return item_of(item_id, collection="aux", **changes)


def test_an_item_is_written_and_read_back(catalog: Make) -> None:
    shelf = Shelf()
    assert catalog(shelf).publish(in_aux()) == in_aux()
    assert shelf.asked == ["POST /stac/collections/aux/items", "GET /stac/collections/aux/items/X"]


def test_an_item_without_a_geometry_is_the_whole_world_to_the_catalog_only(catalog: Make) -> None:
    shelf = Shelf()
    shown = catalog(shelf).publish(in_aux())

    assert shelf.stored is not None
    assert shelf.stored["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
    }
    assert shelf.stored["bbox"] == [-180, -90, 180, 90]
    assert shown.geometry is None
    assert "bbox" not in shown.to_json()


def test_a_geometry_is_left_as_it_is(catalog: Make) -> None:
    shelf = Shelf()
    shown = catalog(shelf).publish(in_aux(geometry=POINT, bbox=[1, 2, 1, 2]))

    assert shelf.stored is not None
    assert (shelf.stored["geometry"], shelf.stored["bbox"]) == (POINT, [1, 2, 1, 2])
    assert shown.geometry == POINT
    assert shown.to_json()["bbox"] == [1, 2, 1, 2]


@pytest.mark.parametrize(("stored", "written"), [(None, []), ({"id": "X"}, ["POST"])])
def test_a_worker_that_has_lost_its_claim_meanwhile_writes_nothing(
    catalog: Make, stored: Json | None, written: list[str]
) -> None:
    shelf, left = Shelf(stored), [None] * len(written)

    def still_ours() -> None:
        if not left:
            raise Busy("claim-lost", "another worker has it", delay=0)
        left.pop()

    with pytest.raises(Busy, match="claim-lost"):
        catalog(shelf).publish(in_aux(), still_ours)
    assert [line.split()[0] for line in shelf.asked] == written
    assert shelf.stored == stored


def test_an_item_that_is_there_already_is_replaced(catalog: Make) -> None:
    shelf = Shelf(item_json(assets={"old": {"href": "h"}}))
    catalog(shelf).publish(in_aux())

    assert [line.split()[0] for line in shelf.asked] == ["POST", "PUT", "GET"]
    assert shelf.asked[1] == "PUT /stac/collections/aux/items/X"
    assert shelf.stored is not None
    assert list(shelf.stored["assets"] or {}) == ["X.EOF"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shown",
    [
        item_json(assets={}),
        item_json(assets={"X.EOF": {"href": "elsewhere"}}),
        item_json(assets={"Y.EOF": item_json()["assets"]["X.EOF"]}),  # type: ignore[index, call-overload]
    ],
)
def test_a_catalog_that_shows_something_else_than_was_written_is_a_mismatch(catalog: Make, shown: Json) -> None:
    def other(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=shown)

    with pytest.raises(Retryable, match="catalog-mismatch"):
        catalog(other).publish(in_aux())


def test_a_catalog_that_does_not_show_what_was_written_is_a_mismatch(catalog: Make) -> None:
    with pytest.raises(Retryable, match="catalog-mismatch"):
        catalog(lambda request: httpx.Response(404 if request.method == "GET" else 201)).publish(in_aux())


def test_a_catalog_that_refuses_an_item_is_believed(catalog: Make) -> None:
    with pytest.raises(Refused, match="catalog-refused"):
        catalog(lambda _: httpx.Response(400, json={"detail": "not in S3"})).publish(in_aux())


@pytest.mark.parametrize(
    ("item_id", "quoted"),
    [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2Fb", "a%252Fb"),
        ("é", "%C3%A9"),
        ("a;b", "a%3Bb"),
    ],
)
def test_an_item_id_stays_within_its_part_of_the_url(catalog: Make, item_id: str, quoted: str) -> None:
    shelf = Shelf()
    catalog(shelf).get("a/ux", item_id)
    assert shelf.asked == [f"GET /stac/collections/a%2Fux/items/{quoted}"]


def test_an_item_that_is_not_there_is_none(catalog: Make) -> None:
    assert catalog(lambda _: httpx.Response(404)).get("aux", "X") is None


@pytest.mark.parametrize("body", [{"type": "Collection", "id": "aux"}, {"detail": "?"}, {}])
def test_an_answer_that_is_no_item_is_a_bad_answer(catalog: Make, body: Json) -> None:
    with pytest.raises(Retryable, match="catalog-bad-answer"):
        catalog(lambda _: httpx.Response(200, json=body)).get("aux", "X")


def test_a_collection_that_is_there_will_do(catalog: Make) -> None:
    asked: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"id": "aux"})

    catalog(note).require_collection("aux")
    assert asked == [f"{CATALOG}/collections/aux"]


def test_a_collection_that_is_not_there_is_named(catalog: Make) -> None:
    with pytest.raises(Rejected, match="unknown-collection") as raised:
        catalog(lambda _: httpx.Response(404)).require_collection("aux")
    assert "'aux'" in raised.value.reason


class Index:
    """Answers searches by ids with the items of these ids, in no order of ours, and keeps the batches."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.batches: list[list[str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = sent(request)
        ids = body["ids"]
        assert isinstance(ids, list)
        assert (body["collections"], body["limit"]) == (["aux"], len(ids))
        self.batches.append([str(item_id) for item_id in ids])
        features = [item_json(str(item_id)) for item_id in reversed(ids) if item_id not in self.missing]
        return httpx.Response(200, json={"type": "FeatureCollection", "features": features})


@pytest.mark.parametrize(
    ("count", "batches"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_items_come_in_the_order_of_their_ids_a_hundred_at_a_time(
    catalog: Make, count: int, batches: list[int]
) -> None:
    ids = [f"item-{number}" for number in range(count)]
    index = Index()

    assert [item["id"] for items in catalog(index).items("aux", iter(ids)) for item in items] == ids
    assert [len(batch) for batch in index.batches] == batches


def test_a_short_answer_is_a_mismatch_and_names_what_is_missing(catalog: Make) -> None:
    with pytest.raises(Retryable, match="catalog-mismatch") as raised:
        list(catalog(Index("B", "C")).items("aux", ["A", "B", "C"]))
    assert "['B', 'C']" in raised.value.reason


@pytest.mark.parametrize("body", [{}, {"features": None}, {"features": {}}])
def test_a_search_answered_without_features_is_a_bad_answer(catalog: Make, body: Json) -> None:
    with pytest.raises(Retryable, match="catalog-bad-answer"):
        list(catalog(lambda _: httpx.Response(200, json=body)).items("aux", ["A"]))


@pytest.mark.parametrize(
    "feature",
    [
        None,
        {"id": "A"},
        item_json("A", type="Collection"),
        item_json("A", id=1),
        item_json("A", properties=None),
        item_json("A", assets=[]),
        item_json("A", assets={"x": {}}),
    ],
)
def test_a_feature_that_is_no_item_is_a_bad_answer(catalog: Make, feature: Json | None) -> None:
    with pytest.raises(Retryable, match="catalog-bad-answer"):
        list(catalog(lambda _: httpx.Response(200, json={"features": [feature]})).items("aux", ["A"]))


def test_items_are_shown_without_the_geometry_that_stands_in_for_none(catalog: Make) -> None:
    shelf = Shelf()
    catalog(shelf).publish(in_aux())
    shown = catalog(lambda _: httpx.Response(200, json={"features": [shelf.stored]})).items("aux", ["X"])

    assert list(shown) == [[in_aux().to_json()]]


class Failing(Index):
    """Answers some searches, by their number, with 503."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(503) if self.asked in self.numbers else super().__call__(request)


def test_a_batch_in_the_middle_that_fails_is_asked_for_again(catalog: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ids = [f"item-{number}" for number in range(250)]
    failing = Failing(2, 3, 5)

    assert [item["id"] for items in catalog(failing).items("aux", ids) for item in items] == ids
    assert failing.asked == 6


def test_a_first_batch_that_fails_is_left_to_the_caller(catalog: Make) -> None:
    failing = Failing(1)
    with pytest.raises(Retryable, match="catalog-unavailable"):
        list(catalog(failing).items("aux", ["A"]))
    assert failing.asked == 1


def test_a_batch_that_fails_too_often_is_given_up(catalog: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    failing = Failing(*range(2, 100))
    with pytest.raises(Retryable, match="catalog-unavailable"):
        list(catalog(failing).items("aux", [f"item-{number}" for number in range(101)]))
    assert failing.asked == 1 + settings_of().attempts


def test_a_catalog_that_asks_for_a_long_pause_gets_it_elsewhere(catalog: Make) -> None:
    def busy(request: httpx.Request) -> httpx.Response:
        body = sent(request)
        if body["limit"] == 1:
            return httpx.Response(429, headers={"retry-after": "60"})
        return Index()(request)

    with pytest.raises(Retryable, match="catalog-rate-limited"):
        list(catalog(busy).items("aux", [f"item-{number}" for number in range(101)]))


def test_the_key_of_the_catalog_goes_with_each_request() -> None:
    keys: list[str | None] = []

    def note(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers.get("x-api-key"))
        return httpx.Response(200)

    made = Catalog(settings_of(catalog_flavour="plain"), SecretStr("the-key"))
    answered_by(made.api, note)
    made.require_collection("aux")
    made.api.close()
    assert keys == ["the-key"]


@pytest.mark.parametrize("letter", ":/?#[]@!$&'()*+,;=")
def test_an_id_that_catalogs_refuse_is_refused_before_any_work(letter: str) -> None:
    with pytest.raises(ItemFailed, match="reserved-item-id"):
        require_id(f"S1A{letter}1")


@pytest.mark.parametrize("item_id", ["S3A_AX___OSF_AX_20160216T192404.SEN3", "with space", "日本", "a%b~c-d_e"])
def test_any_other_id_is_taken(item_id: str) -> None:
    require_id(item_id)


@pytest.mark.parametrize(
    ("value", "expired"),
    [(True, True), ("2026-11-30T12:00:00Z", True), (False, False), (None, False)],
)
def test_an_item_has_expired_if_the_catalog_says_so(value: object, expired: bool) -> None:
    assert is_unpublished(item_of(properties={"unpublished": value})) is expired
