"""A staging service: what it is asked, and what of its answers is believed."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from shared.errors import AuxipError, Refused, Rejected, Retryable
from shared.json_types import Json
from shared.stac.processes import JobState, StagingService
from tests.unit.making import Handler, answered_by, item_json, item_of, sent, settings_of

URL = "http://staging.example/ogc"
JOB = "6fd0ca47-0a9e-4c70-93f7-9b6c9a5d4f11"
Make = Callable[[Handler], StagingService]


def told(**changes: Any) -> Json:
    """A statusInfo as RS-Server spells it."""
    return {
        "processID": "staging",
        "type": "process",
        "jobID": JOB,
        "created": "2026-07-01T10:00:00Z",
        "started": "2026-07-01T10:00:00Z",
        "updated": "2026-07-01T10:00:12Z",
        "status": "running",
        "progress": 42,
        "message": "Downloaded 3.36 / 8.00 MiB",
        **changes,
    }


@pytest.fixture
def service() -> Iterator[Make]:
    """A staging service with the answers of a function."""
    made = StagingService(settings_of(staging_url=URL, staging_api_key=SecretStr("staging-secret")))
    with closing(made.api):

        def make(handler: Handler) -> StagingService:
            answered_by(made.api, handler)
            return made

        yield make


def test_an_execution_names_the_collection_the_assets_and_the_item_as_the_station_gave_it(service: Make) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(201, json=told(status="accepted", progress=0))

    info = service(answer).execute("s1-aux", item_of("X", collection="adgs"), ["X.EOF"])

    (request,) = requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/processes/staging/execution")
    assert request.headers["x-api-key"] == "staging-secret"
    collection = {"type": "FeatureCollection", "features": [item_json("X", collection="adgs")]}
    assert sent(request) == {
        "inputs": {"collection": "s1-aux", "asset_names": ["X.EOF"], "items": {"value": collection}}
    }
    assert (info.job_id, info.status) == (JOB, JobState.ACCEPTED)


@pytest.mark.parametrize(
    ("changes", "state", "progress", "message"),
    [
        (
            {"status": "accepted", "progress": 0, "message": "Processing Unit was created"},
            JobState.ACCEPTED,
            0,
            "Processing Unit was created",
        ),
        ({}, JobState.RUNNING, 42, "Downloaded 3.36 / 8.00 MiB"),
        (
            {"status": "successful", "progress": 100, "message": "Finished", "finished": "2026-07-01T10:00:30Z"},
            JobState.SUCCESSFUL,
            100,
            "Finished",
        ),
        (
            {"status": "successful", "progress": 100, "message": "Finished without processing any tasks"},
            JobState.SUCCESSFUL,
            100,
            "Finished without processing any tasks",
        ),
        ({"status": "failed", "message": "At least one"}, JobState.FAILED, 42, "At least one"),
        ({"status": "dismissed"}, JobState.DISMISSED, 42, "Downloaded 3.36 / 8.00 MiB"),
    ],
)
def test_a_status_info_is_read(
    service: Make, changes: dict[str, Any], state: JobState, progress: int, message: str
) -> None:
    info = service(lambda _: httpx.Response(200, json=told(**changes))).job(JOB)
    assert info is not None
    assert (info.status, info.progress, info.message) == (state, progress, message)


@pytest.mark.parametrize(
    ("value", "progress"),
    [
        ("42.9", 42),
        ("-3", 0),
        ("900", 100),
        ("1e999", 100),
        ("-1e999", 0),
        ("1" + "0" * 400, 100),
        ("NaN", 0),
        ("null", 0),
        ("true", 0),
        ('"42"', 0),
        ("[]", 0),
    ],
)
def test_a_progress_that_is_none_fails_no_job(service: Make, value: str, progress: int) -> None:
    text = json.dumps(told(progress="HERE")).replace('"HERE"', value)
    info = service(lambda _: httpx.Response(200, text=text)).job(JOB)
    assert info is not None
    assert info.progress == progress


@pytest.mark.parametrize(
    ("message", "kept"), [(None, ""), (7, ""), ("x" * 10_000, "x" * 300), ("half \ud800 a letter", "half ? a letter")]
)
def test_of_a_message_what_can_be_stored_is_kept(service: Make, message: object, kept: str) -> None:
    info = service(lambda _: httpx.Response(200, text=json.dumps(told(message=message)))).job(JOB)
    assert info is not None
    assert info.message == kept


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"detail": "no job"},
        told(jobID=None),
        told(jobID=""),
        told(jobID="../../admin"),
        told(jobID=".."),
        told(jobID="x" * 129),
        told(jobID="a b"),
        told(jobID="another"),
        told(status="sleeping"),
        told(status=None),
        told(status=["running"]),
    ],
)
def test_an_answer_that_is_no_status_info_of_the_job_may_be_better_the_next_time(service: Make, body: Json) -> None:
    with pytest.raises(Retryable, match="staging-bad-answer"):
        service(lambda _: httpx.Response(200, json=body)).job(JOB)


def test_an_answer_larger_than_any_status_info_is_not_read(service: Make) -> None:
    with pytest.raises(Retryable, match="staging-bad-answer"):
        service(lambda _: httpx.Response(200, json=told(message="x" * 2**20))).job(JOB)


def test_a_job_that_the_service_does_not_know_is_none(service: Make) -> None:
    assert service(lambda _: httpx.Response(404, json={"detail": "Job not found"})).job(JOB) is None


def test_a_404_of_something_in_between_does_not_count_for_the_service_s(service: Make) -> None:
    with pytest.raises(Retryable, match="staging-bad-answer"):
        service(lambda _: httpx.Response(404, text="default backend - 404")).job(JOB)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, Refused, "staging-unauthorized"),
        (404, Rejected, "staging-not-found"),
        (422, Rejected, "staging-refused"),
        (429, Retryable, "staging-rate-limited"),
        (500, Retryable, "staging-unavailable"),
    ],
)
def test_an_execution_that_is_refused_is_told_with_the_detail(
    service: Make, status: int, kind: type[AuxipError], code: str
) -> None:
    with pytest.raises(AuxipError, match="the detail") as raised:
        service(lambda _: httpx.Response(status, json={"detail": "the detail"})).execute("aux", item_of(), ["X.EOF"])
    assert (type(raised.value), raised.value.code) == (kind, code)
    assert "staging-secret" not in raised.value.reason


@pytest.mark.parametrize("status", [200, 204, 404])
def test_a_job_is_dismissed_also_where_it_is_gone(service: Make, status: int) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, json={} if status != 204 else None)

    service(answer).dismiss(JOB)
    assert [(request.method, request.url.path) for request in requests] == [("DELETE", f"/ogc/jobs/{JOB}")]


def test_the_key_goes_to_no_other_host(service: Make) -> None:
    seen: dict[str, str | None] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen[request.url.host] = request.headers.get("x-api-key")
        if request.url.host == "staging.example":
            return httpx.Response(307, headers={"location": "http://other.example/"})
        return httpx.Response(200, json=told())

    service(answer).job(JOB)
    assert seen == {"staging.example": "staging-secret", "other.example": None}


def test_without_a_url_there_is_no_service() -> None:
    with pytest.raises(Rejected, match="AUXIP_STAGING_URL is not set"):
        StagingService(settings_of())
