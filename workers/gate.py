"""The gate: takes requests from the intake, validates them, and puts them on the queues as Celery messages.

Each request is first recorded under its id, then published, then forgotten as taken. A gate that is killed in between
leaves it to another one, which does the same again under the same id: publishing twice is one run.
"""

import logging
import os
import signal
import time
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path

from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.errors import AuxipError, Rejected
from shared.ledger import Intake, Next, Requests, Taken
from shared.ledger.connection import connect
from shared.logs import Throttle, about
from shared.owners import load_owners
from shared.settings import Settings
from workers.forwarding import forward, send_reply
from workers.health import touch
from workers.identity import digest_of
from workers.intake import IntakeRequest, answer_of_error, decode_request, owner_of, return_address
from workers.refusals import ID_TAKEN

_BATCH = 32
_WAIT = 1.0
_PAUSE = 0.5
_SOCKET_TIMEOUT = 10
_GRACE = 5

_AWAY = (RedisError, OperationalError, OSError)
"""The broker is away, or full: whatever is held is tried again."""

_log = logging.getLogger(__name__)


class Gate:
    """One gate; there may be any number of them."""

    def __init__(self, settings: Settings) -> None:
        # Without the client's own tries: between two of ours it is seen whether this process is to end.
        redis = connect(
            settings.redis_url.get_secret_value(),
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_SOCKET_TIMEOUT,
            socket_keepalive=True,
        )
        self._redis = redis
        self._intake = Intake(redis, settings.lease, settings.dead_letters_max)
        self._requests = Requests(redis, settings.keep_runs_days * 86_400, settings.patience)
        self._owners = load_owners(settings)
        self._default_owner = settings.default_owner
        self._held: deque[Taken] = deque()
        self._stopping = False

    def serve(self, alive: Path | None) -> None:
        """Serve the intake until SIGTERM or SIGINT: finish the request in hand, give back the others.

        Args:
            alive: a file that is touched every few seconds, so that others see that this process does its work.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        throttle = Throttle()
        _log.info("the gate is open")
        while not self._stopping:
            if alive:
                touch(alive)
            try:
                self.serve_some()
            except _AWAY as error:
                if throttle.allows("broker"):
                    _log.warning("the broker cannot be worked with, trying again: %s", error)
                time.sleep(_PAUSE)
        with suppress(*_AWAY):
            self._intake.give_back([taken.stamp for taken in self._held])
        self._redis.close()
        _log.info("the gate is closed")

    def _stop(self, *_: object) -> None:
        self._stopping = True
        # A publisher that waits for its broker cannot be told to stop; what it holds is another gate's in a while.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.alarm(_GRACE)

    def serve_some(self) -> None:
        """Serve what there is on the intake, or wait a second for it."""
        if not self._held:
            self._held.extend(self._intake.take([str(uuid.uuid4()) for _ in range(_BATCH)], _WAIT))
        while self._held and not self._stopping:
            self._deal_with(self._held[0])
            self._held.popleft()

    def _deal_with(self, taken: Taken) -> None:
        try:
            self._pass_on(taken.stamp, decode_request(taken.raw))
            self._intake.done(taken.stamp)
        except Rejected as error:
            self._refuse(taken, error)
        except _AWAY:
            raise
        except Exception as error:  # noqa: BLE001 - no request stops the gate; the log has it whole
            _log.exception("a request makes the gate fail")
            self._refuse(taken, Rejected("internal-error", f"the gate failed with {type(error).__name__}; see its log"))

    def _pass_on(self, stamp: str, request: IntakeRequest) -> None:
        self._require_allowed(request)
        with about(request=request.id or stamp):
            self._register_and_forward(request.id or stamp, stamp, request)

    def _register_and_forward(self, request_id: str, stamp: str, request: IntakeRequest) -> None:
        digest = digest_of(request.task, request.arguments)
        step = self._requests.register(
            request_id, stamp, request.task, request.reply, digest, request.model_dump_json()
        )
        _log.info("a request for %s: %s", request.task, step)
        if step is Next.REFUSE:
            raise Rejected(ID_TAKEN, f"another request has the id {request_id}; send this one under an id of its own")
        if step is Next.ANSWER:
            send_reply(request_id)
        elif step is Next.PUBLISH:
            try:
                forward(request_id, request)
            except Exception as error:
                if not isinstance(error, _AWAY):
                    self._requests.forget(request_id)
                raise

    def _require_allowed(self, request: IntakeRequest) -> None:
        """Make sure that a caller may ask for a task on behalf of an owner.

        Raises:
            Rejected: `not-allowed`.
        """
        callers = self._owners.callers
        if not callers:
            return
        caller, owner = callers.get(request.reply or ""), owner_of(request, self._default_owner)
        if caller is None:
            raise Rejected("not-allowed", "the reply list, which says who asks, is none of those in AUXIP_OWNERS_FILE")
        if request.task not in caller.tasks or owner not in caller.owners:
            raise Rejected("not-allowed", f"{request.reply} may not ask for {request.task} on behalf of {owner!r}")

    def _refuse(self, taken: Taken, error: AuxipError) -> None:
        request_id, reply = return_address(taken.raw)
        with about(request=request_id or taken.stamp):
            _log.warning("a request goes to the dead letters: %s", error)
        answer = answer_of_error(request_id or taken.stamp, error)
        self._intake.bury(taken.stamp, error.code, error.reason, answer, reply)
