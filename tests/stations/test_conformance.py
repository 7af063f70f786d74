"""The official conformance suite of AUXIP against our simulator: what passes against it is a station's behaviour."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.odata.manners import STRICT
from tests.stations.simulator import DATA, Simulator, samples

SUITE: list[dict[str, Any]] = json.loads((DATA / "conformance.json").read_text("utf-8"))["requests"]
NOT_OF_THE_STATION = {"{{NotificationEndpoint}}", "{{ServerLogsUrl}}"}
"""Requests of the suite to a subscriber, and to the logs of one."""

SAMPLE = samples()[0]
VALUES = {
    "ProductTypeCode": "contains(Name,'_AUX_') or contains(Name,'_AX_')",
    "QueryByNameString": f"Name eq '{SAMPLE['Name']}'",
    "Start": "2019-01-01T00:00:00.000Z",
    "End": "2024-12-31T00:00:00.000Z",
    "StartPublicationDate": "2019-01-01T00:00:00.000Z",
    "PublicationDate": "2019-01-01T00:00:00.000Z",
    "OriginDate": "2016-01-01T00:00:00.000Z",
    "EvictionDate": "2016-01-01T00:00:00.000Z",
    "ContentLength": SAMPLE["ContentLength"],
    "ProductId": SAMPLE["Id"],
    "instrumentShortName": "SAR",
    "orbitNumber": "5702",
    "processingDate": "2019-02-16T12:00:00.000Z",
    "timeliness": "NRT",
    "platformShortName": "SENTINEL-2",
    "platformSerialIdentifier": "A",
    "productType": "OPER_AUX_ECMWFD_PDMC",
    "productType2": "OPER_MPL_ORBPRE",
    "productType3": "AUX_PP2",
    "beginningDateTime": "2019-02-16T18:29:37.522Z",
    "endingDateTime": "2019-02-16T18:29:47.522Z",
    "processingCenter": "FOS",
    "processorVersion": "3.0",
    "PropertyAsc": "PublicationDate",
    "PropertyDesc": "ContentDate/Start",
    "top": "3",
    "skip": "2",
    "StartStringName": "S1A",
    "EndStringName": "EOF",
    "StringName": "RESORB",
    "StringName2": "PREORB",
    "StringNameNot": "PREORB",
    "SubscriptionFilterParam": "startswith(Name,'S1A')",
    "NotificationEndpoint": "https://us.example/notify",
    "NotificationEpUsername": "us",
    "NotificationEpPassword": "password",
    "SubscriptionStatus": "running",
    "FilterString": "contains(FilterParam,'S1A')",
    "SubmissionDate": "2026-01-01T00:00:00.000Z",
}


@pytest.fixture(scope="module")
def station() -> Iterator[Simulator]:
    simulator = Simulator(STRICT)
    for each in samples():
        simulator.offer(each, bytes(2048))
    with simulator:
        yield simulator


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: str(values[found[1]]), text)


def test_the_suite_has_46_requests_two_of_which_go_elsewhere() -> None:
    assert len(SUITE) == 46
    assert {each["url"] for each in SUITE if not each["url"].startswith(("/odata", "{{access"))} == NOT_OF_THE_STATION


def test_every_request_of_the_suite_is_answered_as_it_demands(station: Simulator) -> None:
    values = dict(VALUES)
    form = {"grant_type": "password", "username": station.username, "password": station.password}
    secret = {"client_id": station.client_id, "client_secret": station.client_secret}
    granted = httpx.post(f"{station.url}/oauth2/token", data={**form, **secret}).raise_for_status().json()
    headers = {"authorization": f"Bearer {granted['access_token']}", "range": "bytes=0-1023"}
    client = httpx.Client(headers=headers)
    for each in SUITE:
        if each["expect"] is None or each["url"] in NOT_OF_THE_STATION:
            continue
        url = f"{station.url}{filled(each['url'], values)}"
        body = filled(each.get("body", ""), values)
        answer = client.request(each["method"], url, content=body)
        assert answer.status_code in each["expect"], (each["name"], answer.text)
        if each["name"] == "Subscription Create":
            values["SubscriptionId"] = answer.json()["Id"]
        if each["name"] == "Product Download By ProductId":
            assert len(answer.content) == 1024
        if each["name"] == "Additional Options (count)":
            assert answer.json()["@odata.count"] == 17
    client.close()


@pytest.mark.parametrize("query", ["$search=x", "$filter=Name like 'x'", "$orderby=Id", "$top=-1", "$expand=Files"])
def test_what_the_suite_does_not_ask_is_refused_in_strict_mode(station: Simulator, query: str) -> None:
    station.manners = STRICT
    headers = {"authorization": f"Bearer {station._token}"}
    assert httpx.get(f"{station.url}/odata/v1/Products?{query}", headers=headers).status_code == 400
