"""A staging service for tests: OGC API Processes that really copies and catalogs, and misbehaves when it is told to."""

import json
import threading
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from shared.context import Context
from shared.json_types import Json
from shared.stac.item import Item
from shared.storage.location import Location

KEY = "staging-secret"
CLOSED = b""
"""In the place of an answer: the connection is closed without one."""

STAMP = "2026-07-01T10:00:00Z"


@dataclass
class Job:
    id: str
    inputs: dict[str, Any]
    status: str = "accepted"
    progress: object = 0
    message: str = "Processing Unit was created"

    def info(self) -> Json:
        """The statusInfo, as RS-Server spells it."""
        fixed: Json = {"processID": "staging", "type": "process", "created": STAMP, "started": STAMP, "updated": STAMP}
        told: Any = {"jobID": self.id, "status": self.status, "progress": self.progress, "message": self.message}
        return {**fixed, **told}


@dataclass
class Service:
    """The service, and what it was asked for.

    Attributes:
        context: the station, the catalog and the store that it works with.
        user: whose API key it knows; owner of what it publishes and first segment of its keys.
        bucket: that it writes to.
        work: what is done for a job, in a thread of its own.
        at_once: whether that is done before the execution is answered.
        answers: to the next looks at a job, in the place of the true ones: a status with a `detail`, or a raw body.
        refusal: the status with which every execution is answered, 0 for none.
        altered: what becomes of a file on its way.
        href: what becomes of an asset's href before it is published.
    """

    context: Context
    user: str
    bucket: str
    work: Callable[[Job], None] | None = None
    at_once: bool = False
    answers: deque[int | bytes] = field(default_factory=deque)
    refusal: int = 0
    altered: Callable[[bytes], bytes] = lambda content: content
    href: Callable[[str], str] = lambda href: href
    jobs: dict[str, Job] = field(default_factory=dict)
    executions: list[dict[str, Any]] = field(default_factory=list)
    dismissed: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        self._threads = [threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(10)
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def job(self) -> Job:
        """The latest job."""
        return list(self.jobs.values())[-1]

    def execute(self, inputs: dict[str, Any]) -> Json:
        """Begin a job."""
        job = self.jobs.setdefault(str(uuid.uuid4()), Job("", inputs))
        job.id = next(job_id for job_id, each in self.jobs.items() if each is job)
        self.executions.append(deepcopy(inputs))
        if self.at_once:
            (self.work or self.stage)(job)
        else:
            self._threads.append(threading.Thread(target=self.work or self.stage, args=(job,), daemon=True))
            self._threads[-1].start()
        return job.info()

    def stage(self, job: Job) -> None:
        """Copy the items that the catalog does not show, by their ids, and publish them; all of them or none."""
        job.status = "running"
        written: list[Location] = []
        try:
            staged = [self._stage(job, feature, written) for feature in job.inputs["items"]["value"]["features"]]
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed
            for location in written:
                self.context.store.delete(location)
            job.message, job.status = f"At least one of the tasks failed: {error}", "failed"
            return
        job.progress, job.message = 100, "Finished" if any(staged) else "Finished without processing any tasks"
        job.status = "successful"

    def fail(self, job: Job) -> None:
        """Fail as a job does whose file cannot be had."""
        job.message, job.progress, job.status = "At least one of the tasks failed: ...", 42, "failed"

    def hang(self, job: Job) -> None:
        """Run for ever."""
        job.message, job.progress, job.status = "Downloaded 3.36 / 8.00 MiB", 42, "running"
        self.closing.wait()

    def pretend(self, job: Job) -> None:
        """Do nothing, and be proud of it."""
        job.message, job.progress, job.status = "Finished", 100, "successful"

    def _stage(self, job: Job, feature: dict[str, Any], written: list[Location]) -> bool:
        collection, names = job.inputs["collection"], job.inputs["asset_names"]
        if self.context.catalog_of(self.user).get(collection, feature["id"]) is not None:
            return False
        feature["assets"] = {key: asset for key, asset in feature["assets"].items() if key in names}
        for key, asset in feature["assets"].items():
            target = Location(self.bucket, f"{self.user}/{collection}/{feature['id']}/{key}")
            written.append(target)
            self.context.store.put(target, self.altered(self._download(asset["href"])))
            asset["href"] = self.href(target.href)
            job.progress = 100 * len(written) // len(feature["assets"])
        feature["collection"] = collection
        feature["properties"] |= {"owner": self.user, "published": STAMP}
        self.context.catalog_of(self.user).publish(Item.model_validate(feature))
        return True

    def _download(self, href: str) -> bytes:
        with self.context.station().api.open("GET", href) as response:
            return response.read()


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.service.refusal:
            self._fault(self.service.refusal)
        elif self._known() and self.path == "/processes/staging/execution":
            self._answer(201, self.service.execute(body["inputs"]))

    def do_GET(self) -> None:
        answer = self.service.answers.popleft() if self.service.answers else None
        job = self.service.jobs.get(self.path.removeprefix("/jobs/"))
        if isinstance(answer, int):
            self._fault(answer)
        elif answer is not None:
            self._raw(answer)
        elif self._known():
            self._answer(200, job.info()) if job else self._fault(404)

    def do_DELETE(self) -> None:
        if self._known():
            self.service.dismissed.append(self.path.removeprefix("/jobs/"))
            job = self.service.jobs.pop(self.service.dismissed[-1], None)
            self._answer(200, {**job.info(), "status": "dismissed"}) if job else self._fault(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by its base
        pass

    def _known(self) -> bool:
        known = self.headers.get("x-api-key") == KEY
        if not known:
            self._fault(401)
        return known

    def _fault(self, status: int) -> None:
        self._answer(status, {"detail": f"{status}: as it was told"})

    def _answer(self, status: int, body: Json) -> None:
        content = json.dumps(body).encode()
        with suppress(OSError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def _raw(self, content: bytes) -> None:
        if content is not CLOSED:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)
