import time

import httpx
import pytest

from local import samples
from local.errors import StackError
from local.stack import Stack


def download(station: httpx.Client) -> httpx.Response:
    return station.get(f"/Products({samples.product(samples.OPEN_ENDED).uuid})/$value")


def test_a_status_and_when_to_come_back(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "status": 429, "retry_after": 3}])
    answer = station.post("/search", json={})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "3"


def test_a_rule_applies_to_its_path_only(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "status": 500}])
    assert station.get("/collections").status_code == 200


def test_a_rule_sees_the_query(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": r"/search\?.*limit=7", "status": 500}])
    assert station.get("/search", params={"limit": 7}).status_code == 500
    assert station.get("/search", params={"limit": 8}).status_code == 200


def test_a_rule_applies_to_its_method_only(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "method": "POST", "status": 500}])
    assert station.get("/search").status_code == 200
    assert station.post("/search", json={}).status_code == 500


def test_the_first_rule_that_applies_counts(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "status": 401}, {"path": "/", "status": 500}])
    assert station.get("/search").status_code == 401


def test_a_rule_is_gone_after_its_last_use(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "status": 503, "times": 2}])
    assert [station.get("/search").status_code for _ in range(4)] == [503, 503, 200, 200]
    assert station.get("/faults").json() == []


def test_an_answer_is_late(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "delay": 0.3}])
    before = time.monotonic()
    assert station.get("/search").status_code == 200
    assert time.monotonic() - before >= 0.3


def test_a_search_is_cut_short(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "cut": 100, "times": 1}])
    with pytest.raises(httpx.RemoteProtocolError, match="received 100 bytes"):
        station.get("/search")
    assert station.get("/search").status_code == 200


def test_a_download_is_cut_short(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": r"Products\(", "cut": 1000}])
    size = len(samples.product(samples.OPEN_ENDED).build())
    with pytest.raises(httpx.RemoteProtocolError, match=f"received 1000 bytes, expected {size}"):
        download(station)


def test_bytes_that_were_cut_off_are_not_counted(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": r"Products\(", "cut": 1000}])
    before = stack.station_traffic().download_bytes
    with pytest.raises(httpx.RemoteProtocolError):
        download(station)
    assert stack.station_traffic().download_bytes - before == 1000


def test_a_body_is_replaced(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "body": "<html>maintenance</html>"}])
    answer = station.get("/search")
    assert (answer.status_code, answer.text) == (200, "<html>maintenance</html>")


def test_requests_above_the_rate_are_told_when_to_come_back(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "/search", "per_minute": 2}])
    answers = [station.get("/search") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60


def test_rules_are_removed(stack: Stack, station: httpx.Client) -> None:
    stack.set_station_faults([{"path": "", "status": 500}])
    assert station.delete("/faults").status_code == 200
    assert station.get("/search").status_code == 200


def test_the_rules_are_shown(stack: Stack, station: httpx.Client) -> None:
    rules = [{"path": "/search", "status": 500, "times": 3}]
    stack.set_station_faults(rules)
    assert station.get("/faults").json() == rules


@pytest.mark.parametrize(
    "rule",
    [
        {"path": "/search"},
        {"path": "(", "status": 500},
        {"path": "/search", "status": 200},
        {"path": "/search", "status": 500, "body": "x"},
        {"path": "/search", "retry_after": 1, "delay": 1},
        {"path": "/search", "per_minute": 1, "status": 500},
        {"path": "/search", "status": 500, "colour": "red"},
    ],
)
def test_rules_that_make_no_sense_are_refused(stack: Stack, rule: dict[str, object]) -> None:
    with pytest.raises(StackError):
        stack.set_station_faults([rule])


def test_the_catalog_has_rules_of_its_own(stack: Stack, station: httpx.Client, catalog: httpx.Client) -> None:
    stack.set_catalog_faults([{"path": "/catalog/collections", "status": 502}])
    assert catalog.get("/collections").status_code == 502
    assert station.get("/collections").status_code == 200
