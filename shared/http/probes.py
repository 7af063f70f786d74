"""Probes of an API: questions about no item, which tell a fault of the API from the fault of an item."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from shared.errors import Busy, ItemFailed, Refused, Rejected, Retryable
from shared.http.api import JsonApi, Reply
from shared.json_types import Json

_DENIED: Final = frozenset({401, 403})
_REFUSED: Final = frozenset({400, *_DENIED})

Question: TypeAlias = tuple[str, str, Json | None]
"""A method, a path below the API's URL, and a body."""


class Fault(StrEnum):
    """What is wrong with a system."""

    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    BAD_ANSWER = "bad-answer"
    FULL = "full"


@dataclass(frozen=True)
class Finding:
    """What a probe has found to be wrong, and what the system answered."""

    fault: Fault
    reason: str


def probe_api(
    api: JsonApi,
    suspected: Fault,
    guarded: Question | None = None,
    landing: str = "/",
    needed: Sequence[Question] = (),
) -> Finding | None:
    """Return what is wrong with an API, or None where it is well, as far as can be told without an item.

    Args:
        api: which.
        suspected: what an item's request ran into. It takes an answer of the same kind to confirm a refusal or a bad
            answer; any answer below 500 refutes that the API is unavailable.
        guarded: a question that the API answers to those alone whose credentials it takes. The landing page is asked
            for in any case: of many an API anybody may read it, and of some nobody.
        landing: URL or path of the landing page.
        needed: questions that it must have an answer to as well, or it is unavailable: pgSTAC shows its landing page
            without its database.
    """
    questions: list[Question] = [("GET", landing, None), *needed]
    if guarded is not None and suspected is not Fault.UNAVAILABLE:
        questions.append(guarded)
    try:
        replies = [api.probe(*question) for question in questions]
    except Refused as error:  # by the token endpoint
        return Finding(Fault.REFUSED, error.reason)
    except (Busy, ItemFailed, Rejected):
        return None  # the limits of a station let nothing go now, or it sends us elsewhere
    except Retryable as error:
        return Finding(Fault.UNAVAILABLE, error.reason)
    is_confirmed = {Fault.REFUSED: _is_refusal, Fault.BAD_ANSWER: _is_nonsense}.get(suspected, _is_nothing)
    return Finding(suspected, replies[-1].reason) if is_confirmed(replies) else None


def _is_refusal(replies: Sequence[Reply]) -> bool:
    """Whether the credentials are refused. A 400 tells of the question, unless there is nothing but refusals."""
    return replies[-1].status in _DENIED or all(reply.status in _REFUSED for reply in replies)


def _is_nonsense(replies: Sequence[Reply]) -> bool:
    return not any(reply.is_object or reply.status >= 400 for reply in replies)


def _is_nothing(_: Sequence[Reply]) -> bool:
    return False
