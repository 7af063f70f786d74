"""Requests through the intake, and their answers: plain JSON in Redis or Valkey."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from redis import Redis

from .answer import Answer, Counts, FailedItem, Selected, Status
from .errors import AuxipError, error_for

if TYPE_CHECKING:
    import pystac

INTAKE: Final = "auxip:intake"
_ONE_POLL: Final = 5.0
_STATUS_SECONDS: Final = 10.0
_TURN: Final = 0.1  # in which another program of the same list takes its answer
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

Progress = Callable[[Answer], None]


@dataclass(frozen=True)
class Outcome:
    """How a request ended.

    Attributes:
        answer: all that is known of it.
    """

    answer: Answer

    @property
    def status(self) -> Status:
        """successful, partial, failed, empty or cancelled."""
        return self.answer.status

    @property
    def failed(self) -> tuple[FailedItem, ...]:
        """The first failed items; `answer.failed_left_out` counts the others."""
        return self.answer.failed

    @property
    def selected(self) -> tuple[Selected, ...]:
        """What was selected of each product type."""
        return self.answer.selected

    @property
    def counts(self) -> Counts:
        """What the run has come to."""
        return self.answer.counts or Counts()

    @property
    def report(self) -> str | None:
        """The href of report.json."""
        return self.answer.report

    @property
    def item_collection(self) -> dict[str, Any] | None:
        """The items as GeoJSON, or a link to them with an `href` where they are too many; None where there is none."""
        result = self.answer.result
        found = result[1] if isinstance(result, list) and len(result) == 2 else result
        return found if isinstance(found, dict) else None

    @property
    def items(self) -> "pystac.ItemCollection":
        """The items of the request that are in the catalog.

        Raises:
            ImportError: pystac is not installed (`pip install auxip-workers-client[pystac]`).
            LookupError: they are not in the answer; the error says where they are.
        """
        import pystac

        found = self.item_collection
        if self.answer.left_out:
            raise LookupError(f"the result is too large for an answer: {self.answer.left_out}")
        if found is not None and "href" in found:
            raise LookupError(f"the items are too many for an answer; read {found['href']}")
        if found is None:
            return pystac.ItemCollection([])
        features = found.get("features", [found])
        return pystac.ItemCollection([pystac.Item.from_dict(feature) for feature in features])


@dataclass(frozen=True)
class Request:
    """A request that was sent. Its id is that of its run."""

    client: "Auxip"
    id: str

    def wait(self, timeout: float | None = None, progress: Progress | None = None) -> Outcome:
        """Wait for the end of the request. Failed items do not raise; look at `Outcome.failed`.

        Args:
            timeout: seconds; None waits without an end.
            progress: is given how far the run is, every second at first and every half minute later.

        Raises:
            AuxipError: the request was refused, or failed as a whole; a ValueError where nothing is found.
            TimeoutError: there is no answer yet; the request goes on, and `wait` may be called again.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE if progress else _LONGEST_PAUSE
        while True:
            left = pause if end is None else min(pause, end - time.monotonic())
            answer = self.client.receive(self.id, left)
            if answer is not None:
                return Outcome(_checked(answer))
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"the request {self.id} has no answer after {timeout} s; it goes on")
            if progress:
                progress(self.status())
                pause = min(2 * pause, _LONGEST_PAUSE)

    def status(self) -> Answer:
        """Return how far the run is, or how it ended; `accepted` where no worker has begun it yet."""
        try:
            return self.client.ask("auxip.status", self.id)
        except (AuxipError, TimeoutError) as error:
            if isinstance(error, AuxipError) and error.code != "unknown-run":
                raise
            return Answer(id=self.id, status=Status.ACCEPTED, owner=self.client.owner)

    def cancel(self) -> Answer:
        """Begin nothing new of the run; what was done stays.

        Raises:
            AuxipError: `unknown-run`, no worker has begun it yet; `not-cancelled`, it is closed.
            TimeoutError: there is no answer within ten seconds.
        """
        return self.client.ask("auxip.cancel", self.id)


class Auxip:
    """Calls auxip-workers. Used by one thread at a time; closed by `close`, or as a context manager."""

    def __init__(self, url: str, owner: str = "auxip", reply: str | None = None) -> None:
        """Connect when the first request is sent.

        Args:
            url: of Redis or Valkey, such as `redis://default:PASSWORD@HOST:6379/0`.
            owner: on whose behalf.
            reply: name of the reply list, where the operator has given this program one (`[caller.NAME]`). By default
                each client has a list of its own.
        """
        self.owner = owner
        self._reply = reply or f"client-{uuid.uuid4()}"
        self._redis: Redis = Redis.from_url(
            url, decode_responses=True, health_check_interval=30, socket_timeout=_ONE_POLL + _STATUS_SECONDS
        )
        self._named = reply is not None
        self._sent: dict[str, bool] = {}  # whether a request is still to be answered
        self._received: dict[str, Answer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; requests that were sent go on."""
        self._redis.close()

    def stage(
        self,
        collection: str,
        *,
        product_type: str | Sequence[str] | None = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        policy: str | Sequence[str] | None = None,
        cql2: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the contract's own name
        priority: str = "on-demand",
        **options: object,
    ) -> Request:
        """Ask for items to be staged: those that a policy selects, or those that a CQL2 filter finds.

        Args:
            collection: of the catalog.
            product_type: one or several, for a policy.
            start: of the window of the policy.
            end: of the window.
            policy: one or several, of which the next is asked where the one before selects nothing.
            cql2: a filter, or filter, limit and sortby, or a named query and its parameters; instead of a policy.
            id: of the request. The same request under the same id is one run, so it can be sent again.
            priority: `bulk` where nobody waits for it.
            options: other arguments of the task, such as `platform`, `before`, `station`, `decompress`.
        """
        arguments = {"catalog_collection_identifier": collection, **options}
        if cql2 is not None:
            return self.request("auxip.staging", {**arguments, "cql2_filter": dict(cql2)}, id, priority)
        given = {
            "product_type": product_type,
            "start_datetime": _instant(start),
            "end_datetime": _instant(end),
            "policy": policy,
        }
        arguments |= {name: value for name, value in given.items() if value is not None}
        return self.request("auxip.on_demand_staging", arguments, id, priority)

    def request(
        self,
        task: str,
        arguments: Mapping[str, object],
        id: str | None = None,  # noqa: A002 - the contract's own name
        priority: str = "on-demand",
    ) -> Request:
        """Ask for any public task on behalf of the owner.

        Args:
            task: its name, such as `auxip.search`.
            arguments: by name; `env` is added.
            id: as of `stage`.
            priority: as of `stage`.
        """
        request_id = id or str(uuid.uuid4())
        fields = {
            "task": task,
            "id": request_id,
            "reply": self._reply,
            "priority": priority,
            "arguments": {"env": {"owner_id": self.owner}, **arguments},
        }
        self._sent[request_id] = True
        self._redis.lpush(INTAKE, json.dumps(fields))
        return Request(self, request_id)

    def ask(self, task: str, run_id: str) -> Answer:
        """Return what `auxip.status` or `auxip.cancel` says of a run of the owner.

        Raises:
            AuxipError: it was refused.
            TimeoutError: there is no answer within ten seconds.
        """
        request = self.request(task, {"run": run_id})
        answer = self.receive(request.id, _STATUS_SECONDS)
        if answer is None:
            raise TimeoutError(f"{task} has no answer after {_STATUS_SECONDS:.0f} s: does a gate run, and a worker?")
        return Answer.model_validate(_checked(answer).result)

    def receive(self, request_id: str, seconds: float) -> Answer | None:
        """Return the answer to a request of this client, or None if it does not come within so many seconds."""
        end = time.monotonic() + seconds
        while request_id not in self._received:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._take(min(left, _ONE_POLL))
        return self._received.pop(request_id)

    def _take(self, seconds: float) -> None:
        """Take the next answer of the reply list; one to another program of the same list is put back."""
        key = f"auxip:reply:{self._reply}"
        taken = self._redis.brpop([key], timeout=max(seconds, 0.01))
        if taken is None:
            return
        answer = Answer.model_validate_json(taken[1])
        if self._sent.get(answer.id):
            self._sent[answer.id] = False
            self._received[answer.id] = answer
        elif self._named and answer.id not in self._sent:  # else it is a copy, as may come after a crash
            self._redis.lpush(key, taken[1])
            time.sleep(_TURN)


def _checked(answer: Answer) -> Answer:
    if answer.error is not None:
        raise error_for(answer.error.code, answer.error.reason)
    return answer


def _instant(value: str | datetime | None) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else value
