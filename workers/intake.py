"""What other systems push onto the intake, and what is pushed onto their reply lists: plain JSON, no word of Celery."""

import json
from collections.abc import Callable
from typing import Annotated

from celery.exceptions import TaskRevokedError
from kombu.utils import json as kombu_json
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json

from shared.answer import Answer, Status
from shared.errors import AuxipError, Rejected
from shared.json_types import Json
from shared.models import Lane, ReplyName
from shared.report import problem_of
from shared.validation import all_problems
from workers.contract import MESSAGES, OnDemandMessage, RunId, UnzipMessage, decode
from workers.envelope import MAX_DEPTH, deeper_than
from workers.refusals import unknown_task

MAX_ANSWER_BYTES = 2**20


class _Asked(BaseModel):
    """What of a request is looked at where something else of it is wrong."""

    model_config = ConfigDict(strict=True)

    task: str
    arguments: Json


_OBJECT = TypeAdapter(dict[str, object])
_REPLY_NAME = TypeAdapter[str](ReplyName)
_TRACEPARENT = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


class IntakeRequest(BaseModel):
    """One request on the list `auxip:intake`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    task: Annotated[str, Field(json_schema_extra={"enum": [*MESSAGES]})]
    """What to do: the name of a public task."""
    arguments: Json
    """Of the task, by name, as its own schema says."""
    id: Annotated[str, *RunId.model_fields["run_id"].metadata] | None = None
    """Of the task, and of its run; by default a new one. Two requests of one id are one: the first."""
    reply: ReplyName | None = None
    """When the task has ended an answer is pushed to the list `auxip:reply:` and this name."""
    priority: Annotated[Lane, Field(strict=False)] = Lane.ON_DEMAND
    """Somebody waits for it, or nobody does."""
    traceparent: Annotated[str, StringConstraints(pattern=_TRACEPARENT)] | None = None
    """Of W3C Trace Context; handed on as a header of the task's message."""


def decode_request(raw: bytes) -> IntakeRequest:
    """Return the request that stands on the intake as `raw`, with arguments that its task accepts.

    Raises:
        Rejected: `bad-message`, it is no request; `unknown-task`; or what its arguments are refused with, as by
            `workers.contract.decode`.
    """
    request = _request(_loaded(raw))
    if request.task not in MESSAGES:
        raise unknown_task(request.task)
    message = decode(MESSAGES[request.task], **request.arguments)
    if isinstance(message, OnDemandMessage | UnzipMessage):
        message.request()  # what the fields are refused with together
    return request


def owner_of(request: IntakeRequest, default: str) -> str:
    """Return the owner on whose behalf a request is made; `default` where it names none."""
    env = request.arguments.get("env")
    return str(env.get("owner_id")) if isinstance(env, dict) else default


def return_address(raw: bytes) -> tuple[str | None, str | None]:
    """Return the id and the reply list of a request that is refused, each if it can be made out."""
    try:
        fields = _OBJECT.validate_python(from_json(raw))
    except ValueError:
        return None, None
    return (
        _valid(lambda: RunId.model_validate({"run_id": fields.get("id")}).run_id),
        _valid(lambda: _REPLY_NAME.validate_python(fields.get("reply"))),
    )


def answer_of_result(request_id: str, result: object, run: Answer | None = None) -> str:
    """Return the answer to a request whose task has returned `result`; one that is too large is left out.

    Args:
        request_id: of the request.
        result: of its task.
        run: what became of its run, if it has one.
    """
    answer = run or Answer(id=request_id, status=_status_of(result))
    text = _answered(answer, result)
    if len(text) <= MAX_ANSWER_BYTES:
        return text
    told = f"{len(text)} bytes, and {MAX_ANSWER_BYTES} are the most; celery-task-meta-{request_id} has it for a day"
    return _answered(answer.model_copy(update={"left_out": told}), None)


def answer_of_error(request_id: str, error: object, run: Answer | None = None) -> str:
    """Return the answer to a request that was refused, or whose task has failed with `error`.

    Args:
        request_id: of the request.
        error: which was raised.
        run: what became of its run, if it has one.
    """
    if isinstance(error, AuxipError):
        problem = problem_of(error.code, error.reason)
    elif isinstance(error, TaskRevokedError):
        problem = problem_of("cancelled", "the task was revoked before a worker began it; nothing was done")
    else:
        problem = problem_of("internal-error", f"{type(error).__name__}; see the worker's log")
    status = Status.CANCELLED if problem.code == "cancelled" else Status.FAILED
    answer = (run or Answer(id=request_id, status=status)).model_copy(update={"status": status, "error": problem})
    return _answered(answer, None)


def _status_of(result: object) -> Status:
    """How a task has ended of whose run, if it has one, the ledger knows nothing."""
    match result:
        case None | [True, None]:
            return Status.EMPTY
        case [False, _]:
            return Status.FAILED
        case _:
            return Status.SUCCESSFUL


def _answered(answer: Answer, result: object) -> str:
    return json.dumps({**answer.model_dump(mode="json", exclude={"items"}), "result": result})


def _loaded(raw: bytes) -> object:
    try:
        value: object = from_json(raw, allow_inf_nan=False)
        if deeper_than(MAX_DEPTH, value):
            raise Rejected("bad-message", f"the request: is nested deeper than {MAX_DEPTH} levels")
        # The workers must read what was sent: no number beyond JSON's, and no object that kombu makes another type of.
        if kombu_json.loads(json.dumps(value, allow_nan=False)) == value:
            return value
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise Rejected(
            "bad-message", f"the request: is no JSON that can be passed on ({type(error).__name__})"
        ) from None
    raise Rejected(
        "bad-message", "the request: holds an object of `__type__` and `__value__`, which means another type"
    )


def _request(value: object) -> IntakeRequest:
    """Validate a request; where that fails, its arguments are looked at as well, so that all is said at once."""
    try:
        return IntakeRequest.model_validate(value)
    except ValidationError as error:
        reasons = [all_problems(error, IntakeRequest.model_fields, (), whole="the request")]
    try:
        asked = _Asked.model_validate(value)
        if asked.task in MESSAGES:
            decode(MESSAGES[asked.task], **asked.arguments)
    except ValidationError:
        pass  # these two are told already
    except Rejected as error:
        reasons.append(error.reason)
    raise Rejected("bad-message", "; ".join(reasons))


def _valid(validate: Callable[[], str]) -> str | None:
    try:
        return validate()
    except ValidationError:
        return None
