"""Searches of a station: every page is drained, and no answer is believed before it is checked."""

import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from shared.errors import Rejected, Retryable
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.item import Found
from shared.stac.search import Cql2, SortKey
from shared.stations.config import StacConfig
from shared.stations.stac import StacStation
from tests.unit.making import ANY, STATION, Handler, answered_by, item_json, sent, settings_of

Make = Callable[..., StacStation]
FIND = Cql2(filter=ANY)


@pytest.fixture
def station() -> Iterator[Make]:
    """A station with the answers of a function and the configuration of the test."""
    made: list[StacStation] = []

    def make(handler: Handler, **changes: object) -> StacStation:
        of_settings = {name: changes.pop(name) for name in [*changes] if name in Settings.model_fields}
        config = StacConfig.model_validate({"url": STATION, **changes})
        new = StacStation("one", config, settings_of(**of_settings))
        answered_by(new.api, handler)
        made.append(new)
        return new

    yield make
    for each in made:
        each.close()


def page(*ids: str, **link: object) -> httpx.Response:
    links = [{"rel": "self", "href": "x"}, {"rel": "next", **link}] if link else []
    features = [item_json(item_id) for item_id in ids]
    return httpx.Response(200, json={"type": "FeatureCollection", "features": features, "links": links})


class Pages:
    """Answers with one page after the other, and keeps what was asked for."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/queryables"):
            return httpx.Response(404)
        self.requests.append(request)
        return self.answers.pop(0)

    @property
    def bodies(self) -> list[Json]:
        return [sent(request) for request in self.requests]


def ids(found: Iterator[Found]) -> list[str]:
    return [one.item_id for one in found]


def collection(*features: object) -> Pages:
    content = json.dumps({"type": "FeatureCollection", "features": features})
    return Pages(httpx.Response(200, content=content.encode()))


def test_a_search_is_one_post_of_its_filter(station: Make) -> None:
    pages = Pages(page("A", "B"))
    assert ids(station(pages).search(FIND)) == ["A", "B"]

    (request,) = pages.requests
    assert (request.method, str(request.url)) == ("POST", f"{STATION}/search")
    assert sent(request) == {"filter-lang": "cql2-json", "filter": ANY, "limit": 1000}


def test_order_and_collections_go_with_it(station: Make) -> None:
    pages = Pages(page())
    search = Cql2(filter=ANY, sortby=(SortKey(field="created", direction="desc"),))
    ids(station(pages, collections=["adgs", "prip"], page_size=50).search(search))

    (body,) = pages.bodies
    assert body["sortby"] == [{"field": "created", "direction": "desc"}]
    assert body["collections"] == ["adgs", "prip"]
    assert body["limit"] == 50


def test_the_body_of_a_next_link_changes_what_it_names_and_keeps_the_rest(station: Make) -> None:
    pages = Pages(
        page("A", href=f"{STATION}/search", method="POST", body={"token": "2"}),
        page("B", href=f"{STATION}/search", method="POST", body={"token": "3", "limit": 7}),
        page("C"),
    )
    assert ids(station(pages).search(FIND)) == ["A", "B", "C"]

    first, second, third = pages.bodies
    assert second == {**first, "token": "2"}
    assert third == {**first, "token": "3", "limit": 7}


def test_a_next_link_without_a_method_is_followed_with_get(station: Make) -> None:
    pages = Pages(page("A", href="?page=2"), page("B"))
    assert ids(station(pages).search(FIND)) == ["A", "B"]

    second = pages.requests[1]
    assert (second.method, str(second.url), second.content) == ("GET", f"{STATION}/search?page=2", b"")


def test_an_empty_page_ends_a_search_though_it_has_a_next_link(station: Make) -> None:
    pages = Pages(page("A", href="?page=2"), page(href="?page=3"))
    assert ids(station(pages).search(FIND)) == ["A"]
    assert len(pages.requests) == 2


def test_the_next_page_is_read_only_when_it_is_needed(station: Make) -> None:
    pages = Pages(page("A", href="?page=2"), page("B"))
    found = station(pages).search(FIND)

    assert next(found).item_id == "A"
    assert len(pages.requests) == 1
    assert ids(found) == ["B"]


@pytest.mark.parametrize(
    ("limit", "expected", "asked"),
    [(1, ["A"], 1), (2, ["A", "B"], 1), (3, ["A", "B", "C"], 2), (9, ["A", "B", "C", "D"], 2)],
)
def test_a_limit_is_for_all_pages_together(station: Make, limit: int, expected: list[str], asked: int) -> None:
    pages = Pages(page("A", "B", href="?page=2"), page("C", "D"))
    assert ids(station(pages).search(Cql2(filter=ANY, limit=limit))) == expected
    assert len(pages.requests) == asked
    assert sent(pages.requests[0])["limit"] == limit


@pytest.mark.parametrize(
    "href",
    [
        "https://other.example/auxip/search",
        "//other.example/search",
        "http://station.example:8080/auxip/search",
        "https://station.example/auxip/search",
        "ftp://station.example/search",
        "http://station.example@other.example/",
    ],
)
def test_a_next_page_on_another_host_is_not_asked_for(station: Make, href: str) -> None:
    pages = Pages(page("A", href=href))
    found = station(pages).search(FIND)

    assert next(found).item_id == "A"
    with pytest.raises(Rejected, match="station-foreign-link"):
        next(found)
    assert len(pages.requests) == 1


def test_a_next_page_on_the_station_is_followed_however_its_host_is_spelled(station: Make) -> None:
    pages = Pages(page("A", href="http://STATION.example:80/auxip/search?page=2"), page("B"))
    assert ids(station(pages).search(FIND)) == ["A", "B"]


@pytest.mark.parametrize(
    "href", ["http://station.example/auxip/search?page=2", "http://station.example:8080/auxip/search"]
)
def test_a_next_link_of_a_station_that_does_not_know_of_its_tls_is_followed_with_tls(station: Make, href: str) -> None:
    pages = Pages(page("A", href=href), page("B"))
    assert ids(station(pages, url="https://station.example/auxip").search(FIND)) == ["A", "B"]
    assert {(request.url.scheme, request.url.port) for request in pages.requests} == {("https", None)}


@pytest.mark.parametrize(
    ("own", "href", "expected"),
    [
        (None, "files/A.EOF", f"{STATION}/files/A.EOF"),
        (f"{STATION}/collections/aux/items/A", "./A.EOF", f"{STATION}/collections/aux/items/A.EOF"),
        (f"{STATION}/collections/aux/items/A", "/files/A.EOF", "http://station.example/files/A.EOF"),
        ("items/A", "A.EOF", f"{STATION}/items/A.EOF"),
        (f"{STATION}/items/A", "s3://bucket/A.EOF", "s3://bucket/A.EOF"),
    ],
)
def test_a_relative_href_of_an_asset_is_resolved_against_the_items_own_link(
    station: Make, own: str | None, href: str, expected: str
) -> None:
    links = [] if own is None else [{"rel": "self", "href": own}]
    feature = item_json("A", assets={"A.EOF": {"href": href}}, links=links)
    answer = httpx.Response(200, json={"type": "FeatureCollection", "features": [feature]})

    (found,) = station(Pages(answer)).search(FIND)

    assert found.item is not None
    assert found.item.assets["A.EOF"].href == expected


def test_a_next_link_that_is_no_url_is_a_bad_answer(station: Make) -> None:
    found = station(Pages(page("A", href="http://[::1"))).search(FIND)
    next(found)
    with pytest.raises(Retryable, match="station-bad-answer"):
        next(found)


@pytest.mark.parametrize("links", [None, "next", [None, "next", {"rel": "self"}]])
def test_links_that_are_none_end_a_search(station: Make, links: object) -> None:
    answer = {"type": "FeatureCollection", "features": [item_json("A")], "links": links}
    assert ids(station(Pages(httpx.Response(200, json=answer))).search(FIND)) == ["A"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"detail": "maintenance"},
        {"type": "FeatureCollection"},
        {"type": "FeatureCollection", "features": {}},
        {"features": []},
    ],
)
def test_an_answer_that_is_no_geojson_is_tried_again(station: Make, body: Json) -> None:
    with pytest.raises(Retryable, match="station-bad-answer"):
        ids(station(Pages(httpx.Response(200, json=body))).search(FIND))


@pytest.mark.parametrize(
    ("feature", "item_id", "where"),
    [
        (None, "(no id)", ""),
        ("text", "(no id)", ""),
        ({}, "(no id)", "id"),
        ({"id": "B", "assets": {}}, "B", "properties"),
        (item_json("B", assets=None), "B", "assets"),
        (item_json("B", assets={"a": {}}), "B", "assets.a.href"),
        (item_json("B", type="Catalog"), "B", "type"),
        (item_json("B", properties=[]), "B", "properties"),
        (item_json(""), "(no id)", "id"),
    ],
)
def test_a_malformed_item_is_reported_and_its_neighbours_come_as_they_are(
    station: Make, feature: object, item_id: str, where: str
) -> None:
    first, bad, last = station(collection(item_json("A"), feature, item_json("C"))).search(FIND)

    assert (first.item_id, last.item_id) == ("A", "C")
    assert first.item is not None
    assert (bad.item_id, bad.item, bad.code) == (item_id, None, "bad-item")
    assert f"malformed: {where}" in bad.reason


@pytest.mark.parametrize(
    "feature",
    [
        item_json("half \ud800"),
        item_json("B", properties={"title": "half \ud800"}),
        item_json("B", assets={"half \ud800": {"href": "h"}}),
        item_json("B", **{"auxip:more": [{"\udc00": 1}]}),
        item_json("B", assets={"half \ud800": {}}),
    ],
)
def test_text_that_no_encoding_can_hold_makes_an_item_malformed(station: Make, feature: Json) -> None:
    first, bad = station(collection(item_json("A"), feature)).search(FIND)

    assert first.item is not None
    assert (bad.item, bad.code) == (None, "bad-item")
    bad.model_dump_json().encode()


def test_an_item_without_assets_is_reported(station: Make) -> None:
    (found,) = station(collection(item_json("A", assets={}))).search(FIND)
    assert (found.item_id, found.item, found.code) == ("A", None, "no-assets")


def test_a_long_id_of_a_malformed_item_is_cut(station: Make) -> None:
    (found,) = station(collection({"id": "x" * 10_000})).search(FIND)
    assert found.item_id == "x" * 512


def test_a_station_that_is_asked_too_often_says_when_to_come_back(station: Make) -> None:
    with pytest.raises(Retryable, match="station-rate-limited") as raised:
        ids(station(Pages(httpx.Response(429, headers={"retry-after": "30"}))).search(FIND))
    assert raised.value.delay == 30


def test_an_answer_larger_than_the_limit_is_refused(station: Make) -> None:
    with pytest.raises(Retryable, match="station-bad-answer"):
        ids(station(Pages(page(*(f"item-{n}" for n in range(100)))), max_answer_bytes=1024).search(FIND))


def test_after_the_deadline_no_page_is_asked_for(station: Make) -> None:
    pages = Pages()
    with pytest.raises(Rejected, match="search-timeout"):
        ids(station(pages).search(FIND, deadline=time.monotonic()))
    assert pages.requests == []


def test_a_deadline_that_passes_between_two_pages_ends_the_search(
    station: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = station(Pages(page("A", href="?page=2"))).search(FIND, deadline=100.0)
    monkeypatch.setattr("shared.stations.station.time.monotonic", lambda: 99.0)
    assert next(found).item_id == "A"
    monkeypatch.setattr("shared.stations.station.time.monotonic", lambda: 100.5)
    with pytest.raises(Rejected, match="search-timeout"):
        next(found)


def test_a_deadline_shortens_the_wait_for_an_answer(station: Make) -> None:
    pages = Pages(page("A"))
    ids(station(pages, timeout=30).search(FIND, deadline=time.monotonic() + 5))
    assert 0 < pages.requests[0].extensions["timeout"]["read"] <= 5


def test_pages_that_lead_in_a_circle_are_not_followed_for_ever(station: Make) -> None:
    again = {"href": f"{STATION}/search", "method": "POST", "body": {"token": "1"}}
    pages = Pages(page("A", **again), page("B", **again), page("C", **again))
    with pytest.raises(Retryable, match="circle"):
        list(station(pages).search(FIND))
    assert len(pages.requests) == 2


def test_a_page_in_the_middle_that_fails_is_asked_for_again_and_those_before_it_are_not(station: Make) -> None:
    no_geojson = httpx.Response(200, json={"detail": "maintenance"})
    pages = Pages(page("A", href="?page=2"), httpx.Response(503), no_geojson, page("B"))
    assert ids(station(pages, attempts=3, backoff_base=0.001).search(FIND)) == ["A", "B"]
    assert [request.url.query for request in pages.requests] == [b"", b"page=2", b"page=2", b"page=2"]


def test_a_page_in_the_middle_that_always_fails_ends_the_search(station: Make) -> None:
    pages = Pages(page("A", href="?page=2"), *[httpx.Response(503)] * 3)
    with pytest.raises(Retryable, match="station-unavailable"):
        ids(station(pages, attempts=3, backoff_base=0.001).search(FIND))
    assert pages.answers == []


def test_a_first_page_that_fails_is_left_to_whoever_asked_for_it(station: Make) -> None:
    pages = Pages(httpx.Response(503))
    with pytest.raises(Retryable, match="station-unavailable"):
        ids(station(pages).search(FIND))


def test_a_long_pause_is_not_waited_for_in_place(station: Make) -> None:
    pages = Pages(page("A", href="?page=2"), httpx.Response(429, headers={"retry-after": "60"}))
    with pytest.raises(Retryable, match="station-rate-limited") as raised:
        ids(station(pages).search(FIND))
    assert raised.value.delay == 60


def test_a_search_that_is_redirected_to_another_host_is_refused(station: Make) -> None:
    pages = Pages(httpx.Response(307, headers={"location": "https://other.example/search"}))
    with pytest.raises(Rejected, match="station-foreign-link"):
        ids(station(pages).search(FIND))
    assert len(pages.requests) == 1


def test_an_answer_whose_bytes_come_one_by_one_does_not_outlast_the_deadline(
    station: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class SlowLoris(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(1000):
                now[0] += 1
                yield b" "

    with pytest.raises(Rejected, match="search-timeout"):
        ids(station(Pages(httpx.Response(200, stream=SlowLoris()))).search(FIND, deadline=105.0))
    assert now[0] < 110


def test_each_item_knows_the_station_that_found_it(station: Make) -> None:
    found = station(collection(item_json("A"), {"id": "B"}, item_json("C", assets={}))).search(FIND)
    assert [one.station for one in found] == ["one", "one", "one"]


def counted(response: httpx.Response, matched: object, field: str = "numberMatched") -> httpx.Response:
    said = {"numberMatched": matched} if field == "numberMatched" else {"context": {"matched": matched}}
    return httpx.Response(200, json={**response.json(), **said})


@pytest.mark.parametrize("field", ["numberMatched", "context"])
def test_fewer_items_than_the_station_has_found_are_asked_for_once_more(station: Make, field: str) -> None:
    cut, rest = counted(page("A"), 2, field), counted(page("B"), 2, field)
    whole = counted(page("A", href="?page=2"), 2, field)
    pages = Pages(cut, whole, rest)
    assert set(ids(station(pages).search(FIND))) == {"A", "B"}
    assert len(pages.requests) == 3


@pytest.mark.parametrize("field", ["numberMatched", "context"])
def test_fewer_items_than_the_station_has_found_twice_is_no_success(station: Make, field: str) -> None:
    pages = Pages(*(counted(page("A"), 2, field) for _ in range(2)))
    with pytest.raises(Retryable, match="found 2 items, and its pages have ended after 1") as raised:
        ids(station(pages).search(FIND))
    assert raised.value.code == "station-incomplete"


def test_what_is_found_while_a_search_goes_on_must_come_as_well(station: Make) -> None:
    pages = Pages(counted(page("A", href="?page=2"), 2), counted(page("B"), 3), counted(page("A", "B", "C"), 3))
    assert set(ids(station(pages).search(FIND))) == {"A", "B", "C"}


@pytest.mark.parametrize("matched", [2, 1, 0, -1, None, "9", True])
def test_a_count_that_is_not_larger_than_what_came_says_nothing(station: Make, matched: object) -> None:
    pages = Pages(counted(page("A", href="?page=2"), matched), counted(page("B"), 2))
    assert ids(station(pages).search(FIND)) == ["A", "B"]
    assert len(pages.requests) == 2


def test_a_search_that_has_its_limit_needs_no_more(station: Make) -> None:
    pages = Pages(counted(page("A", "B", href="?page=2"), 9))
    assert ids(station(pages).search(Cql2(filter=ANY, limit=2))) == ["A", "B"]


def test_a_search_that_ends_before_its_limit_is_left_to_the_next_try(station: Make) -> None:
    pages = Pages(counted(page("A"), 3))
    with pytest.raises(Retryable, match="station-incomplete"):
        ids(station(pages).search(Cql2(filter=ANY, limit=2)))
