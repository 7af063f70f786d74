"""Probes of an API: what confirms that not the item but the system is at fault."""

import httpx
import pytest

from shared.errors import ItemFailed, Refused
from shared.http.api import JsonApi, http_client
from shared.http.probes import Fault, Question, probe_api
from tests.unit.making import STATION, answered_by

GUARDED: Question = ("POST", "/search", {"limit": 1})
HTML = httpx.Response(200, text="<html>")
JSON = httpx.Response(200, json={"links": []})


def status(code: int) -> httpx.Response:
    return httpx.Response(code, json={"detail": "no"})


def found(suspected: Fault, landing: httpx.Response | Exception, guarded: httpx.Response) -> Fault | None:
    """What a probe finds of an API that answers the landing page and the guarded question so."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return guarded
        if isinstance(landing, Exception):
            raise landing
        return landing

    api = JsonApi("station", STATION, http_client(5, []), 1000, "the file")
    answered_by(api, answer)
    finding = probe_api(api, suspected, GUARDED)
    api.close()
    return None if finding is None else finding.fault


@pytest.mark.parametrize("suspected", list(Fault))
@pytest.mark.parametrize("silent", [status(500), status(503), httpx.ConnectError("refused")])
def test_no_answer_is_an_outage_whatever_was_suspected(suspected: Fault, silent: httpx.Response | Exception) -> None:
    assert found(suspected, silent, JSON) is Fault.UNAVAILABLE


@pytest.mark.parametrize("answer", [200, 400, 401, 403, 404, 429])
def test_an_api_that_answers_is_not_unavailable(answer: int) -> None:
    assert found(Fault.UNAVAILABLE, status(answer), status(503)) is None


@pytest.mark.parametrize(
    ("landing", "guarded", "confirmed"),
    [
        (200, 401, True),  # everybody may read the landing page
        (200, 403, True),
        (401, 401, True),
        (400, 400, True),  # nothing but refusals
        (403, 200, False),  # nobody may read the landing page
        (200, 200, False),
        (200, 400, False),  # the credentials are taken, the question is not
        (401, 422, False),
        (200, 404, False),
    ],
)
def test_credentials_are_refused_if_what_they_are_for_is(landing: int, guarded: int, confirmed: bool) -> None:
    assert (found(Fault.REFUSED, status(landing), status(guarded)) is Fault.REFUSED) is confirmed


@pytest.mark.parametrize(
    ("landing", "guarded", "confirmed"),
    [
        (HTML, HTML, True),
        (HTML, JSON, False),
        (JSON, HTML, False),
        (HTML, status(404), False),
        (HTML, httpx.Response(200, content=b"[" * 2000), True),
    ],
)
def test_answers_are_bad_if_none_is_json(landing: httpx.Response, guarded: httpx.Response, confirmed: bool) -> None:
    assert (found(Fault.BAD_ANSWER, landing, guarded) is Fault.BAD_ANSWER) is confirmed


def test_a_token_endpoint_that_refuses_refuses_the_credentials() -> None:
    assert found(Fault.UNAVAILABLE, Refused("station-unauthorized", "no token"), JSON) is Fault.REFUSED


def test_a_landing_page_that_leads_elsewhere_is_an_answer() -> None:
    assert found(Fault.UNAVAILABLE, ItemFailed("foreign-href", "elsewhere"), JSON) is None
