"""SAR-MPC as a station: asked for what the filter says for sure, read to the last page, judged by the filter."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ItemFailed, Rejected, Retryable
from shared.http.probes import Fault
from shared.json_types import Json
from shared.selection import PolicySelection, choose
from shared.stac.item import Found
from shared.stac.search import Cql2
from shared.stations.config import SarMpcConfig
from shared.stations.sar_mpc import SarMpcStation
from tests.stations.muninn import Muninn, as_json
from tests.stations.serving import Reply, Service, serving
from tests.stations.test_s3_list import both, equals, ids, valid_at
from tests.unit.making import settings_of

SHAPE = Path(__file__).parents[1] / "data" / "stations" / "sarmpc_shape.json"
OLD = "S1A_AUX_CAL_V20140908T000000_G20190626T100201.SAFE.zip"
NEW = "S1A_AUX_CAL_V20190228T092500_G20210104T141310.SAFE.zip"
OTHER = "S1B_AUX_CAL_V20190514T090000_G20210104T140612.SAFE.zip"
PP1 = "S1A_AUX_PP1_V20190228T092500_G20220323T153041.SAFE.zip"

Make = Callable[..., SarMpcStation]


@pytest.fixture
def muninn() -> Muninn:
    return Muninn()


@pytest.fixture
def service(muninn: Muninn) -> Iterator[Service]:
    with serving(muninn) as service:
        muninn.url = service.url
        for name in (OLD, NEW, OTHER, PP1):
            muninn.add(name)
        yield service


@pytest.fixture
def station(service: Service) -> Iterator[Make]:
    made: list[SarMpcStation] = []

    def make(**changes: object) -> SarMpcStation:
        config = SarMpcConfig.model_validate({"kind": "sar-mpc", "url": f"{service.url}/api/v1", **changes})
        made.append(SarMpcStation("mpc", config, settings_of(backoff_base=0.01, backoff_max=0.05)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def search(station: SarMpcStation, expression: Json) -> list[Found]:
    return list(station.search(Cql2(filter=expression)))


def bare(*names: str) -> list[str]:
    return [name.removesuffix(".SAFE.zip") for name in names]


def asked(service: Service) -> dict[str, str]:
    ((_, query),) = service.asked
    return {name: value for name, value in query.items() if name not in ("mode", "page_size")}


# What a record says


def test_the_shape_of_the_documentation_becomes_an_item(muninn: Muninn, station: Make) -> None:
    muninn.replies = [as_json(json.loads(SHAPE.read_text())["body"])]
    (found,) = search(station(), equals("product:type", "AUX_CAL"))
    assert found.item is not None
    assert found.item_id == "S1A_AUX_CAL_V20140908T000000_G20190626T100201"
    assert found.item.properties == {
        "datetime": "2014-09-08T00:00:00Z",
        "start_datetime": "2014-09-08T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "created": "2019-06-26T10:02:01Z",
        "published": "2019-06-26T10:02:01Z",
        "processing:datetime": "2019-06-26T10:02:01Z",
        "product:type": "AUX_CAL",
        "platform": "sentinel-1a",
        "constellation": "sentinel-1",
    }
    asset = found.item.assets[f"{found.item_id}.SAFE.zip"]
    assert asset.href == "https://sar-mpc.eu/download/ca97845e-1314-4817-91d8-f39afbeff74d/"
    assert (asset.size, asset.checksum) == (None, None)


def test_size_and_hash_are_those_of_muninn_where_it_states_them(station: Make) -> None:
    (found,) = search(station(), equals("id", bare(PP1)[0]))
    assert found.item is not None
    (asset,) = found.item.assets.values()
    assert (asset.size, asset.checksum) == (3, f"d50110{hashlib.md5(b'aux', usedforsecurity=False).hexdigest()}")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"physical_name": None}, "bad-item"),
        ({"remote_url": None}, "no-assets"),
        ({"remote_url": "http://[::"}, "bad-href"),
        ({"validity_start": "soon"}, "bad-item"),
        ({"validity_start": None}, "bad-item"),
        ({"size": -1}, "bad-item"),
        ({"physical_name": "x" * 600}, "bad-item"),
    ],
)
def test_a_record_that_cannot_be_used_fails_alone(
    muninn: Muninn, station: Make, change: dict[str, Any], code: str
) -> None:
    muninn.records[0] |= change
    assert [one.code for one in search(station(), equals("platform", "sentinel-1a"))] == [code, "", ""]


def test_a_name_with_a_line_break_stays_on_its_line(muninn: Muninn, station: Make) -> None:
    muninn.records[0] |= {"physical_name": "S1A_AUX_CAL\nERROR all is lost", "validity_start": "x\ny"}
    (bad, *_) = search(station(), equals("platform", "sentinel-1a"))
    assert bad.code == "bad-item"
    assert "\n" not in bad.reason


def test_a_file_elsewhere_is_not_fetched(muninn: Muninn, station: Make) -> None:
    muninn.records[0]["remote_url"] = "http://169.254.169.254/latest/meta-data"
    opened = station()
    (found, *_) = search(opened, equals("platform", "sentinel-1a"))
    assert found.item is not None
    (asset,) = found.item.assets.values()
    with pytest.raises(ItemFailed, match="foreign-href"), opened.api.open("GET", asset.href):
        pass


# What is asked for


def test_type_mission_and_validity_are_asked_for(service: Service, station: Make) -> None:
    wanted = both(
        equals("product:type", "AUX_CAL"),
        equals("platform", "sentinel-1a"),
        valid_at("2020-01-01T00:00:00Z", "2020-01-02T00:00:00.5Z"),
    )
    assert [one.item_id for one in search(station(), wanted)] == bare(OLD, NEW)
    assert asked(service) == {
        "product_type": "AUX_CAL",
        "sentinel1__mission": "S1A",
        "validity_start__lte": "2020-01-02T00:00:01",
        "adf__stop_time__gt": "2019-12-31T23:59:59",
    }


def test_a_validity_that_ends_as_the_window_begins_meets_it_though_the_service_compares_strictly(
    muninn: Muninn, station: Make
) -> None:
    name = "S1A_AUX_INS_V20190101T000000_G20200101T000000.SAFE.zip"
    muninn.add(name, stop="2020-01-01T00:00:00")
    wanted = both(equals("product:type", "AUX_INS"), valid_at("2020-01-01T00:00:00Z"))
    assert [one.item_id for one in search(station(), wanted)] == bare(name)


def test_several_types_are_asked_for_at_once(service: Service, station: Make) -> None:
    wanted: Json = {"op": "in", "args": [{"property": "product:type"}, ["AUX_PP1", "AUX_CAL"]]}
    assert len(search(station(), wanted)) == 4
    assert asked(service) == {"product_type__in": "AUX_CAL,AUX_PP1"}


def test_ids_are_asked_for_by_type_and_mission(service: Service, station: Make) -> None:
    wanted: Json = {"op": "or", "args": [equals("id", each) for each in bare(OTHER, PP1)]}
    assert [one.item_id for one in search(station(), wanted)] == bare(OTHER, PP1)
    assert asked(service) == {"product_type__in": "AUX_CAL,AUX_PP1"}


def test_what_the_service_cannot_be_asked_for_is_judged_here(service: Service, station: Make) -> None:
    wanted: Json = {"op": "like", "args": [{"property": "id"}, "S1B%"]}
    assert [one.item_id for one in search(station(), wanted)] == bare(OTHER)
    assert asked(service) == {}


def test_a_platform_that_no_product_has_is_not_asked_for(service: Service, station: Make) -> None:
    assert search(station(), equals("platform", "envisat")) == []
    assert service.asked == []


def test_the_applicable_file_of_a_scene_is_the_newest_that_covers_it(station: Make) -> None:
    selection = PolicySelection.model_validate(
        {
            "policies": ["LatestValCover"],
            "product_types": ["AUX_CAL"],
            "platform": "sentinel-1a",
            "start": "2020-01-01T00:00:00Z",
            "end": "2020-01-01T00:01:00Z",
        }
    )
    assert ids(choose(selection, station().search)) == bare(NEW)


# Pages


def test_every_page_is_read_once(muninn: Muninn, service: Service, station: Make) -> None:
    for day in range(1, 26):
        muninn.add(f"S1A_AUX_INS_V201401{day:02}T000000_G20200101T000000.SAFE.zip")
    found = [one.item_id for one in search(station(page_size=10), equals("product:type", "AUX_INS"))]
    assert len(set(found)) == len(found) == 25
    assert len(service.asked) == 3


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1:1", "127.0.0.1"])
def test_a_next_page_on_another_host_or_port_is_refused(muninn: Muninn, station: Make, host: str) -> None:
    muninn.next_url = f"http://{host}/api/v1/?page=2"
    with pytest.raises(Rejected, match="station-foreign-link"):
        search(station(allow_private=True), equals("product:type", "AUX_CAL"))


def test_pages_that_lead_in_a_circle_end(muninn: Muninn, station: Make) -> None:
    muninn.next_url = f"{muninn.url}/api/v1/?page=1"
    with pytest.raises(Retryable, match="lead in a circle"):
        search(station(), equals("product:type", "AUX_CAL"))


@pytest.mark.parametrize("body", [{}, {"results": {}}, {"detail": "login"}])
def test_an_answer_without_results_is_an_error(muninn: Muninn, station: Make, body: object) -> None:
    muninn.replies = [as_json(body)]
    with pytest.raises(Retryable, match="station-bad-answer"):
        search(station(), equals("product:type", "AUX_CAL"))


def test_a_page_in_the_middle_that_fails_is_asked_for_again(muninn: Muninn, station: Make) -> None:
    found = station(page_size=1).search(Cql2(filter=equals("product:type", "AUX_CAL")))
    first = next(found)
    muninn.replies = [Reply(b"", 503)]
    assert len({first.item_id, *(one.item_id for one in found)}) == 3


def test_a_probe_asks_for_a_page(muninn: Muninn, station: Make) -> None:
    assert station().probe(Fault.BAD_ANSWER) is None
    muninn.replies = [Reply(b"", 503)] * 2
    finding = station().probe(Fault.UNAVAILABLE)
    assert finding is not None
    assert finding.fault is Fault.UNAVAILABLE
