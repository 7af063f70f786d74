"""Searches of OData stations: the whole set comes, whatever the manners of the station are."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from local.odata.manners import CDSE, RS_MOCK, STRICT, Manners
from shared.errors import AuxipError, Refused, Rejected, Retryable
from shared.http.probes import Fault
from shared.json_types import Json
from shared.selection import Published
from shared.settings import Settings
from shared.stac.item import Found
from shared.stac.search import Cql2, SortKey
from shared.stations.config import ODataConfig
from shared.stations.odata.station import ODataStation
from tests.stations.simulator import Simulator, product, samples, storm
from tests.unit.making import answered_by, settings_of

ROOT = "http://station.example/odata/v1"
RESORB: Json = {"op": "=", "args": [{"property": "product:type"}, "AUX_RESORB"]}
SINCE_2000: Json = {"op": ">=", "args": [{"property": "published"}, {"timestamp": "2000-01-01T00:00:00Z"}]}
INSTANT = "2026-11-25T00:00:00.000Z"

Make = Callable[..., ODataStation]


@pytest.fixture
def station() -> Iterator[Make]:
    """A station that answers as a simulator, or a function, does."""
    made: list[ODataStation] = []

    def make(answers: Simulator | Callable[[httpx.Request], httpx.Response], **changes: object) -> ODataStation:
        of_settings = {name: changes.pop(name) for name in [*changes] if name in Settings.model_fields}
        config = ODataConfig.model_validate({"url": ROOT, **changes})
        new = ODataStation("one", config, settings_of(backoff_base=0.01, **of_settings))
        answered_by(new.api, answers.handle if isinstance(answers, Simulator) else answers)
        made.append(new)
        return new

    yield make
    for each in made:
        each.close()


def open_to_all(manners: Manners, *products: dict[str, object]) -> Simulator:
    simulator = Simulator(replace(manners, open_search=True))
    for each in products:
        simulator.offer(dict(each), b"abc")
    return simulator


def ids(found: Iterator[Found]) -> list[str]:
    return [one.item_id for one in found]


def names(products: list[dict[str, object]]) -> list[str]:
    return sorted(str(each["Name"]).rpartition(".")[0] for each in products)


def failure(station: ODataStation, search: Cql2 | None = None) -> AuxipError:
    with pytest.raises(AuxipError) as raised:
        list(station.search(search or Cql2(filter=RESORB)))
    return raised.value


def several(count: int) -> list[dict[str, object]]:
    """Products of several instants, some of which share one."""
    return [product(n, f"2026-11-25T00:{n // 3 // 60:02d}:{n // 3 % 60:02d}.123Z") for n in range(1, count + 1)]


@pytest.mark.parametrize("manners", [STRICT, CDSE, RS_MOCK, Manners()], ids=["strict", "cdse", "rs-mock", "plain"])
@pytest.mark.parametrize("page_size", [1, 2, 7, 1000])
def test_every_product_comes_once_whatever_the_manners_and_the_page(
    station: Make, manners: Manners, page_size: int
) -> None:
    offered = several(40)
    found = ids(station(open_to_all(manners, *offered), page_size=page_size).search(Cql2(filter=RESORB)))
    assert sorted(found) == names(offered)


@pytest.mark.parametrize("manners", [STRICT, CDSE, RS_MOCK], ids=["strict", "cdse", "rs-mock"])
def test_what_real_stations_have_answered_becomes_items(station: Make, manners: Manners) -> None:
    found = list(station(open_to_all(manners, *samples())).search(Cql2(filter=SINCE_2000)))
    assert sorted(one.item_id for one in found) == names(samples())
    assert {one.code for one in found} == {""}
    assert {one.station for one in found} == {"one"}


@pytest.mark.parametrize("manners", [STRICT, CDSE, RS_MOCK, Manners()], ids=["strict", "cdse", "rs-mock", "plain"])
def test_windows_of_publication_that_follow_each_other_find_every_product_once(station: Make, manners: Manners) -> None:
    bounds = [datetime(2026, 11, 24, hour, tzinfo=UTC) for hour in range(0, 24, 3)]
    instants = [bound + timedelta(milliseconds=shift) for bound in bounds[1:-1] for shift in (-1, 0, 1)]
    offered = [product(n, f"{each.isoformat(timespec='milliseconds')[:-6]}Z") for n, each in enumerate(instants, 1)]
    offered += storm(150, published="2026-11-24T09:00:00.000Z", first=1001)
    asked = station(open_to_all(manners, *offered), page_size=40)
    windows = [Published(product_types=("AUX_RESORB",), begin=begin, end=end) for begin, end in pairwise(bounds)]
    found = [one.item_id for window in windows for one in window.choose(asked.search)]
    assert sorted(found) == names(offered)


@pytest.mark.long
def test_a_storm_of_one_instant_comes_whole(station: Make) -> None:
    offered = storm(5000)
    found = ids(station(open_to_all(Manners(), *offered)).search(Cql2(filter=RESORB)))
    assert sorted(found) == names(offered)


def test_what_was_published_before_and_after_a_storm_comes_with_it(station: Make) -> None:
    before, after = product(9001, "2026-11-24T00:00:00.000Z"), product(9002, "2026-11-26T00:00:00.000Z")
    offered = [after, *storm(25), before]
    found = ids(station(open_to_all(CDSE, *offered), page_size=10).search(Cql2(filter=RESORB)))
    assert sorted(found) == names(offered)


def test_a_storm_that_the_station_cannot_skip_through_is_an_error(station: Make) -> None:
    simulator = open_to_all(replace(CDSE, most_skipped=20), *storm(40))
    error = failure(station(simulator, page_size=10))
    assert (type(error), error.code) == (Rejected, "station-incomplete")
    assert INSTANT[:10] in error.reason


def test_a_page_shorter_than_asked_for_is_not_the_end(station: Make) -> None:
    offered = several(30)
    simulator = open_to_all(Manners(largest_page=4, counts=False), *offered)
    assert sorted(ids(station(simulator).search(Cql2(filter=RESORB)))) == names(offered)


def test_a_page_that_has_all_by_the_stations_count_is_the_only_request(station: Make) -> None:
    simulator = open_to_all(Manners(), *several(9))
    assert len(ids(station(simulator).search(Cql2(filter=RESORB)))) == 9
    (asked,) = simulator.searches
    assert asked == {
        "$filter": asked["$filter"],
        "$orderby": "PublicationDate asc",
        "$top": "1000",
        "$expand": "Attributes",
        "$count": "true",
    }


def test_a_count_of_the_page_alone_is_not_taken_for_all(station: Make) -> None:
    simulator = open_to_all(Manners(), *several(9))

    def answer(request: httpx.Request) -> httpx.Response:
        body = simulator.handle(request).json()
        return httpx.Response(200, json={**body, "@odata.count": len(body["value"])})

    assert len(ids(station(answer, page_size=4).search(Cql2(filter=RESORB)))) == 9


def test_a_page_is_asked_for_when_it_is_needed(station: Make) -> None:
    simulator = open_to_all(Manners(), *several(9))
    found = station(simulator, page_size=3).search(Cql2(filter=RESORB))
    next(found)
    assert len(simulator.searches) == 1


@pytest.mark.parametrize("counts", [True, False])
def test_a_station_that_ignores_skip_is_incomplete_if_a_page_has_one_instant(station: Make, counts: bool) -> None:
    simulator = open_to_all(Manners(skips=False, counts=counts), *storm(30))
    error = failure(station(simulator, page_size=10))
    assert (type(error), error.code) == (Retryable, "station-incomplete")


def test_a_station_that_ignores_skip_is_complete_if_no_page_has_one_instant(station: Make) -> None:
    offered = several(30)
    simulator = open_to_all(Manners(skips=False, counts=False), *offered)
    assert sorted(ids(station(simulator, page_size=10).search(Cql2(filter=RESORB)))) == names(offered)


def test_a_station_that_ignores_the_order_is_refused(station: Make) -> None:
    simulator = open_to_all(Manners(orders=False), *reversed(several(10)))
    error = failure(station(simulator))
    assert (type(error), error.code) == (Retryable, "station-bad-answer")
    assert "$orderby" in error.reason


def test_a_station_whose_products_are_fewer_than_its_count_is_incomplete(station: Make) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        first = "$count" in parse_qs(urlsplit(str(request.url)).query)
        return httpx.Response(200, json={"@odata.count": "3", "value": several(2) if first else []})

    assert failure(station(answer)).code == "station-incomplete"


def test_a_product_that_is_published_during_a_search_moves_no_other(station: Make) -> None:
    offered = several(20)
    simulator = open_to_all(Manners(), *offered)
    found = station(simulator, page_size=5).search(Cql2(filter=RESORB))
    seen = [next(found).item_id]
    simulator.offer(product(500, "2026-11-24T00:00:00.000Z"), b"abc")  # late: before all that has been seen
    simulator.offer(product(501, "2026-11-26T00:00:00.000Z"), b"abc")
    seen += ids(found)
    assert sorted(seen) == names([*offered, product(501, INSTANT)])


def test_a_late_product_is_found_by_the_next_search_that_overlaps(station: Make) -> None:
    simulator = open_to_all(Manners(), *several(5))
    searched = station(simulator)
    ids(searched.search(Cql2(filter=RESORB)))
    simulator.offer(product(500, "2026-11-25T00:00:00.500Z"), b"abc")
    since: Json = {"op": ">=", "args": [{"property": "published"}, {"timestamp": "2026-11-25T00:00:00Z"}]}
    assert len(ids(searched.search(Cql2(filter={"op": "and", "args": [RESORB, since]})))) == 6


def test_a_limit_is_for_what_the_filter_lets_through(station: Make) -> None:
    simulator = open_to_all(Manners(), *several(300))
    assert len(ids(station(simulator).search(Cql2(filter=RESORB, limit=150)))) == 150
    assert [asked["$top"] for asked in simulator.searches] == ["150"]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("limit", [None, 3])
def test_another_order_is_made_here(station: Make, direction: str, limit: int | None) -> None:
    key = SortKey.model_validate({"field": "id", "direction": direction})
    found = ids(station(open_to_all(CDSE, *samples())).search(Cql2(filter=SINCE_2000, sortby=(key,), limit=limit)))
    assert found == sorted(names(samples()), reverse=direction == "desc")[:limit]


def test_more_than_can_be_sorted_is_refused(station: Make) -> None:
    search = Cql2(filter=RESORB, sortby=(SortKey(field="id"),))
    assert failure(station(open_to_all(Manners(), *several(9)), max_items=8), search).code == "too-many-items"


def test_an_answer_that_the_station_should_not_have_given_is_left_out(station: Make) -> None:
    typed = next(each for each in samples() if "ORBPRE" in each["Name"])

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"@odata.count": 2, "value": [typed, product(1, "2026-11-25T00:00:00Z")]})

    assert ids(station(answer).search(Cql2(filter=RESORB))) == names([product(1, INSTANT)])


def test_a_filter_of_which_nothing_can_be_said_is_judged_here(station: Make) -> None:
    folded: Json = {"op": "=", "args": [{"op": "casei", "args": [{"property": "product:type"}]}, "aux_resorb"]}
    simulator = open_to_all(Manners(), *several(3), *samples())
    assert len(ids(station(simulator).search(Cql2(filter=folded)))) == 3 + 2
    assert "$filter" not in simulator.searches[0]


@pytest.mark.parametrize("operator", ["or", "in"])
def test_a_filter_that_is_too_long_for_a_url_is_asked_in_parts(station: Make, operator: str) -> None:
    offered = several(200)
    wanted = [str(each["Name"]).rpartition(".")[0] for each in offered[::2]]
    listed: Json = {"op": "in", "args": [{"property": "id"}, [*wanted]]}
    either: Json = {"op": "or", "args": [{"op": "=", "args": [{"property": "id"}, each]} for each in wanted]}
    simulator = open_to_all(STRICT, *offered)
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return simulator.handle(request)

    found = ids(station(answer).search(Cql2(filter=listed if operator == "in" else either)))
    assert sorted(found) == sorted(wanted)
    assert len(asked) > 1
    assert max(len(str(url)) for url in asked) < 6000


def test_nothing_is_found_where_a_station_says_404(station: Make) -> None:
    simulator = open_to_all(RS_MOCK, *[each for each in samples() if "RESORB" not in each["Name"]])
    assert ids(station(simulator).search(Cql2(filter=RESORB))) == []


def test_a_wrong_url_is_not_taken_for_nothing(station: Make) -> None:
    error = failure(station(lambda _: httpx.Response(404, text="<html>")))
    assert (type(error), error.code) == (Rejected, "station-not-found")


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (httpx.Response(200, json={"products": []}), Retryable, "station-bad-answer"),
        (httpx.Response(200, text="<html>log in</html>"), Retryable, "station-bad-answer"),
        (httpx.Response(400, json={"detail": "what?"}), Refused, "station-refused"),
        (httpx.Response(401, json={}), Refused, "station-unauthorized"),
        (httpx.Response(422, json={}), Rejected, "station-refused"),
        (httpx.Response(429, json={}), Retryable, "station-rate-limited"),
        (httpx.Response(501, json={}), Retryable, "station-unavailable"),
        (httpx.Response(302, headers={"location": "http://other.example/"}), Rejected, "station-foreign-link"),
    ],
)
def test_what_is_no_page_is_an_error(station: Make, answer: httpx.Response, kind: type, code: str) -> None:
    error = failure(
        station(lambda _: httpx.Response(answer.status_code, headers=answer.headers, content=answer.content))
    )
    assert (type(error), error.code) == (kind, code)


def test_a_page_in_the_middle_that_fails_is_asked_for_again(station: Make) -> None:
    simulator = open_to_all(Manners(), *several(20))
    failed: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if len(simulator.searches) == 2 and len(failed) < 2:
            failed.append(request)
            return httpx.Response(503)
        return simulator.handle(request)

    assert len(ids(station(answer, page_size=5).search(Cql2(filter=RESORB)))) == 20
    assert len(failed) == 2


def test_dates_without_milliseconds_and_with_too_many_are_paged_by(station: Make) -> None:
    offered = [
        product(1, "2026-11-25T00:00:00Z"),
        product(2, "2026-11-25T00:00:00.1234561Z"),
        product(3, "2026-11-25T00:00:00.1234567Z"),
        product(4, "2026-11-25T00:00:00.1239Z"),
        product(5, "2026-11-25T00:00:00.124"),
    ]
    found = ids(station(open_to_all(Manners(), *offered), page_size=1).search(Cql2(filter=RESORB)))
    assert sorted(found) == names(offered)


def test_the_next_link_of_a_station_is_not_followed(station: Make) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "station.example"
        is_first = "$count" in str(request.url)
        body = {"value": several(2) if is_first else [], "@odata.nextLink": "http://other.example/odata/v1/Products"}
        return httpx.Response(200, json=body)

    assert len(ids(station(answer).search(Cql2(filter=RESORB)))) == 2


def test_collections_and_spellings_of_types_go_into_the_filter(station: Make) -> None:
    simulator = open_to_all(CDSE, *[{**each, "Collection": {"Name": "SENTINEL-1"}} for each in several(3)])
    made = station(
        simulator, dialect="cdse", collections=["SENTINEL-1"], product_types={"OPER_AUX_RESORB_OPOD": "AUX_RESORB"}
    )
    ours: Json = {"op": "=", "args": [{"property": "product:type"}, "OPER_AUX_RESORB_OPOD"]}
    found = list(made.search(Cql2(filter=ours)))
    assert [one.item.properties["product:type"] for one in found if one.item] == ["OPER_AUX_RESORB_OPOD"] * 3
    assert "Collection/Name eq 'SENTINEL-1'" in simulator.filters[0]


@pytest.mark.parametrize("asked", ["AUX_RESORB", "OPER_AUX_RESORB_OPOD"])
def test_a_type_may_be_asked_for_in_the_stations_spelling(station: Make, asked: str) -> None:
    made = station(open_to_all(Manners(), *several(3)), product_types={"OPER_AUX_RESORB_OPOD": "AUX_RESORB"})
    search = Cql2(filter={"op": "=", "args": [{"property": "product:type"}, asked]})
    assert len(list(made.search(search))) == 3


def test_files_are_below_the_url_for_downloads(station: Make) -> None:
    made = station(open_to_all(Manners(), *several(1)), download_url="http://files.example/odata/v1")
    (found,) = made.search(Cql2(filter=RESORB))
    assert found.item is not None
    (asset,) = found.item.assets.values()
    assert asset.href == f"http://files.example/odata/v1/Products({several(1)[0]['Id']})/$value"
    assert made.trusts("http://files.example")


def test_a_probe_asks_for_any_product(station: Make) -> None:
    assert station(open_to_all(Manners(), *several(1))).probe(Fault.REFUSED) is None
    finding = station(lambda _: httpx.Response(401, json={})).probe(Fault.REFUSED)
    assert finding is not None
    assert finding.fault is Fault.REFUSED
