"""The project as it is deployed, with another catalog and another station than those of the embedded stack."""

import os
import uuid
from contextlib import ExitStack, closing
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from celery import Celery
from celery.result import AsyncResult

from local import samples
from local.processes import Child
from local.stack import Stack
from shared.context import Context
from shared.json_types import Json
from shared.models import ItemState, Run
from shared.settings import PREFIX, Settings
from tests.integration.conftest import wait_for
from workers.cli.fleet import start_worker
from workers.queues import QUEUES

FAST = {
    "AUXIP_BACKOFF_BASE": "0.05",
    "AUXIP_BACKOFF_MAX": "1",
    "AUXIP_LEASE": "3",
    "AUXIP_PATIENCE": "2",
}
"""Tries follow each other quickly, and a dead worker's claim lapses soon."""

_KEY = "PEERS_STATION_KEY"
_RUN_SECONDS = 100.0


class Deployment:
    """A context manager that runs broker, store and sample products, and, once they are asked for, the workers.

    It takes nothing from the environment of the tests, so that several may be there.

    Attributes:
        stack: with the store, the ledger and the files of the sample products, at URLs of its station.
        environment: of its workers.
    """

    def __init__(self, environment: dict[str, str], stations: str = "") -> None:
        """Describe it.

        Args:
            environment: settings that are to differ from the stack's, for example AUXIP_CATALOG_URL.
            stations: content of the stations' file, the stack's own station being the default. It may refer to the key
                of the stack's products as `{ env = "PEERS_STATION_KEY" }`.
        """
        self._changes = environment
        self._stations = stations

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.stack = undo.enter_context(Stack())
            if self._stations:
                (self.stack.folder / "stations.toml").write_text(self._stations, "utf-8")
            undo.callback(os.environ.pop, _KEY, None)
            os.environ[_KEY] = self.stack.station_key
            self.environment = {**self.stack.environment(), **FAST, **self._changes}
            self.context = undo.enter_context(closing(self.context_with()))
            self._client = undo.enter_context(
                Celery(broker=self.environment["AUXIP_REDIS_URL"], backend=self.environment["AUXIP_REDIS_URL"])
            )
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def settings(self, **changes: Any) -> Settings:
        """Return the workers' settings, in this process, with changes."""
        environment = {name: value for name, value in self.environment.items() if name.startswith(PREFIX)}
        environment.pop("AUXIP_SECRETS_DIR")
        values: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items()}
        return Settings(**{**values, **changes}, _secrets_dir=self.environment["AUXIP_SECRETS_DIR"])

    def context_with(self, **changes: Any) -> Context:
        """Return what steps in this process work with; whoever asked closes it."""
        return Context(self.settings(**changes))

    @cached_property
    def workers(self) -> list[Child]:
        """One worker for each queue, started when they are first asked for."""
        return [start_worker(self.stack, queue, self.environment) for queue in QUEUES]

    def sample_items(self) -> list[dict[str, Any]]:
        """The sample products as a station describes them; their hrefs lead to the stack, which has the files."""
        items = samples.write_samples(self.stack.folder / "products", self.stack.station_url)
        return [dict(item) for item in items]

    def begin(self, collection: str, task: str = "auxip.staging", owner: str = "", **message: Any) -> str:
        """Ask for a run, as another program does, and return its id."""
        assert all(child.popen.poll() is None for child in self.workers)
        env: Json = {"owner_id": owner or f"owner{uuid.uuid4().hex[:6]}"}
        kwargs = {"env": env, "catalog_collection_identifier": collection, **message}
        sent: AsyncResult[object] = self._client.send_task(task, kwargs=kwargs, queue="runs")
        return str(sent.id)

    def ended(self, run_id: str) -> Run:
        """Wait until a run is closed, and return its record."""
        ledger = self.context.ledger
        wait_for(lambda: run_id in {run.id for run in ledger.runs(100)}, "the run is open", _RUN_SECONDS)
        wait_for(lambda: ledger.run(run_id).closed is not None, "the run is closed", _RUN_SECONDS)
        return ledger.run(run_id)

    def run(self, collection: str, owner: str = "", **message: Any) -> Run:
        """Stage what a filter finds, and return the record of the run."""
        return self.ended(self.begin(collection, owner=owner, **message))

    def failures(self, run: Run) -> list[tuple[str, str, str]]:
        """Return id, code and reason of each item of a run that has failed."""
        items = self.context.ledger.items(run.id)
        return [(item.item_id, item.code, item.reason) for item in items if item.state is ItemState.FAILED]
