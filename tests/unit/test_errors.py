"""The tree of errors: every one reaches the caller with its code and its reason."""

import pickle
from typing import cast

import pytest
from celery import Celery
from celery.backends.base import Backend

import shared.archives
from shared.archives import ArchiveFailed, Kind, Problem
from shared.errors import AuxipError, Busy, ItemFailed, NothingFound, Refused, Rejected, Retryable, UnsupportedArchive
from shared.settings import SettingsError

ERRORS: list[AuxipError] = [
    AuxipError("some-code", "some reason"),
    Rejected("bad-window", "the window ends before it begins"),
    ItemFailed("bad-checksum", "no MD5"),
    Retryable("station-unavailable", "answered 500"),
    Retryable("station-rate-limited", "answered 429", 2.5),
    Refused("s3-denied", "the key is not known"),
    Busy("claimed-elsewhere", "another worker holds it", 2.0),
    UnsupportedArchive("orbit.EOF"),
    NothingFound('{"op": "="}'),
    SettingsError("AUXIP_S3_BUCKET is not set"),
    ArchiveFailed([Problem(next(iter(Kind)), "a/b", "is wrong")], total=3, archive="s3://bucket/a.zip"),
]


def family(base: type[AuxipError]) -> set[type[AuxipError]]:
    return {base}.union(*(family(child) for child in base.__subclasses__()))


@pytest.fixture(scope="module")
def backend() -> Backend:
    """What writes an error into a result, and what makes it again on the caller's side."""
    app = Celery("callers", set_as_current=False)
    app.conf.update(result_serializer="json", accept_content=["json"])
    return Backend(app)


def through_a_result(backend: Backend, error: Exception) -> BaseException:
    written = backend.encode(backend.prepare_exception(error, "json"))
    return cast("BaseException", backend.exception_to_python(backend.decode(written)))


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
def test_an_error_reaches_the_caller_of_a_task_with_its_code_and_reason(backend: Backend, error: AuxipError) -> None:
    again = through_a_result(backend, error)

    assert error.code in str(again)
    assert error.reason in str(again)


@pytest.mark.parametrize(
    "error", [error for error in ERRORS if not isinstance(error, ArchiveFailed)], ids=lambda error: type(error).__name__
)
def test_an_error_reaches_the_caller_of_a_task_as_what_it_is(backend: Backend, error: AuxipError) -> None:
    again = through_a_result(backend, error)

    assert type(again) is type(error)
    assert str(again) == str(error)


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
