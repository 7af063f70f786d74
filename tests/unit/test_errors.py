"""The tree of errors: every one reaches the caller with its code and its reason."""

import pickle
import sys
from typing import Any, cast

import pytest
from celery import Celery
from celery.backends.base import Backend as BaseBackend

import shared.archives
import workers.client
from shared.archives import ArchiveFailed, Kind, Problem
from shared.errors import (
    AuxipError,
    Busy,
    ItemFailed,
    NothingFound,
    Refused,
    Rejected,
    Retryable,
    UnsupportedArchive,
    WrongValue,
)
from shared.settings import SettingsError
from workers.client import AuxipError as ClientError
from workers.results import CLIENT, Backend

ERRORS: list[AuxipError] = [
    AuxipError("some-code", "some reason"),
    Rejected("bad-window", "the window ends before it begins"),
    ItemFailed("bad-checksum", "no MD5"),
    Retryable("station-unavailable", "answered 500"),
    Retryable("station-rate-limited", "answered 429", 2.5),
    Refused("s3-denied", "the key is not known"),
    Busy("claimed-elsewhere", "another worker holds it", 2.0),
    WrongValue("nothing-found", "no product"),
    UnsupportedArchive("orbit.EOF"),
    NothingFound('{"op": "="}'),
    SettingsError("AUXIP_S3_BUCKET is not set"),
    ArchiveFailed([Problem(next(iter(Kind)), "a/b", "is wrong")], total=3, archive="s3://bucket/a.zip"),
]


def family(base: type[AuxipError]) -> set[type[AuxipError]]:
    return {base}.union(*(family(child) for child in base.__subclasses__()))


def backend(kind: Any, *args: str) -> Any:
    app = Celery("callers", set_as_current=False)
    app.conf.update(result_serializer="json", accept_content=["json"])
    return kind(*args, app=app)


@pytest.fixture(scope="module")
def ours() -> Any:
    """What writes an error into a result, and what our own programs read it with."""
    return backend(Backend, "redis://127.0.0.1:1/0")


@pytest.fixture(scope="module")
def stock() -> Any:
    """What a caller has that has nothing but Celery."""
    return backend(BaseBackend)


def through_a_result(writer: Any, reader: Any, error: Exception) -> BaseException:
    written = writer.encode(writer.prepare_exception(error, "json"))
    return cast("BaseException", reader.exception_to_python(reader.decode(written)))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that has imported the client."""
    monkeypatch.setitem(sys.modules, CLIENT, workers.client)


def test_every_class_of_the_tree_is_tried_here() -> None:
    ours = {each for each in family(AuxipError) if each.__module__.startswith(shared.archives.__name__.split(".")[0])}
    assert {type(error) for error in ERRORS} == ours


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: AuxipError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again) is type(error)
    assert (again.code, again.reason, str(again)) == (error.code, error.reason, str(error))
    assert getattr(again, "delay", None) == getattr(error, "delay", None)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_caller_with_the_client_gets_its_class_with_code_and_reason(
    ours: Any, stock: Any, client: None, error: AuxipError
) -> None:
    again = through_a_result(ours, stock, error)
    told = ClientError.of(again)
    assert told is not None
    assert (told.code, told.reason, str(told)) == (error.code, error.reason, str(error))
    assert type(again) is (ValueError if isinstance(error, ValueError) else ClientError)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_caller_with_nothing_but_celery_gets_code_and_reason(ours: Any, stock: Any, error: AuxipError) -> None:
    again = through_a_result(ours, stock, error)
    assert error.code in str(again)
    assert error.reason in str(again)
    assert type(again).__name__ in {"AuxipError", "ValueError"}
    assert isinstance(again, ValueError) is isinstance(error, ValueError)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_our_own_programs_get_an_error_of_ours(ours: Any, error: AuxipError) -> None:
    again = through_a_result(ours, ours, error)
    assert type(again) is type(error)
    assert isinstance(again, AuxipError)
    assert (again.code, again.reason) == (error.code, error.reason)
    assert isinstance(again, ValueError) is isinstance(error, ValueError)


def test_an_error_that_is_not_ours_is_stored_as_celery_does(ours: Any, stock: Any) -> None:
    again = through_a_result(ours, stock, KeyError("x"))
    assert (type(again), again.args) == (KeyError, ("x",))


@pytest.mark.parametrize("error", [ValueError("soon"), KeyError("x"), ValueError(1, 2), ValueError("a b: c")])
def test_an_error_that_is_not_ours_has_no_code(error: Exception) -> None:
    assert ClientError.of(error) is None


def test_an_error_says_its_code_first() -> None:
    assert str(Rejected("bad-window", "it ends too early")) == "bad-window: it ends too early"


@pytest.mark.parametrize("error", [UnsupportedArchive("orbit.EOF"), NothingFound("{}")])
def test_what_callers_of_the_reference_catch_as_a_value_error_still_is_one(error: Exception) -> None:
    assert isinstance(error, ValueError)
    assert isinstance(error, Rejected)


def test_the_sentences_that_callers_of_the_reference_know_stay() -> None:
    assert "Unsupported archive type" in str(UnsupportedArchive("orbit.EOF"))
    assert "No Auxip product found for CQL2 filter: {}" in str(NothingFound("{}"))


def test_what_is_worth_another_try_is_not_what_is_refused() -> None:
    assert not issubclass(Retryable, Rejected | ItemFailed)
    assert not issubclass(Rejected, Retryable | ItemFailed)
    assert issubclass(Busy, Retryable)
    assert issubclass(Refused, Retryable)
