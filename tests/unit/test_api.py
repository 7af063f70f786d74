"""A STAC API over HTTP: what each answer means for the next try."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from shared.errors import AuxipError, Refused, Rejected, Retryable
from shared.http.api import JsonApi, http_client
from tests.unit.making import STATION, Handler, answered_by, sent

LIMIT = 1000
Make = Callable[[Handler], JsonApi]


@pytest.fixture
def api() -> Iterator[Make]:
    """An API with the answers of a function."""
    made = JsonApi("station", STATION, http_client(7, []), LIMIT, "the file of stations")

    def make(handler: Handler) -> JsonApi:
        answered_by(made, handler)
        return made

    yield make
    made.close()


def error_of(api: JsonApi) -> AuxipError:
    with pytest.raises(AuxipError) as raised:
        api.call("GET", "/")
    return raised.value


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Refused, "station-refused"),
        (401, Refused, "station-unauthorized"),
        (403, Refused, "station-unauthorized"),
        (404, Rejected, "station-not-found"),
        (405, Rejected, "station-refused"),
        (408, Retryable, "station-unavailable"),
        (409, Rejected, "station-refused"),
        (422, Rejected, "station-refused"),
        (425, Retryable, "station-unavailable"),
        (429, Retryable, "station-rate-limited"),
        (500, Retryable, "station-unavailable"),
        (503, Retryable, "station-unavailable"),
        (599, Retryable, "station-unavailable"),
    ],
)
def test_a_status_says_whether_to_try_again(api: Make, status: int, kind: type[AuxipError], code: str) -> None:
    error = error_of(api(lambda _: httpx.Response(status)))
    assert type(error) is kind
    assert error.code == code
    assert str(status) in error.reason


@pytest.mark.parametrize("status", [400, 401, 403])
def test_one_refusal_is_no_refusal(api: Make, status: int) -> None:
    answers = [status, 200]
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(sent(request))
        return httpx.Response(answers.pop(0), json={"welcome": True})

    assert api(answer).call("POST", "/x", {"a": 1}).body == {"welcome": True}
    assert bodies == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(("status", "asked"), [(401, 2), (404, 1), (422, 1)])
def test_what_is_no_refusal_of_credentials_is_not_asked_for_again(api: Make, status: int, asked: int) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status)

    error_of(api(answer))
    assert len(requests) == asked


@pytest.mark.parametrize("body", [{"detail": "no such key"}, {"description": "no such key"}])
def test_what_the_api_says_of_an_error_is_passed_on(api: Make, body: dict[str, str]) -> None:
    assert "(no such key)" in error_of(api(lambda _: httpx.Response(400, json=body))).reason


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"detail": ""}', b"[" * 65_000, b"x" * 70_000])
def test_an_error_that_says_nothing_is_told_by_its_status(api: Make, content: bytes) -> None:
    assert error_of(api(lambda _: httpx.Response(400, content=content))).reason == f"GET {STATION}/ answered 400"


def test_what_the_api_says_is_cut_to_a_line(api: Make) -> None:
    error = error_of(api(lambda _: httpx.Response(400, json={"detail": "x" * 5000})))
    assert len(error.reason) < 400


def test_a_wrong_key_names_where_it_is_configured(api: Make) -> None:
    assert "check the file of stations" in error_of(api(lambda _: httpx.Response(401))).reason


def delay_of(api: JsonApi) -> float | None:
    error = error_of(api)
    assert isinstance(error, Retryable)
    return error.delay


@pytest.mark.parametrize(("value", "delay"), [("0", 0), ("12", 12), ("9" * 400, float("inf"))])
@pytest.mark.parametrize("status", [429, 503])
def test_a_number_of_seconds_to_wait_is_passed_on(api: Make, status: int, value: str, delay: float) -> None:
    assert delay_of(api(lambda _: httpx.Response(status, headers={"retry-after": value}))) == delay


def test_a_date_to_wait_for_is_passed_on_as_seconds(api: Make) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    delay = delay_of(api(lambda _: httpx.Response(429, headers={"retry-after": date})))
    assert delay is not None
    assert 60 < delay <= 90


def test_a_date_in_the_past_means_at_once(api: Make) -> None:
    date = "Mon, 25 Mar 2024 09:00:00 GMT"
    assert delay_of(api(lambda _: httpx.Response(429, headers={"retry-after": date}))) == 0


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "Mon, 25 Mar 2024 09:00:00 -0000", "Mon, 99 Mar 2024"])
def test_a_wait_that_cannot_be_read_is_left_to_us(api: Make, value: str) -> None:
    assert delay_of(api(lambda _: httpx.Response(429, headers={"retry-after": value}))) is None


@pytest.mark.parametrize(
    "content", [b"<html>", b"[]", b'"text"', b'{"half": ', b"\xff\xfe", b"null", b"[" * 900], ids=lambda each: each[:9]
)
def test_an_answer_that_is_no_json_object_is_tried_again(api: Make, content: bytes) -> None:
    error = error_of(api(lambda _: httpx.Response(200, content=content)))
    assert (type(error), error.code) == (Retryable, "station-bad-answer")


def test_an_empty_answer_is_an_empty_object(api: Make) -> None:
    assert api(lambda _: httpx.Response(204)).call("PUT", "/x").body == {}


def test_an_answer_may_be_as_large_as_the_limit_and_no_larger(api: Make) -> None:
    def of_size(size: int) -> Handler:
        return lambda _: httpx.Response(200, content=b"{}" + b" " * (size - 2))

    assert api(of_size(LIMIT)).call("GET", "/").body == {}
    assert error_of(api(of_size(LIMIT + 1))).code == "station-bad-answer"


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused(api: Make) -> None:
    import gzip

    packed = gzip.compress(b"{}" + b" " * 10 * LIMIT)
    assert len(packed) < LIMIT
    error = error_of(api(lambda _: httpx.Response(200, content=packed, headers={"content-encoding": "gzip"})))
    assert error.code == "station-bad-answer"


@pytest.mark.parametrize(
    "fault",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), httpx.PoolTimeout("")],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_of_the_network_is_tried_again(api: Make, fault: httpx.HTTPError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise fault

    error = error_of(api(fail))
    assert (type(error), error.code) == (Retryable, "station-unavailable")
    assert type(fault).__name__ in error.reason


def closing_once(fault: httpx.HTTPError) -> Handler:
    faults = [fault]

    def handle(_: httpx.Request) -> httpx.Response:
        if faults:
            raise faults.pop()
        return httpx.Response(200, json={"well": True})

    return handle


@pytest.mark.parametrize(
    "fault", [httpx.ReadError("reset"), httpx.WriteError("pipe"), httpx.RemoteProtocolError("disconnected")]
)
def test_a_connection_that_the_api_has_closed_meanwhile_is_replaced_at_once(api: Make, fault: httpx.HTTPError) -> None:
    assert api(closing_once(fault)).call("GET", "/").body == {"well": True}


def test_a_request_that_was_not_answered_in_time_is_not_sent_twice(api: Make) -> None:
    assert error_of(api(closing_once(httpx.ReadTimeout("slow")))).code == "station-unavailable"


def test_a_request_that_begins_a_job_is_not_sent_twice() -> None:
    staging = JsonApi("staging", STATION, http_client(7, []), LIMIT, "the key", repeatable=False)
    answered_by(staging, closing_once(httpx.ReadError("reset")))
    assert error_of(staging).code == "staging-unavailable"
    staging.close()


@pytest.mark.parametrize("href", ["http://[::1", "http://host:port/", "http://\x00/"])
def test_a_url_that_is_none_is_refused(api: Make, href: str) -> None:
    with pytest.raises(Rejected, match="bad-href"):
        api(lambda _: httpx.Response(200)).call("GET", href)


def test_a_path_is_below_the_api_and_a_url_is_itself(api: Make) -> None:
    asked: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200)

    station = api(note)
    station.call("GET", "/search")
    station.call("GET", "https://other.example/x")
    assert asked == [f"{STATION}/search", "https://other.example/x"]


def test_a_status_that_the_caller_expects_is_an_answer(api: Make) -> None:
    station = api(lambda _: httpx.Response(409, json={"detail": "there already"}))
    answer = station.call("POST", "/x", {"a": 1}, expected=(409,))
    assert (answer.status, answer.body) == (409, {"detail": "there already"})


def test_a_body_is_sent_as_json(api: Make) -> None:
    bodies = []

    def note(request: httpx.Request) -> httpx.Response:
        bodies.append(sent(request))
        return httpx.Response(200)

    api(note).call("POST", "/x", {"a": [1, None]})
    assert bodies == [{"a": [1, None]}]


@pytest.mark.parametrize(("wait", "waited"), [(None, 7), (2.0, 2), (7.0, 7), (3600.0, 7)])
def test_the_next_bytes_are_never_waited_for_longer_than_usual(api: Make, wait: float | None, waited: float) -> None:
    timeouts: list[float] = []

    def note(request: httpx.Request) -> httpx.Response:
        timeouts.append(request.extensions["timeout"]["read"])
        return httpx.Response(200)

    api(note).call("GET", "/", wait=wait)
    assert timeouts == [waited]
